package store

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// loaded returns a store with n online sessions, all sent and trimmed, in
// locations of perLocation.
func loaded(b *testing.B, n, perLocation int, o Options) *Store {
	b.Helper()
	s := opened(b, o)
	const batch = 20_000
	for from := 0; from < n; from += batch {
		var c Commit
		for i := from; i < min(from+batch, n); i++ {
			c.Changes = append(c.Changes, arrival(benchID(i), fmt.Sprintf("oWNe6X%05d", i/perLocation), s.options.Now()))
		}
		if err := s.Commit(c); err != nil {
			b.Fatal(err)
		}
		last := s.Outbox().Last
		taken(b, s, last-1, 1)
		if err := s.Acked(Cursor{OutboxSeq: last, StreamSeq: last}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// benchID spreads ids over the key space, as the platform's random ids do.
func benchID(i int) string { return fmt.Sprintf("%08x%03d", uint32(i)*2654435761, i%1000) }

func BenchmarkAll100k(b *testing.B) {
	const n = 100_000
	s := loaded(b, n, n, Options{})
	b.ReportAllocs()
	for b.Loop() {
		online := 0
		err := s.All(func(events.State) bool { online++; return true })
		if err != nil || online != n {
			b.Fatal(online, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/session")
}

// A commit of 1,000 changes must cost the same whatever the number of sessions.
func BenchmarkCommit1000of(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		for _, sync := range []bool{false, true} {
			if sync && n != 100_000 {
				continue
			}
			b.Run(fmt.Sprintf("%d/fsync=%v", n, sync), func(b *testing.B) {
				c := newClock()
				s := loaded(b, n, min(n, 100_000), Options{Now: c.Now, SentRetention: 1})
				s.db.NoSync = !sync
				const k = 1000
				ids := make([]string, k)
				step := 0
				for b.Loop() {
					b.StopTimer()
					for i := range ids {
						ids[i] = benchID((step*k + i*7919) % n)
					}
					step++
					known, err := s.Find(ids)
					if err != nil {
						b.Fatal(err)
					}
					var changes []events.Event
					for _, id := range ids {
						changes = append(changes, traffic(known[id], 1000, c.Now()))
					}
					b.StartTimer()
					if err := s.Commit(Commit{Changes: changes}); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					c.advance(cursorEvery)
					last := s.Outbox().Last
					taken(b, s, last-1, 1)
					if err := s.Acked(Cursor{OutboxSeq: last, StreamSeq: last}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/k, "ns/change")
			})
		}
	}
}

func BenchmarkMerge1000(b *testing.B) {
	c := newClock()
	s := loaded(b, 10_000, 10_000, Options{Now: c.Now})
	states := located(b, s, "oWNe6X00000").Sessions[:1000]
	for b.Loop() {
		b.StopTimer()
		var changes []events.Event
		for i := range states {
			if s.mergeable[states[i].Session.ID] > 0 {
				states[i].Revision = 2
			}
			changes = append(changes, traffic(states[i], 1000, c.Now()))
			states[i] = events.StateOf(changes[i])
		}
		b.StartTimer()
		if err := s.Commit(Commit{Changes: changes}); err != nil {
			b.Fatal(err)
		}
	}
	if got := s.Outbox().Depth; got != 1000 {
		b.Fatalf("%d unsent, want 1000", got)
	}
}

func BenchmarkTake1000(b *testing.B) {
	s := loaded(b, 10_000, 10_000, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if got := taken(b, s, 5000, 1000); len(got) != 1000 {
			b.Fatal(len(got))
		}
	}
}

// BenchmarkSize reports what a tracked session takes on disk and in memory.
func BenchmarkSize(b *testing.B) {
	const n = 100_000
	c := newClock()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // Pools are emptied by the second one.
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	s := loaded(b, n, 1000, Options{Now: c.Now, SentRetention: 1})
	path := s.path
	for range 20 { // Trims the outbox.
		c.advance(cursorEvery)
		if err := s.Acked(Cursor{OutboxSeq: n, StreamSeq: uint64(c.Now().Unix())}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	compacted(b, path)
	before := heap()
	s, err := Open(path, Options{Now: c.Now, NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	idle := max(heap(), before) - before
	var disk int64
	if err := s.db.View(func(tx *bbolt.Tx) error { disk = tx.Size(); return nil }); err != nil {
		b.Fatal(err)
	}
	// With traffic of every session unsent, the most that is kept in memory.
	for sent := -1; sent != len(s.mergeable); {
		sent = len(s.mergeable)
		var c Commit
		err := s.All(func(st events.State) bool {
			if s.mergeable[st.Session.ID] == 0 {
				c.Changes = append(c.Changes, traffic(st, 1000, s.options.Now()))
			}
			return len(c.Changes) < 10_000
		})
		if err := errors.Join(err, s.Commit(c)); err != nil {
			b.Fatal(err)
		}
	}
	behind := max(heap(), before) - before
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() { // What opening it takes.
		s, err := Open(path, Options{Now: c.Now, NoSync: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(disk)/n, "disk-B/session")
	b.ReportMetric(float64(idle)/n, "heap-B/session")
	b.ReportMetric(float64(behind)/n, "heap-behind-B/session")
}
