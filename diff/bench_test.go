package diff_test

import (
	"fmt"
	"testing"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

// BenchmarkCompare compares a location's list of 100,000 sessions with what is
// known of them: in "1 % changed" of every 400 sessions one ended, one is new, one
// moved its figures and one its address.
func BenchmarkCompare(b *testing.B) {
	const n = 100_000
	states, byID := make([]events.State, n), make(map[string]events.State, n)
	same := make([]events.Session, n)
	for i := range states {
		// Made twice, as records share no memory with what is stored.
		id := func() string { return fmt.Sprintf("pR3zOKm%07d", i) }
		same[i] = session(id())
		states[i] = events.State{Session: session(id()), Revision: 1}
		byID[states[i].Session.ID] = states[i]
	}
	changed := make([]events.Session, 0, n)
	for i, s := range same {
		switch i % 400 {
		case 100:
			continue
		case 200:
			s.ID = "new" + s.ID
		case 300:
			s.Downloaded.Value += 5_000_000
		case 350:
			s.DeviceIP = "10.9.9.9"
		}
		changed = append(changed, s)
	}
	known := diff.Known{
		Expected: states,
		Find:     func(id string) (events.State, bool) { s, ok := byID[id]; return s, ok },
		Tracking: func(*events.Session) diff.Tracking { return diff.Tracking{Since: noon, SeenAt: noon} },
	}
	for _, bb := range []struct {
		name     string
		known    diff.Known
		sessions []events.Session
		changes  int
	}{
		{"first look", diff.Known{}, same, n},
		{"unchanged", known, same, 0},
		// The session that stands where one was replaced is missing as well.
		{"1 % changed", known, changed, n / 400 * 5},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			snap := list(1, bb.sessions...)
			for b.Loop() {
				if d := diff.Compare(bb.known, snap, diff.Rules{Account: account, TrafficMinBytes: 1000}); len(d) != bb.changes {
					b.Fatalf("%d changes, want %d", len(d), bb.changes)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}
