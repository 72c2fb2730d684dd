package poller_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

var startTime = regexp.MustCompile(`("start_time":")([^"]+)`)

// TestStartsThatChangeEndNobody: a platform's zone is set anew, so that all starts change by
// hours while the list stays in its order. Who was not shown with the new start yet stands
// elsewhere by the one that is known of them.
func TestStartsThatChangeEndNobody(t *testing.T) {
	for _, c := range []struct {
		order   simulator.Order
		by      time.Duration
		partial bool // two minutes long it is set at every other server alone
	}{
		{simulator.NewestFirst, -3 * time.Hour, false},
		{simulator.NewestFirst, 2 * time.Hour, true},
		{simulator.NewestFirst, -10 * time.Minute, false},
		{simulator.OldestFirst, time.Hour, false},
		{simulator.OldestFirst, -time.Hour, true},
	} {
		t.Run(fmt.Sprint(c.order, " ", c.by), func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Order, cfg.Ties = c.order, true
			cfg.Locations = simulator.Venues("cafe%d", 20, 20)
			cfg.Locations[0].MeanOnline = 150
			l := newLab(t, cfg, adaptive)
			const set, whole = 8 * time.Minute, 10 * time.Minute
			asked := 0
			l.intercept = func(r *http.Request) *http.Response {
				asked++
				at := l.clock.Now().Sub(l.began)
				if at < set || c.partial && at < whole && asked%2 == 0 {
					return nil
				}
				w, there := httptest.NewRecorder(), r.Clone(r.Context())
				there.URL.Path = strings.TrimPrefix(r.URL.Path, "/api")
				l.sim.ServeHTTP(w, there)
				answer := w.Result()
				answer.Request = r
				body, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = startTime.ReplaceAllFunc(body, func(field []byte) []byte {
					parts := startTime.FindSubmatch(field)
					start, err := time.Parse(time.RFC3339, string(parts[2]))
					if err != nil {
						t.Fatal(err)
					}
					return append(bytes.Clone(parts[1]), start.Add(c.by).Format(time.RFC3339)...)
				})
				answer.Body = io.NopCloser(bytes.NewReader(body))
				return answer
			}
			l.run(whole + time.Minute)
			if settling := l.poller.Status(l.clock.Now()).Plan.Settling; settling <= 0 || settling > 5*time.Minute {
				t.Errorf("a minute after the starts changed they are said to settle within %v", settling)
			}
			l.run(14 * time.Minute)
			if settling := l.poller.Status(l.clock.Now()).Plan.Settling; settling != 0 {
				t.Errorf("long after the starts changed they are said to settle within %v", settling)
			}

			left, ended := make(map[string]time.Time), make(map[string]bool)
			for _, x := range l.truth.All() {
				if x.Kind == simulator.TruthEnd {
					left[x.Session] = x.Time
				}
			}
			known, early, back := make(map[string]bool), 0, 0
			for _, e := range l.events() {
				id := e.Data.Session.ID
				known[id] = true
				switch e.Kind {
				case events.Ended:
					ended[id] = true
					if at := left[id]; at.IsZero() || at.After(e.Data.Observed.At) {
						if early++; early == 1 {
							t.Errorf("session %s ended %v after the beginning, while it was online", id, e.Data.Observed.At.Sub(l.began))
						}
					}
				case events.Resumed:
					back++
				}
			}
			late := 0
			for id, at := range left {
				if known[id] && !ended[id] && at.Before(l.clock.Now().Add(-3*time.Minute)) {
					late++
				}
			}
			if early > 0 || back > 0 || late > 0 {
				t.Errorf("%d false ends, %d came back, %d left over 3 minutes ago and did not end; looks %v", early, back, late, l.looks)
			}
			if n := strings.Count(l.log.String(), "starts of sessions have changed"); n == 0 {
				t.Error("the operator was not told")
			}
		})
	}
}
