package poller_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestMovesEndNobody: sessions move between locations under their id; that one
// location's list no longer shows them ends nothing, and who has really left is
// found all the same, after restarts too.
func TestMovesEndNobody(t *testing.T) {
	for name, c := range map[string]struct {
		planner func() plan.Strategy
		order   simulator.Order
	}{
		"adaptive": {adaptive, simulator.NewestFirst}, "oldest first": {adaptive, simulator.OldestFirst},
		"without order": {adaptive, simulator.Shuffled}, "round robin": {roundRobin, simulator.NewestFirst},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.MoveProbability, cfg.Order = 0.3, c.order
			l := newLab(t, cfg, c.planner)
			var away []simulator.Interval
			for range 5 {
				l.run(4 * time.Minute)
				from := l.clock.Now().Add(-5 * time.Second)
				l.restart()
				away = append(away, simulator.Interval{From: from, To: l.clock.Now()})
			}
			l.run(4 * time.Minute)
			t.Log(l.looks)
			l.check(simulator.Checker{Kills: away, Until: l.clock.Now().Add(-30 * time.Second), Passes: 6})
		})
	}
}
