package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/poller"
)

// TestABackfillIsAskedForByWhoMay, for a time in the past.
func TestABackfillIsAskedForByWhoMay(t *testing.T) {
	for _, c := range []struct {
		name, from, body string
		status           int
		says             string
	}{
		{"this machine", "127.0.0.1:5000", "2026-01-01T00:00:00Z", http.StatusOK, "the history since 2026-01-01T00:00:00Z is read"},
		{"another machine", "192.0.2.7:5000", "2026-01-01T00:00:00Z", http.StatusForbidden, "GUESTFLOW_OCCUPANCY_TOKEN"},
		{"no time", "127.0.0.1:5000", "yesterday", http.StatusBadRequest, "yesterday"},
		{"the future", "127.0.0.1:5000", time.Now().Add(time.Hour).Format(time.RFC3339), http.StatusBadRequest, "use a time in the past"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &app{fleet: &fleet{lone: true}}
			a.fleet.members = []*member{{app: a, account: &account.Account{Poller: poller.New(poller.Settings{Clock: poller.SystemClock{}})}}}
			r := httptest.NewRequest(http.MethodPut, "http://localhost"+backfillPath, strings.NewReader(c.body))
			r.RemoteAddr = c.from
			w := httptest.NewRecorder()
			a.serveBackfill(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// TestHowFarABackfillIsReadsPlainly.
func TestHowFarABackfillIsReadsPlainly(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		s    poller.PastStatus
		want string
	}{
		{poller.PastStatus{}, "nothing from before tracking began was asked for"},
		{poller.PastStatus{From: day(1)}, "since 2026-01-01T00:00:00Z: begins; 0 sessions so far"},
		{poller.PastStatus{From: day(1), Reached: day(3), Sessions: 5}, "since 2026-01-01T00:00:00Z: has come to sessions of 2026-01-03T00:00:00Z, 5 so far"},
		{poller.PastStatus{From: day(1), Waits: "the order of the history is not known"}, "since 2026-01-01T00:00:00Z: waits, since the order of the history is not known; 0 sessions so far"},
		{poller.PastStatus{From: day(1), Done: day(1), Sessions: 9}, "complete since 2026-01-01T00:00:00Z: 9 sessions"},
	} {
		if got := explainPast(c.s); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
