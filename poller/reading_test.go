package poller_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// TestRowsThatMoveHoldUpNoReading: where rows move about as fast as they are read, a page far
// back joins now and then, and brings hardly anything new. The first reading came to an end
// after minutes, in which nobody's end was told.
func TestRowsThatMoveHoldUpNoReading(t *testing.T) {
	for seed := range uint64(3) {
		cfg := town()
		cfg.Seed, cfg.Speed, cfg.Ties, cfg.Order = seed+1, 1, true, simulator.Moving
		cfg.Stay = simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}
		cfg.Locations = append([]simulator.Location{{ID: "hall", Name: "Hall", MeanOnline: 310}}, simulator.Venues("cafe%d", 19, 30)...)
		l := newLab(t, cfg, adaptive)
		l.run(time.Minute)
		if now := l.poller.Status(l.clock.Now()).Plan; now.Order != "none" {
			t.Errorf("seed %d: after a minute the order is %q: %s; looks %v", seed, now.Order, now.Why, l.looks)
		}
	}
}
