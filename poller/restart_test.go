package poller_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestRestartsDelayNoEnds: what ended while guestflow was away is seen within some
// rounds of the list, since a session's place in it follows from its start. Each of
// these sessions would be verified alone otherwise.
func TestRestartsDelayNoEnds(t *testing.T) {
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		for _, killed := range long.Of([]bool{order == simulator.NewestFirst}, []bool{false, true}) {
			t.Run(fmt.Sprintf("%v, killed %t", order, killed), func(t *testing.T) {
				t.Parallel()
				cfg := town()
				cfg.Speed, cfg.Order, cfg.Locations = 1, order, simulator.Venues("cafe%d", 200, 15)
				l := newLab(t, cfg, adaptive)
				l.run(10 * time.Minute)
				since := l.clock.Now()
				for range 5 {
					if !killed {
						l.stop()
					}
					l.restart()
					l.run(25 * time.Second) // a third of a round
				}
				clear(l.looks)
				l.run(5 * time.Minute)
				until := l.clock.Now().Add(-150 * time.Second)
				ended, open := l.endings(since, until)
				most := 0
				if order == simulator.ByID {
					// Not sorted by start, each of the 200 lists has to be read for proof, as
					// without a restart.
					most = ended / 4
				}
				if ended < 300 || open > most {
					t.Errorf("of %d sessions that ended, %d are online still; looks %v", ended, open, l.looks)
				}
				if n := l.looks[plan.Verify]; n > ended/10 && order != simulator.ByID {
					t.Errorf("%d looks at single sessions, of %d that ended", n, ended)
				}
				l.check(simulator.Checker{Kills: []simulator.Interval{{From: since, To: until}}, Until: until, Passes: 5})
			})
		}
	}
}

// TestOneListAnswersForAllWhoAreMissing: where the list has no order, a page of a
// location's list proves at once what ended there.
func TestOneListAnswersForAllWhoAreMissing(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Speed, cfg.Order, cfg.Locations = 1, simulator.Shuffled, simulator.Venues("cafe%d", 30, 10)
	l := newLab(t, cfg, adaptive)
	l.run(5 * time.Minute)
	since := l.clock.Now()
	l.pass(15 * time.Minute)
	l.restart()
	clear(l.looks)
	l.run(3 * time.Minute)
	until := l.clock.Now().Add(-time.Minute)
	ended, open := l.endings(since, until)
	if ended < 60 || open > 0 {
		t.Errorf("of %d sessions that ended, %d are online still", ended, open)
	}
	if n := l.looks[plan.Verify]; n == 0 || n > ended*2/3 {
		t.Errorf("%d looks at %d sessions that ended", n, ended)
	}
	l.check(simulator.Checker{Kills: []simulator.Interval{{From: since, To: until}}, Until: until, Passes: 5})
}

// stop ends the poller as a signal does.
func (l *lab) stop() {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	cancel()
	if err := l.poller.Run(ctx); err != nil {
		l.t.Fatal(err)
	}
}

// endings counts the sessions with an event that ended within the time, and those of
// them whose end has none.
func (l *lab) endings(from, to time.Time) (ended, open int) {
	l.t.Helper()
	online := make(map[string]bool)
	for _, e := range l.events() {
		online[e.Data.Session.ID] = e.Kind != events.Ended
	}
	for _, t := range l.truth.All() {
		if t.Kind != simulator.TruthEnd || !t.Time.After(from) || !t.Time.Before(to) {
			continue
		}
		if still, known := online[t.Session]; known {
			ended++
			if still {
				open++
			}
		}
	}
	return ended, open
}
