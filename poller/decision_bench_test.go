package poller

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// estateOf is a poller in the middle of its work: so many locations of four
// sessions each, last seen at various times of the last round, in a list whose
// order is established or not.
func estateOf(tb testing.TB, strategy plan.Strategy, locations int, ordered bool) *Poller {
	tb.Helper()
	p := New(Settings{Account: "bench", Strategy: strategy, Clock: &stopped{noon}, Budgets: make(map[platform.Endpoint]*budget.Budget)})
	for _, e := range platform.Endpoints() {
		p.Budgets[e] = budget.New(60, nil, noon)
	}
	p.prepare()
	sessions := 4 * locations
	round := time.Duration(sessions/plan.MaxPerPage) * time.Second
	seen := func(i int) time.Time { return noon.Add(-round + time.Duration(i)*round/time.Duration(sessions)) }
	for i := range sessions {
		id := fmt.Sprint(i)
		location := p.location(fmt.Sprint(i*7919%locations), "")
		e := p.roster.add(id, location, noon.Add(-time.Duration(i)*time.Second), instant(seen(i)))
		e.in[ofAccount].placed = true
		location.SeenAt, location.AskedAt = seen(i), seen(i)
	}
	p.wide.SeenAt = noon
	if !ordered {
		p.accountList.Contradictions, p.disordered = disorderly, noon.Add(1000*time.Hour)
		p.sweep.rounds = learning
	} else {
		records := make([]order.Record, plan.MaxPerPage)
		for i := range records {
			records[i] = order.Record{Start: noon.Add(-time.Duration(i) * time.Second), Written: true}
		}
		for !p.accountList.Established() {
			p.accountList.Read(order.Page{Records: records})
		}
		p.history.probe.Direction, p.history.probe.at = order.NewestFirst, noon
		p.roster.track.Edge(noon)
	}
	return p
}

// answer makes as if the platform had answered a look, and nothing had changed; at
// holds the entries by location, and all of them under nil.
func (p *Poller) answer(look plan.Look, now time.Time, at map[*location][]*entry) {
	shown := func(entries []*entry) {
		for _, e := range entries {
			p.roster.touch(e, e.Start, instant(now))
		}
	}
	switch look.Kind {
	case plan.Probe:
		p.history.probe.at = now
		p.roster.track.Edge(now)
	case plan.List:
		location := p.watched.byID[look.Location]
		location.AskedAt, location.SeenAt = now, now
		shown(at[location])
	case plan.Sweep:
		if look.InTurn {
			all := at[nil]
			from := int(now.Sub(noon)/time.Second) * plan.MaxPerPage % len(all)
			shown(all[from:min(from+plan.MaxPerPage, len(all))])
			return
		}
		var rows []*plan.Row
		for i := range look.Page.Size {
			if row := p.roster.rows.Row(look.Page.Start() + i); row != nil {
				rows = append(rows, row)
				shown([]*entry{p.roster.entry(row)})
			}
		}
		p.roster.track.Found(rows, look.Page, len(rows), true, look.Follows, now)
	}
}

// BenchmarkDecision is the planner's own cost: one decision a second, with all
// that is brought up to date for it now and then.
func BenchmarkDecision(b *testing.B) {
	for _, locations := range []int{100, 1000, 10_000, 100_000} {
		for _, list := range []string{"ordered", "unordered"} {
			b.Run(fmt.Sprintf("%s/locations=%d", list, locations), func(b *testing.B) {
				before := heap()
				p := estateOf(b, &plan.Adaptive{}, locations, list == "ordered")
				bytes := float64(heap()-before) / float64(locations)
				clock := p.Clock.(*stopped)
				at := make(map[*location][]*entry)
				for e := range p.roster.all() {
					at[e.at], at[nil] = append(at[e.at], e), append(at[nil], e)
				}
				looks := make(map[plan.Kind]int)
				var spent time.Duration
				decide := func() {
					clock.now = clock.now.Add(time.Second)
					began := time.Now()
					p.foresee(clock.now)
					p.planned = p.Strategy.Next(clock.now, &p.view)
					spent += time.Since(began)
					looks[p.planned.Kind]++
					p.answer(p.planned.Look, clock.now, at)
				}
				for b.Loop() {
					decide()
				}
				b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/decision")
				b.ReportMetric(bytes, "B/location")
				// Of a long list few decisions fit into a benchmark, and few are probes.
				for range 5000 {
					if list == "unordered" || looks[plan.Probe] > 0 {
						break
					}
					decide()
				}
				if (looks[plan.Probe] > 0) != (list == "ordered") {
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
