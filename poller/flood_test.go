package poller_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestACrowdThatBeginsAtOnceDelaysNobodyElse: the list of its location is read several
// times, since equal starts hide each other, and arrivals elsewhere are seen as ever.
func TestACrowdThatBeginsAtOnceDelaysNobodyElse(t *testing.T) {
	for i, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		crowds := []float64{160, 310}
		for _, n := range long.Of(crowds[1-i:2-i], crowds) {
			t.Run(fmt.Sprint(order, " ", n), func(t *testing.T) {
				t.Parallel()
				cfg := town()
				cfg.Speed, cfg.Order, cfg.Ties, cfg.RebootsPerHour = 1, order, true, 72
				cfg.Stay = simulator.Stay{Mean: 5 * time.Minute, Sigma: 1}
				cfg.Locations = append([]simulator.Location{{ID: "hall", Name: "Hall", MeanOnline: n}}, simulator.Venues("cafe%d", 5, 20)...)
				l := newLab(t, cfg, adaptive)
				l.run(3 * time.Minute)
				since := l.clock.Now()
				clear(l.looks)
				l.run(10 * time.Minute)
				started, late, worst := 0, 0, time.Duration(0)
				for _, e := range l.events() {
					s := &e.Data.Session
					if e.Kind != events.Started || s.StartedAt.Before(since) || s.LocationID == "hall" {
						continue
					}
					delay := e.Data.Observed.At.Sub(s.StartedAt)
					if started++; delay > 15*time.Second {
						late++
					}
					worst = max(worst, delay)
				}
				if started < 100 || late > started/30 || worst > 3*time.Minute {
					t.Errorf("of %d arrivals elsewhere %d were seen after more than 15 s, the last after %v; looks %v", started, late, worst, l.looks)
				}
				if n := l.looks[plan.Probe]; n < 60 {
					t.Errorf("%d probes in 10 minutes", n)
				}
			})
		}
	}
}
