package poller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestThePastIsToldOnce: each session that ended before tracking began is published
// once, backfilled, whatever the list's order, restarts, and further requests. That it
// ended says nothing of how soon others do.
func TestThePastIsToldOnce(t *testing.T) {
	orders := []simulator.Order{simulator.OldestFirst, simulator.NewestFirst}
	for _, order := range long.Of(orders[:1], orders) {
		t.Run(order.String(), func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Speed, cfg.Order, cfg.History = 1, order, 4*24*time.Hour
			l := newLab(t, cfg, adaptive)
			l.run(5 * time.Minute)
			ask := func(ago time.Duration) {
				t.Helper()
				if err := l.poller.Backfill(l.began.Add(-ago)); err != nil {
					t.Fatal(err)
				}
			}
			ask(24 * time.Hour)
			l.run(6 * time.Minute)
			if p := l.poller.Status(l.clock.Now()).Plan; p.Ends > 2*p.Starts || p.Past.Sessions == 0 {
				t.Errorf("after %d sessions of the past, the rates that were learned are %.0f starts and %.0f ends an hour", p.Past.Sessions, p.Starts, p.Ends)
			}
			l.restart()
			l.run(14 * time.Minute)
			if s := l.poller.Status(l.clock.Now()).Plan.Past; !s.Done.Equal(l.began.Add(-24*time.Hour)) || s.Sessions == 0 {
				t.Fatalf("after a day was asked for: %+v", s)
			}
			ask(24 * time.Hour)
			ask(48 * time.Hour)
			l.run(40 * time.Minute)
			if s := l.poller.Status(l.clock.Now()).Plan.Past; !s.Done.Equal(l.began.Add(-48 * time.Hour)) {
				t.Fatalf("after two days were asked for: %+v", s)
			}
			told := make(map[string][]events.Kind)
			for _, e := range l.events() {
				s := &e.Data.Session
				if e.Data.Observed.Backfilled && s.StartedAt.Before(l.began) {
					told[s.ID] = append(told[s.ID], e.Kind)
				}
			}
			began, want := make(map[string]time.Time), 0
			for _, s := range l.truth.All() {
				switch {
				case s.Kind == simulator.TruthStart:
					began[s.Session] = s.Time.Truncate(time.Second)
				case s.Kind == simulator.TruthEnd && s.Time.Before(l.began) && !began[s.Session].Before(l.began.Add(-48*time.Hour)):
					want++
					if kinds := told[s.Session]; !slices.Equal(kinds, []events.Kind{events.Started, events.Ended}) {
						t.Errorf("session %s, from %v to %v: told %v", s.Session, began[s.Session], s.Time, kinds)
					}
					delete(told, s.Session)
				}
			}
			if len(told) > 0 {
				t.Errorf("%d others were told of", len(told))
			}
			if want < 100 || l.looks[plan.Past] < 6 {
				t.Errorf("%d sessions, %d looks: the test shows nothing", want, l.looks[plan.Past])
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 8})
		})
	}
}
