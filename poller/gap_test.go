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

// TestOutagesLeaveNoHole: after guestflow, or the network, was away for up to 7
// days, the events hold each session of the platform's history once, with its
// true times.
func TestOutagesLeaveNoHole(t *testing.T) {
	cases := []struct {
		name  string
		order simulator.Order
		away  time.Duration
		kill  bool // in the middle of reading what was missed
	}{
		{"newest first, 7 days", simulator.NewestFirst, 7 * 24 * time.Hour, true},
		{"oldest first, an hour", simulator.OldestFirst, time.Hour, false},
		{"newest first, an hour", simulator.NewestFirst, time.Hour, false},
		{"oldest first, 7 days", simulator.OldestFirst, 7 * 24 * time.Hour, true},
	}
	for _, c := range long.Of(cases[:2], cases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Speed, cfg.Order, cfg.History = 1, c.order, 8*24*time.Hour
			if c.kill {
				cfg.Locations = cfg.Locations[:2] // many sessions all the same
			}
			l := newLab(t, cfg, adaptive)
			l.run(15 * time.Minute)
			since := l.clock.Now()
			l.pass(c.away)
			l.restart()
			if c.kill {
				l.run(50 * time.Second)
				l.restart()
			}
			l.run(25 * time.Minute)
			until := l.clock.Now().Add(-time.Minute)
			if n := l.looks[plan.Backfill]; c.away > 24*time.Hour && n < 40 {
				t.Errorf("%d looks at what was missed", n)
			}
			l.checkHistory(since, until)
			l.check(simulator.Checker{Kills: []simulator.Interval{{From: since, To: until}}, Until: until})
		})
	}
}

// TestAnUnreachablePlatformLeavesNoHole: the same process comes back to it.
func TestAnUnreachablePlatformLeavesNoHole(t *testing.T) {
	t.Parallel()
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		cfg := town()
		cfg.Speed, cfg.Order = 1, order
		var err error
		away := long.Of(90*time.Minute, 5*time.Hour)
		if cfg.Faults, err = simulator.ParseFaults([]string{fmt.Sprintf("5xx:%v@20m", away)}); err != nil {
			t.Fatal(err)
		}
		l := newLab(t, cfg, adaptive)
		l.run(10 * time.Minute)
		since := l.clock.Now()
		l.run(away + 45*time.Minute)
		l.checkHistory(since, l.clock.Now().Add(-time.Minute))
		l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 5})
	}
}

// TestArrivalsOfOneSecondAreSeen: where several arrive within each second, and
// leave before a sweep shows them, none is lost when a page of the history is
// full: starts are listed in whole seconds, so one that comes later may be sorted
// in before others.
func TestArrivalsOfOneSecondAreSeen(t *testing.T) {
	t.Parallel()
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		cfg := town()
		cfg.Speed, cfg.Order = 1, order
		cfg.Locations = []simulator.Location{
			{ID: "campus", Name: "Campus", MeanOnline: 2000, Stay: simulator.Stay{Mean: 8 * time.Hour}},
			{ID: "gate", Name: "Gate", MeanOnline: 60, Stay: simulator.Stay{Mean: 12 * time.Second, Sigma: 0.5}},
		}
		l := newLab(t, cfg, adaptive)
		l.run(5 * time.Minute)
		since := l.clock.Now()
		l.run(long.Of(8*time.Minute, 20*time.Minute))
		if missing, _ := l.compareHistory(since, l.clock.Now().Add(-2*time.Minute)); missing > 0 {
			t.Errorf("%v: %d sessions have no start", order, missing)
		}
	}
}

// checkHistory holds the events against every session that began within the
// time: started once, and ended once with its true time where it has ended.
func (l *lab) checkHistory(from, to time.Time) {
	l.t.Helper()
	if missing, open := l.compareHistory(from, to); missing > 0 || open > 0 {
		l.t.Errorf("%d sessions of the history have no start and %d no end", missing, open)
	}
}

// compareHistory also counts the sessions that have begun, or ended, without an
// event.
func (l *lab) compareHistory(from, to time.Time) (missing, open int) {
	l.t.Helper()
	type life struct{ began, ended time.Time }
	truth := make(map[string]*life)
	for _, t := range l.truth.All() {
		switch t.Kind {
		case simulator.TruthStart:
			if t.Time.After(from) && t.Time.Before(to) {
				truth[t.Session] = &life{began: t.Time}
			}
		case simulator.TruthEnd:
			if s := truth[t.Session]; s != nil && t.Time.Before(to) {
				s.ended = t.Time
			}
		}
	}
	short := 0
	for _, e := range l.events() {
		s := truth[e.Data.Session.ID]
		if s == nil {
			continue
		}
		switch e.Kind {
		case events.Started:
			if !s.began.Truncate(time.Second).Equal(e.Time) {
				l.t.Errorf("session %s began at %v, the event says %v", e.Data.Session.ID, s.began, e.Time)
			}
			s.began = time.Time{}
		case events.Ended:
			if e.Data.Observed.Backfilled {
				short++
				if !s.ended.Truncate(time.Second).Equal(e.Time) {
					l.t.Errorf("session %s ended at %v, the event says %v", e.Data.Session.ID, s.ended, e.Time)
				}
			}
			s.ended = time.Time{}
		}
	}
	for _, s := range truth {
		if !s.began.IsZero() {
			missing++
		}
		if !s.ended.IsZero() {
			open++
		}
	}
	l.t.Logf("%d sessions of the history, %d backfilled; looks %v", len(truth), short, l.looks)
	return missing, open
}
