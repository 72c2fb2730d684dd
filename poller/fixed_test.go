package poller_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestPageSizeOfThePlatformHoldsUpNothing: where more begin at once than a page shows of a
// platform that ignores per_page, probes go on from page to page; they read the first one
// for ever, with four of five requests.
func TestPageSizeOfThePlatformHoldsUpNothing(t *testing.T) {
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		cfg := town()
		cfg.Speed, cfg.Order, cfg.PerPageFixed, cfg.RebootsPerHour = 1, order, 10, 6
		l := newLab(t, cfg, adaptive)
		l.run(15 * time.Minute)
		clear(l.looks)
		began := l.clock.Now()
		l.run(15 * time.Minute)
		all := 0
		for _, n := range l.looks {
			all += n
		}
		if n := l.looks[plan.Probe] + l.looks[plan.Backfill]; n == 0 || n > all/2 {
			t.Errorf("%v first: %d of %d looks are for arrivals: %v", order, n, all, l.looks)
		}
		if ended, open := l.endings(began, l.clock.Now().Add(-3*time.Minute)); ended < 100 || open > 0 {
			t.Errorf("%v first: of %d sessions that ended, %d are online still", order, ended, open)
		}
		l.check(simulator.Checker{Until: l.clock.Now().Add(-2 * time.Minute)})
	}
}
