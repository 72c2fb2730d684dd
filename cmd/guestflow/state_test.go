package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/store"
)

// TestRestoredStateTellsEverythingOnce: a backup is taken while guestflow runs, which goes
// on; when the copy is restored later, nothing that was published since is published
// again, and nothing is left out.
func TestRestoredStateTellsEverythingOnce(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	p := platformOf(t, "default")
	cfg := settingsFor(t, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right-default", "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL="+server.URL())
	const started = `guestflow_events_total{account="default",kind="started"}`
	first := launch(t, cfg)
	first.eventuallyKnows(started, 3)
	s := stateFile{cfg: cfg, path: cfg.statePath()}
	s.cfg.HTTPAddr = first.listener.Addr().String()
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.backUp(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if _, err := s.backUp(t.Context(), backup); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("a second backup into the same file: %v", err)
	}
	if _, err := store.Restore(s.path, backup, time.Now()); err == nil || !strings.Contains(s.unlocked(err).Error(), "stop the guestflow that uses it first") {
		t.Errorf("restoring under a running guestflow: %v", err)
	}
	r, err := s.inspect(t.Context(), true)
	if err != nil || r.Online == 0 || len(r.Sessions) != r.Online || len(r.Places) == 0 {
		t.Errorf("inspected: %+v, %v", r, err)
	}
	first.eventuallySees(started, 15)
	first.endPublished()
	if err := first.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}

	if _, err := store.Restore(s.path, backup, time.Now()); err != nil {
		t.Fatal(err)
	}
	second := launch(t, cfg)
	second.eventuallyKnows(started, 10)
	until := p.sim.Now()
	second.eventuallySees(`guestflow_events_total{account="default",kind="ended"}`, 3)
	if mark, err := second.member(t, "").open().Store.Get(store.KeyRestored); err != nil || mark != nil {
		t.Errorf("the mark is still there: %q, %v", mark, err)
	}
	conn := natstest.Connect(t, server.URL())
	eventuallyTold(t, p, until, func() []events.Event { return kept(t, conn) })
	second.endPublished()
	all := kept(t, conn)
	revisionsGoOn(t, all)
	verify(t, p, simulator.Checker{Until: until}, all)
}

// TestStateIsHandedToWhoMay: it holds personal data.
func TestStateIsHandedToWhoMay(t *testing.T) {
	t.Parallel()
	p := platformOf(t, "default")
	r := launch(t, settingsFor(t, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right-default", "GUESTFLOW_OCCUPANCY_TOKEN=secret"))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.listener.Addr().String()+stateCopyPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("without the token: %s", answer.Status)
	}
	r.end()
}

// TestStateCommands: on files that nobody has open.
func TestStateCommands(t *testing.T) {
	dir := t.TempDir()
	environment(t, "GUESTFLOW_DATA_DIR="+dir, "GUESTFLOW_HTTP_ADDR=-")
	path := filepath.Join(dir, "default.db")
	s, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Second)
	e := events.Event{Account: "default", Kind: events.Started, Time: at}
	e.Data = events.Data{Revision: 1, Observed: events.Observed{At: at}}
	e.Data.Session = events.Session{ID: "s1", LocationID: "lobby", GuestID: "g", DeviceMAC: "14:2d:27:e7:40:2b", DeviceIP: "192.0.2.77", Online: true, StartedAt: at}
	if err := s.Commit(store.Commit{Changes: []events.Event{e.Sealed()}}); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := execute(append([]string{"state"}, args...), &out, &out)
		return code, out.String()
	}
	backup := filepath.Join(dir, "backup")
	if code, out := command("compact"); code != exitFailure || !strings.Contains(out, "stop the guestflow that uses it first") {
		t.Errorf("compact in use: %d %s", code, out)
	}
	if code, out := command("backup", backup); code != exitFailure || !strings.Contains(out, "is in use: GUESTFLOW_HTTP_ADDR is -") {
		t.Errorf("backup in use without HTTP: %d %s", code, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"backup " + backup, "bytes, checked"},
		{"verify", "default.db is whole"},
		{"verify " + backup, "backup is whole"},
		{"compact", "bytes, were"},
		{"restore " + backup, "the former one is"},
		{"inspect", "restored 20"},
		{"inspect --sessions", "s1       lobby"},
		{"inspect --json", `"unsent":1,`},
		{"inspect " + backup, "1 sessions online in 1 locations"},
	} {
		code, out := command(strings.Fields(c.args)...)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("state %s: exit code %d, want %q in\n%s", c.args, code, c.want, out)
		}
		if strings.Contains(out, "192.0.2.77") || strings.Contains(out, "14:2d:27") {
			t.Errorf("state %s shows personal data:\n%s", c.args, out)
		}
	}
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if code, out := command("verify"); code != exitFailure || !strings.Contains(out, "guestflow state restore") {
		t.Errorf("verify of a damaged file: %d %s", code, out)
	}
	environment(t, "GUESTFLOW_DATA_DIR="+dir, "GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_ACCOUNTS_FILE=accounts.yaml")
	if err := os.WriteFile(filepath.Join(dir, "second.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := command("verify"); code != exitUsage || !strings.Contains(out, "name the account with --account") {
		t.Errorf("one of two: %d %s", code, out)
	}
	if code, out := command("verify", "--account", "second"); code != exitFailure || !strings.Contains(out, "second.db: open: the store is damaged") {
		t.Errorf("second: %d %s", code, out)
	}
}
