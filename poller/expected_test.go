package poller_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestArrivalsAreSeenWithoutTheHistory: where the platform's history is not sorted as the
// list of who is online, as without ORDER BY, arrivals are seen as soon as is told to be
// expected.
func TestArrivalsAreSeenWithoutTheHistory(t *testing.T) {
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst} {
		for _, venues := range []int{10, 40, 150} {
			t.Run(order.String()+" first, "+strconv.Itoa(venues), func(t *testing.T) {
				t.Parallel()
				cfg := town()
				cfg.Speed, cfg.Order, cfg.Locations = 1, order, simulator.Venues("venue-%d", venues, 15)
				l := newLab(t, cfg, adaptive)
				cfg.Token, cfg.Order = "secret", simulator.Shuffled
				history := simulator.New(cfg, l.clock.Now)
				l.intercept = func(r *http.Request) *http.Response {
					if q := r.URL.Query(); !strings.HasSuffix(r.URL.Path, "/sessions") || q.Get("online") != "" || q.Get("guest_id") != "" {
						return nil
					}
					r = r.Clone(r.Context())
					r.URL.Path = strings.TrimPrefix(r.URL.Path, "/api")
					w := httptest.NewRecorder()
					history.ServeHTTP(w, r)
					return w.Result()
				}
				l.run(8 * time.Minute)
				if !strings.Contains(l.log.String(), "the account's history cannot be used") {
					t.Fatal("the history is used: the test shows nothing")
				}
				clear(l.looks)
				began := l.clock.Now()
				var delays []float64
				l.looked = func(r poller.Report) {
					for i := range r.Changes {
						if e := &r.Changes[i]; e.Kind == events.Started {
							delays = append(delays, e.Data.Observed.At.Sub(e.Data.Session.StartedAt).Seconds())
						}
					}
				}
				l.run(8 * time.Minute)
				if l.looks[plan.Probe] > 0 {
					t.Fatal("the history is read: the test shows nothing")
				}
				slices.Sort(delays)
				n, mean := len(delays), 0.0
				for _, d := range delays {
					mean += d / float64(n)
				}
				expected := l.poller.Status(l.clock.Now()).Plan.Forecast
				// Starts are in whole seconds, which adds a half to what is measured, and a request
				// waits for its turn.
				const more = 1.5
				if n < 15 || mean > expected.StartMean+more || delays[n*95/100] > expected.StartP95+2*more {
					t.Errorf("%d starts are seen after %.1f s, 95 %% within %.1f s; expected are %.1f s and %.1f s", n, mean, delays[n*95/100], expected.StartMean, expected.StartP95)
				}
				if ended, open := l.endings(began, l.clock.Now().Add(-3*time.Minute)); ended < 5 || open > ended/20 {
					t.Errorf("of %d sessions that ended, %d are online still", ended, open)
				}
				l.check(simulator.Checker{Until: l.clock.Now().Add(-2 * time.Minute)})
			})
		}
	}
}
