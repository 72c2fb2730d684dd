package poller_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

const figuresWait = 30 * time.Second

// ends counts the ends in the outbox by how sure they are.
func (l *lab) ends(from time.Time) (reported, inferred int) {
	l.t.Helper()
	for _, e := range l.events() {
		switch {
		case e.Kind != events.Ended || e.Data.Observed.At.Before(from):
		case e.Data.Observed.End == events.EndReported:
			reported++
		default:
			inferred++
		}
	}
	return reported, inferred
}

// TestEndsCarryThePlatformsFigures: where the budget has room, ends come with the
// platform's own time and totals; the checker compares them with the truth.
func TestEndsCarryThePlatformsFigures(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Speed, cfg.ResumeProbability = 1, 0.1
	l := newLab(t, cfg, adaptive)
	l.figuresWait = figuresWait
	l.run(long.Of(10*time.Minute, 20*time.Minute))
	warm := l.clock.Now()
	l.run(long.Of(15*time.Minute, 40*time.Minute))
	reported, inferred := l.ends(warm)
	t.Logf("%d ends reported, %d inferred; looks %v", reported, inferred, l.looks)
	if reported < 30 || inferred > reported/10 {
		t.Errorf("%d ends were reported, %d inferred", reported, inferred)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 5})
}

// TestScarceRequestsGoIntoChanges: where each request finds changes, none is
// spent on figures and no end waits for them.
func TestScarceRequestsGoIntoChanges(t *testing.T) {
	t.Parallel()
	cfg := town()
	for i := range cfg.Locations {
		cfg.Locations[i].MeanOnline = 120
	}
	l := newLab(t, cfg, adaptive)
	l.figuresWait = figuresWait
	l.run(20 * time.Minute)
	total := 0
	for _, n := range l.looks {
		total += n
	}
	t.Logf("looks %v", l.looks)
	if n := l.looks[plan.Figures]; n > total/50 {
		t.Errorf("%d of %d looks went into final figures", n, total)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
}

// withoutHistory answers every question about one guest's history with an empty
// list.
func (l *lab) withoutHistory(r *http.Request) *http.Response {
	if q := r.URL.Query(); q.Get("guest_id") == "" && q.Get("yas_id") == "" || q.Get("online") != "" {
		return nil
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"data":[],"links":{},"meta":{"current_page":1,"per_page":100}}`)),
	}
}

// TestEndWithoutARecordIsNotHeldForLong: the platform never writes the record.
func TestEndWithoutARecordIsNotHeldForLong(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Speed = 1
	l := newLab(t, cfg, adaptive)
	l.figuresWait = figuresWait
	l.run(15 * time.Minute)
	l.intercept = l.withoutHistory
	var longest time.Duration
	l.looked = func(r poller.Report) {
		for i := range r.Changes {
			if e := &r.Changes[i]; e.Kind == events.Ended {
				longest = max(longest, l.clock.Now().Sub(e.Data.Observed.At))
			}
		}
	}
	l.run(40 * time.Minute)
	if l.looks[plan.Figures] < 20 {
		t.Errorf("only %d requests for final figures", l.looks[plan.Figures])
	}
	if longest == 0 || longest > figuresWait+3*time.Second {
		t.Errorf("an end was held for %v", longest)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 60})
}

// TestHeldEndsSurviveRestartsAndOutages: what is held in memory is found again.
func TestHeldEndsSurviveRestartsAndOutages(t *testing.T) {
	for _, end := range []string{"killed", "stopped"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Speed, cfg.ResumeProbability = 1, 0.2
			l := newLab(t, cfg, adaptive)
			l.figuresWait = figuresWait
			l.run(10 * time.Minute)
			l.intercept = l.withoutHistory
			var kills []simulator.Interval
			for range 12 {
				l.run(97 * time.Second)
				from := l.clock.Now().Add(-figuresWait)
				if end == "stopped" {
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					if err := l.poller.Run(ctx); err != nil {
						t.Fatal(err)
					}
				}
				l.restart()
				kills = append(kills, simulator.Interval{From: from, To: l.clock.Now()})
			}
			l.intercept = nil
			l.run(5 * time.Minute)
			l.check(simulator.Checker{Kills: kills, Until: l.clock.Now().Add(-time.Minute), Passes: 60})
		})
	}
}
