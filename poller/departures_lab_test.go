package poller_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestWhoLeavesACrowdIsSeenSoon: the access points of a large venue restart, and no page of
// the sessions online tells any more who of its guests has left. Its ended sessions do,
// where questions about each alone would take seven times as long.
func TestWhoLeavesACrowdIsSeenSoon(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Seed, cfg.Speed, cfg.Ties, cfg.RebootsPerHour, cfg.Stay = 6, 1, true, 3, simulator.Stay{Mean: 20 * time.Minute, Sigma: 1}
	cfg.Locations = append(simulator.Venues("cafe%d", 8, 10), simulator.Venues("hall%d", 1, 400)...)
	l := newLab(t, cfg, adaptive)
	l.run(15 * time.Minute)

	ended := make(map[string]events.Observed)
	for _, e := range l.events() {
		if e.Kind == events.Ended {
			ended[e.Data.Session.ID] = e.Data.Observed
		}
	}
	second := func(of simulator.Truth) time.Time { return of.Time.Truncate(time.Second) }
	began, together := make(map[string]time.Time), make(map[time.Time]int)
	ends, byRecord, waited := 0, 0, time.Duration(0)
	until := l.clock.Now().Add(-3 * time.Minute)
	for _, x := range l.truth.All() {
		if x.Kind == simulator.TruthStart {
			began[x.Session] = second(x)
			together[second(x)]++
		}
		if x.Kind != simulator.TruthEnd || together[began[x.Session]] < 200 || x.Time.After(until) {
			continue
		}
		o, ok := ended[x.Session]
		if !ok {
			t.Errorf("session %s: it left %v before the end, and is online still", x.Session, l.clock.Now().Sub(x.Time))
			continue
		}
		ends++
		waited += o.At.Sub(x.Time)
		if o.Proof == events.ProofRecord {
			byRecord++
		}
	}
	if ends < 100 || byRecord < ends*9/10 {
		t.Errorf("%d ends were told of, %d by the platform's record", ends, byRecord)
	}
	if mean := waited / time.Duration(max(1, ends)); mean > 15*time.Second {
		t.Errorf("they were seen after %v", mean)
	}
	l.check(simulator.Checker{Until: until, Passes: 5})
}
