package visit

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// estate makes an endless stream of 1,000 locations at which about so many sessions are
// online: of ten events four are traffic, three starts and three ends.
type estate struct {
	rand   *rand.Rand
	now    time.Time
	aim    int
	made   int
	online []events.State
}

func newEstate(aim int) *estate {
	return &estate{rand: rand.New(rand.NewPCG(4, 4)), now: epoch, aim: aim}
}

func (v *estate) next(step time.Duration) events.Event {
	v.now = v.now.Add(step)
	n := len(v.online)
	if n == 0 || n < v.aim && v.rand.IntN(10) < 6 {
		return v.start()
	}
	kind := events.Traffic
	if n >= v.aim && v.rand.IntN(10) < 6 {
		kind = events.Ended
	}
	i := v.rand.IntN(n)
	was := v.online[i]
	e := events.Event{Account: events.DefaultAccount, Kind: kind, Time: v.now, Data: events.Data{Revision: was.Revision + 1, Session: was.Session}}
	e.Data.Session.Downloaded.Value += 1_000_000
	e.Data.Previous = e.Data.Session.Replaced(&was.Session)
	e.Data.Change = &events.Change{DownloadedBytes: 1_000_000}
	e.Data.Observed = events.Observed{At: v.now, NotYetAt: v.now.Add(-time.Minute)}
	if kind == events.Ended {
		e.Data.Session.Online, e.Data.Session.EndedAt, e.Data.Observed.End = false, v.now, events.EndReported
		v.online[i] = v.online[n-1]
		v.online = v.online[:n-1]
		return e.Sealed()
	}
	e = e.Sealed()
	v.online[i] = events.StateOf(e)
	return e
}

// start begins a session; of three guests one comes back soon.
func (v *estate) start() events.Event {
	v.made++
	guest := v.made - v.made%3
	s := events.Session{
		ID: fmt.Sprintf("s%010d", v.made), LocationID: fmt.Sprintf("loc-%04d", guest%1000), LocationName: "Café", Online: true,
		GuestID: fmt.Sprintf("g%010d", guest), YasID: fmt.Sprintf("8f627d10-1abc-44d8-b964-%012d", v.made), DeviceMAC: fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", guest>>24&255, guest>>16&255, guest>>8&255, guest&255),
		DeviceIP: fmt.Sprintf("10.0.%d.%d", v.made>>8&255, v.made&255), DeviceDescription: "WebKit", LoginType: "Registration",
		ServiceProfile: "Default Service Profile - 60 Minute(s)", StartedAt: v.now.Add(-5 * time.Second), DurationSeconds: 5,
	}
	e := events.Event{Account: events.DefaultAccount, Kind: events.Started, Time: s.StartedAt, Data: events.Data{Revision: 1, Session: s, Observed: events.Observed{At: v.now, NotYetAt: v.now.Add(-time.Minute)}}}.Sealed()
	v.online = append(v.online, events.StateOf(e))
	return e
}

func encoded(t testing.TB, e events.Event) []byte {
	t.Helper()
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// BenchmarkRebuild reduces a stream of 1,000,000 events from its bytes, with what is
// made of it encoded too.
func BenchmarkRebuild(b *testing.B) {
	const n = 1_000_000
	v := newEstate(20_000)
	var all []byte // one after another, so that the collector has nothing to do
	ends := make([]int, n)
	for i := range ends {
		all = append(all, encoded(b, v.next(20*time.Millisecond))...)
		ends[i] = len(all)
	}
	b.ResetTimer()
	made := 0
	for range b.N {
		r, from := NewReducer(testRules()), 0
		for i, end := range ends {
			e, err := events.Decode(all[from:end])
			if err != nil {
				b.Fatal(err)
			}
			for _, o := range r.Apply(Message{Sequence: uint64(i + 1), Stored: e.Data.Observed.At, Event: e}) {
				if _, err := message(Settings{}.subjects(), o); err != nil {
					b.Fatal(err)
				}
				made++
			}
			from = end
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(made)/float64(b.N), "visit-events")
}

// BenchmarkApply reduces events that are decoded already.
func BenchmarkApply(b *testing.B) {
	v := newEstate(20_000)
	list := make([]Message, 300_000)
	for i := range list {
		e := v.next(20 * time.Millisecond)
		list[i] = Message{Sequence: uint64(i + 1), Stored: e.Data.Observed.At, Event: e}
	}
	var r *Reducer
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(list) == 0 {
			r = NewReducer(testRules())
		}
		r.Apply(list[i%len(list)])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkGuestMemory reports the memory of a guest who is present, and of whom is known
// how often, or is being asked.
func BenchmarkGuestMemory(b *testing.B) {
	b.Run("counted", func(b *testing.B) { guestMemory(b, true) })
	b.Run("asked", func(b *testing.B) { guestMemory(b, false) })
}

func guestMemory(b *testing.B, answer bool) {
	const n = 100_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var per float64
	for range b.N {
		v := newEstate(0)
		r := NewReducer(testRules())
		before := heap()
		for i := range n {
			v.made += 2 // another guest each
			body := encoded(b, v.start())
			v.online = v.online[:0]
			e, err := events.Decode(body)
			if err != nil {
				b.Fatal(err)
			}
			for _, o := range r.Apply(Message{Sequence: uint64(i + 1), Stored: e.Data.Observed.At, Event: e}) {
				if answer {
					r.Answer(e.Account, Answer{Visit: o.Event.Data.Visit.ID, Says: Whole, Asked: o.Input})
				}
			}
		}
		per = float64(heap()-before) / n
		if _, present := r.Open(); present != n {
			b.Fatalf("%d guests present, want %d", present, n)
		}
		runtime.KeepAlive(r)
	}
	b.ReportMetric(per, "B/guest")
}

// BenchmarkCheckpoint saves and loads what is remembered of 1,000,000 guests who have left,
// with a NATS server.
func BenchmarkCheckpoint(b *testing.B) {
	const n = 1_000_000
	r := NewReducer(testRules())
	v := newEstate(0)
	for i := range n {
		v.made += 2
		e := v.start()
		r.Apply(Message{Sequence: uint64(2*i + 1), Stored: e.Data.Observed.At, Event: e})
		e.Kind, e.Data.Revision = events.Ended, 2
		e.Data.Session.Online, e.Data.Session.EndedAt, e.Data.Observed.End = false, v.now, events.EndReported
		r.Apply(Message{Sequence: uint64(2*i + 2), Stored: e.Data.Observed.At, Event: e.Sealed()})
		v.online = v.online[:0]
		v.now = v.now.Add(10 * time.Millisecond)
	}
	v.now = v.now.Add(2 * time.Hour)
	r.Tick(events.DefaultAccount, v.now)
	if all, _ := r.Open(); all != 0 || len(r.accounts[events.DefaultAccount].guests) != n {
		b.Fatalf("%d visits are open, %d guests remembered", all, len(r.accounts[events.DefaultAccount].guests))
	}
	s := New(Settings{Rules: testRules(), Log: slog.New(slog.DiscardHandler)})
	js := natstest.New(b).JetStream()
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		shot := r.Snapshot()
		b.ReportMetric(time.Since(began).Seconds(), "s-standing")
		if err := s.save(b.Context(), js, checkpoint{Snapshot: shot}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-saved")
		store, err := js.ObjectStore(b.Context(), s.settings.State)
		if err != nil {
			b.Fatal(err)
		}
		info, err := store.GetInfo(b.Context(), checkpointName)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size)/n, "B/guest")
		began = time.Now()
		c, err := s.load(b.Context(), js)
		if err != nil {
			b.Fatal(err)
		}
		again, err := Restore(testRules(), c.Snapshot)
		if err != nil || len(again.accounts[events.DefaultAccount].guests) != n {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-loaded")
	}
}
