package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// eventuallyKnows waits until the account has read every location.
func (r *running) eventuallyKnows(sample string, least float64) {
	r.t.Helper()
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallySees(sample, least)
}

// revisionsGoOn checks that each session's revisions are 1, 2, 3 … in the stream.
func revisionsGoOn(t *testing.T, all []events.Event) {
	t.Helper()
	last := map[string]int64{}
	wrong := 0
	for _, e := range all {
		id := e.Account + "/" + e.Data.Session.ID
		if e.Data.Revision != last[id]+1 {
			if wrong++; wrong < 5 {
				t.Errorf("session %s: %s has revision %d after %d", id, e.Kind, e.Data.Revision, last[id])
			}
		}
		last[id] = e.Data.Revision
	}
	if wrong > 0 {
		t.Errorf("%d of %d events do not follow the one before", wrong, len(all))
	}
}

// TestNewDataDirectoryGoesOnWhereTheStreamEnds: with an empty directory beside a full
// stream nobody is discovered again, nothing is told twice, and revisions go on. A
// directory that somebody else has left behind since then is refused, and says so.
func TestNewDataDirectoryGoesOnWhereTheStreamEnds(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	p := platformOf(t, "a")
	path := accountsFile(t, "accounts:\n"+own("a", p))
	cfg := settingsFor(t, "GUESTFLOW_ACCOUNTS_FILE="+path, "GUESTFLOW_NATS_URL="+server.URL())
	const started = `guestflow_events_total{account="a",kind="started"}`
	first := launch(t, cfg)
	first.eventuallyKnows(started, 10)
	first.endPublished()
	conn := natstest.Connect(t, server.URL())
	before := kept(t, conn)

	second := launch(t, settingsFor(t, "GUESTFLOW_ACCOUNTS_FILE="+path, "GUESTFLOW_NATS_URL="+server.URL()))
	second.eventuallyKnows(started, 10)
	until := p.sim.Now()
	second.eventuallySees(`guestflow_events_total{account="a",kind="ended"}`, 3)
	if n := second.member(t, "a").open().Store.Outbox().Last; n == 0 {
		t.Error("the second process committed nothing")
	}
	eventuallyTold(t, p, until, func() []events.Event { return kept(t, conn) })
	second.endPublished()

	all := kept(t, conn)
	// One that was there before and that the first process had not come to yet would be
	// discovered rightly.
	known, began := make(map[string]bool), before[0].Data.Observed.At
	for _, e := range before {
		known[e.Data.Session.ID] = true
	}
	for _, e := range all[len(before):] {
		if s := &e.Data.Session; e.Kind == events.Discovered && (known[s.ID] || s.StartedAt.After(began)) {
			t.Errorf("session %s, which began at %v, is discovered; the first process began at %v", s.ID, s.StartedAt, began)
			break
		}
	}
	revisionsGoOn(t, all)
	verify(t, p, simulator.Checker{Until: until}, all)

	if err := first.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}
	third := launch(t, cfg)
	third.eventuallyReady(http.StatusServiceUnavailable, "account a: cannot go on: publishing: account a: message ")
	third.end()
}
