package poller_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestFaultsPass: whatever the platform does for a while, nothing crashes, the
// fault is counted, and the events are right.
func TestFaultsPass(t *testing.T) {
	for _, c := range []struct {
		fault   string
		outcome string // that must be counted; empty where requests succeed
	}{
		{"429:1m@3m", "rate limited"},
		{"429=0:1m@3m", "rate limited"},
		{"5xx:1m@3m", "server error"},
		{"stall=30s:1m@3m", "timed out"},
		{"cut:1m@3m", "network error"},
		{"html:1m@3m", "malformed answer"},
		{"next:3m@2m%50", ""},
		{"dup:3m@2m%50", ""},
		{"damaged:3m@2m%20", ""},
		{"skew=-2m:2m@3m", ""},
		{"revoked:2m@3m", "unauthorised"},
		{"forbidden:2m@3m", "forbidden"},
	} {
		for name, planner := range map[string]func() plan.Strategy{"adaptive": adaptive, "round-robin": roundRobin} {
			if name == "round-robin" && (c.outcome != "" || !strings.HasPrefix(c.fault, long.Of("next", ""))) {
				continue // one strategy shows how failed requests are dealt with
			}
			t.Run(c.fault+" "+name, func(t *testing.T) {
				t.Parallel()
				cfg := town()
				var err error
				if cfg.Faults, err = simulator.ParseFaults([]string{c.fault}); err != nil {
					t.Fatal(err)
				}
				l := newLab(t, cfg, planner)
				l.run(7 * time.Minute)
				l.runUntilPolling()
				l.run(2 * time.Minute)
				if c.outcome != "" && l.requests[c.outcome] == 0 {
					t.Errorf("no request counts as %q: %v", c.outcome, l.requests)
				}
				if strings.HasPrefix(c.fault, "damaged") && l.skipped == 0 && !strings.Contains(l.log.String(), "a record was skipped") {
					t.Error("no damaged record was told of")
				}
				if strings.HasPrefix(c.fault, "next") && !strings.Contains(l.log.String(), "links point elsewhere") {
					t.Error("no hostile link was told of")
				}
				if state := l.poller.Status(l.clock.Now()).State; state != poller.Polling {
					t.Errorf("polling is %s after the fault", state)
				}
				checker := simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Lag: 40 * time.Second, Passes: 5}
				if strings.HasPrefix(c.fault, "skew") {
					// The events' clock is the one that the platform tells.
					checker.Slack = 3 * time.Minute
				}
				if strings.HasPrefix(c.fault, "damaged") {
					// A report of an end whose figures are garbled carries the last known
					// ones.
					l.check(checker, simulator.WrongFigures)
					return
				}
				l.check(checker)
			})
		}
	}
}

// runUntilPolling waits for the pause after a refused token, which is at most
// 15 min, jittered by half.
func (l *lab) runUntilPolling() {
	for range 25 {
		if l.poller.Status(l.clock.Now()).State == poller.Polling {
			return
		}
		l.run(time.Minute)
	}
}

// TestRefusedTokenStopsPolling: few requests while it lasts, a clear state, and
// it goes on by itself.
func TestRefusedTokenStopsPolling(t *testing.T) {
	cfg := town()
	cfg.Faults, _ = simulator.ParseFaults([]string{"revoked:20m@2m"})
	l := newLab(t, cfg, adaptive)
	l.run(12 * time.Minute)
	status := l.poller.Status(l.clock.Now())
	if status.State != poller.Stopped || !strings.Contains(status.Error, "GUESTFLOW_API_TOKEN") || status.Ready() {
		t.Errorf("status %s %q, ready %v", status.State, status.Error, status.Ready())
	}
	if n := l.requests["unauthorised"]; n == 0 || n > 20 {
		t.Errorf("%d requests with a refused token", n)
	}
	l.run(10 * time.Minute)
	l.runUntilPolling()
	l.run(10 * time.Minute)
	if status := l.poller.Status(l.clock.Now()); status.State != poller.Polling {
		t.Errorf("polling is %s after the token was accepted again", status.State)
	}
	l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 5})
}

// TestRestartsLoseNothing: a new poller on the same store goes on.
func TestRestartsLoseNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		planner func() plan.Strategy
		order   simulator.Order
	}{
		{"adaptive", adaptive, simulator.NewestFirst},
		{"adaptive", adaptive, simulator.OldestFirst},
		{"adaptive", adaptive, simulator.Unordered},
		{"adaptive", adaptive, simulator.Shuffled},
		{"round-robin", roundRobin, simulator.NewestFirst},
	} {
		t.Run(c.name+" "+c.order.String(), func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Order, cfg.ResumeProbability, cfg.RoamProbability, cfg.ChangeProbability = c.order, 0.1, 0.1, 0
			l := newLab(t, cfg, c.planner)
			for range 2 {
				l.run(3 * time.Minute)
				l.restart()
			}
			l.run(3 * time.Minute)
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Passes: 5})
		})
	}
}

// TestLocationsAreFound from the sessions, where the platform has no /locations
// or does not let this token see them: that stops nothing, and nobody is told so.
func TestLocationsAreFound(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, town(), roundRobin)
			l.intercept = func(r *http.Request) *http.Response {
				if !strings.HasSuffix(r.URL.Path, "/locations") {
					return nil
				}
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}
			}
			l.run(10 * time.Minute)
			if n := len(l.poller.Status(l.clock.Now()).Locations); n != 10 {
				t.Errorf("%d locations, want 10", n)
			}
			if text := l.log.String(); !strings.Contains(text, "lists no locations") || strings.Contains(text, "stopped") || strings.Contains(text, "a request failed") {
				t.Errorf("the log says:\n%s", text)
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute)})
		})
	}
}
