package poller

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/platform"
)

// estateOf is a poller in the middle of its work: so many locations of four
// sessions each, last seen at various times of the last round, in a list whose
// order is established or not.
func estateOf(tb testing.TB, strategy Strategy, locations int, ordered bool) *Poller {
	tb.Helper()
	p := &Poller{Account: "bench", Strategy: strategy, Clock: &stopped{noon}, Budgets: make(map[platform.Endpoint]*budget.Budget)}
	for _, e := range platform.Endpoints() {
		p.Budgets[e] = budget.New(60, nil, noon)
	}
	p.prepare()
	sessions := 4 * locations
	round := time.Duration(sessions/MaxPerPage) * time.Second
	seen := func(i int) time.Time { return noon.Add(-round + time.Duration(i)*round/time.Duration(sessions)) }
	for i := range sessions {
		id := fmt.Sprint(i)
		place := p.place(fmt.Sprint(i*7919%locations), "")
		e := p.roster.add(id, place, noon.Add(-time.Duration(i)*time.Second), instant(seen(i)))
		e.in[account].placed = true
		place.SeenAt, place.AskedAt = seen(i), seen(i)
	}
	p.wide.SeenAt = noon
	if !ordered {
		p.online.Contradictions, p.disordered = disorderly, noon.Add(1000*time.Hour)
		p.sweep.rounds = learning
	} else {
		records := make([]order.Record, MaxPerPage)
		for i := range records {
			records[i] = order.Record{Start: noon.Add(-time.Duration(i) * time.Second), Written: true}
		}
		p.online.Read(order.Page{Records: records})
		p.probe.Direction, p.probe.at, p.aim.edge = order.NewestFirst, noon, noon
	}
	return p
}

// answer makes as if the platform had answered a look, and nothing had changed; at
// holds the entries by place, and all of them under nil.
func (p *Poller) answer(look Look, now time.Time, at map[*Place][]*entry) {
	shown := func(entries []*entry) {
		for _, e := range entries {
			p.roster.touch(e, e.since, instant(now))
		}
	}
	switch look.Kind {
	case Probe:
		p.probe.at, p.aim.edge = now, now
	case List:
		place := p.places[look.Location]
		place.AskedAt, place.SeenAt = now, now
		shown(at[place])
	case Sweep:
		if look.InTurn {
			all := at[nil]
			from := int(now.Sub(noon)/time.Second) * MaxPerPage % len(all)
			shown(all[from:min(from+MaxPerPage, len(all))])
			return
		}
		var sessions []events.Session
		for i := range p.aim.size {
			position := p.aim.start() + i
			for _, b := range p.roster.ring.blocks {
				if position < len(b.entries) {
					sessions = append(sessions, events.Session{ID: b.entries[position].id})
					shown(b.entries[position : position+1])
					break
				}
				position -= len(b.entries)
			}
		}
		p.anchor(sessions, instant(now), p.aim.choice)
	}
}

// BenchmarkDecision is the planner's own cost: one decision a second, with all
// that is brought up to date for it now and then.
func BenchmarkDecision(b *testing.B) {
	for _, locations := range []int{100, 1000, 10_000, 100_000} {
		for _, list := range []string{"ordered", "unordered"} {
			b.Run(fmt.Sprintf("%s/locations=%d", list, locations), func(b *testing.B) {
				before := heap()
				p := estateOf(b, &Adaptive{}, locations, list == "ordered")
				bytes := float64(heap()-before) / float64(locations)
				clock := p.Clock.(*stopped)
				at := make(map[*Place][]*entry)
				for _, e := range p.roster.entries {
					at[e.place], at[nil] = append(at[e.place], e), append(at[nil], e)
				}
				looks := make(map[Kind]int)
				var spent time.Duration
				for b.Loop() {
					clock.now = clock.now.Add(time.Second)
					began := time.Now()
					p.foresee(clock.now)
					look := p.Strategy.Next(clock.now, &p.estate)
					spent += time.Since(began)
					looks[look.Kind]++
					p.answer(look, clock.now, at)
				}
				b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/decision")
				b.ReportMetric(bytes, "B/location")
				if (looks[Probe] > 0) != (list == "ordered") {
					b.Errorf("looks %v", looks)
				}
			})
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
