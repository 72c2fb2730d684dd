package freshness

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// TestWhoBeganInACrowdAndLeftAtOnceIsSeen: equal starts hide each other on pages of the
// history, and who has ended stands nowhere else. So that is read until nobody new shows.
func TestWhoBeganInACrowdAndLeftAtOnceIsSeen(t *testing.T) {
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		t.Run(order.String(), func(t *testing.T) {
			t.Parallel()
			row := do(t, Run{
				Estate: "hall", Policy: "adaptive", Order: order, Seed: 1, Warmup: 3 * time.Minute, Horizon: 10 * time.Minute, Tail: 3 * time.Minute,
				Config: &simulator.Config{
					Ties: true, RebootsPerHour: 12,
					Locations: []simulator.Location{{ID: "hall", Name: "Hall", MeanOnline: 400, Stay: simulator.Stay{Mean: 10 * time.Minute, Sigma: 1.5}}},
				},
			})
			if row.Missed > 0 || row.FalseEnds > 0 || row.Ends < 300 {
				t.Errorf("%d missed, %d false ends of %d", row.Missed, row.FalseEnds, row.Ends)
			}
		})
	}
}
