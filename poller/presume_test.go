package poller_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestPresumedEndsSaySo: where a location of several pages has no order and more
// sessions end than could be asked about, ends are presumed and say so, none falsely
// here; where only proven ends are wanted, none is.
func TestPresumedEndsSaySo(t *testing.T) {
	for name, order := range map[string]simulator.Order{"stable": simulator.Unordered, "moving": simulator.Moving} {
		for _, proven := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", proven alone"}[proven], func(t *testing.T) {
				t.Parallel()
				cfg := town()
				cfg.Speed, cfg.Order = 12, order
				cfg.Locations = cfg.Locations[:1]
				cfg.Locations[0].MeanOnline = 500
				l := newLab(t, cfg, adaptive)
				l.poller.ProvenEnds = proven
				l.run(15 * time.Minute)
				ends := make(map[events.End]int)
				for _, e := range l.events() {
					if e.Kind == events.Ended {
						ends[e.Data.Observed.End]++
					}
				}
				if n := ends[events.EndPresumed]; proven && n > 0 || !proven && n == 0 {
					t.Errorf("ends %v", ends)
				}
				l.check(simulator.Checker{Until: l.clock.Now(), Passes: 1000})
				t.Logf("ends %v; looks %v", ends, l.looks)
			})
		}
	}
}
