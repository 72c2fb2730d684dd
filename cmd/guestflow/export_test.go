package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/export"
)

// TestExportWritesWholeFiles: a table, beside it what it holds, and nothing where it
// fails; what cannot be is said before anything is read.
func TestExportWritesWholeFiles(t *testing.T) {
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	e := started("Phone")
	e.Kind, e.Data.Session.Online, e.Data.Observed.End, e.Data.Observed.Proof = events.Ended, false, events.EndReported, events.ProofRecord
	e = e.Sealed()
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+url)
	dir := t.TempDir()
	file := filepath.Join(dir, "sessions.parquet")
	for _, c := range []struct {
		args string
		code int
		told string
	}{
		{"sessions --out " + file, 0, "1 rows of sessions, complete until "},
		{"sessions --after 1 --out " + filepath.Join(dir, "none.csv"), 0, "go on with --after 1"},
		{"sessions --after 2", 1, "--after 2: stream GUEST_SESSIONS ends at 1"},
		{"sessions --k 5", 0, "1 left out, since fewer than 5 people stand behind them"},
		{"sessions --group in", 2, "set GUESTFLOW_GROUPS_FILE"},
		{"occupancy", 0, "0 rows of occupancy, complete until "},
		{"visits", 1, "stream GUEST_VISITS does not exist"},
		{"sessions --out " + filepath.Join(dir, "nowhere", "x.csv"), 1, "--out"},
		{"sessions --format xml", 2, "use csv or parquet"},
		{"sessions --k 1", 2, "use 2 or more"},
		{"occupancy --after 7", 2, "complete_until of the last run"},
		{"sessions --since 1h --until 2h", 2, "is not after --since"},
		{"guests", 2, `"guests": use sessions, visits, occupancy`},
	} {
		code, out, errs := invoke(append([]string{"export"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.told) {
			t.Errorf("%s: exit code %d, %s, %s; want %d, %q", c.args, code, out, errs, c.code, c.told)
		}
	}
	text, err := os.ReadFile(file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, "export", string(text))
	var report export.Report
	if err := json.Unmarshal(text, &report); err != nil || report.Rows != 1 || report.LastSequence != 1 || report.CompleteUntil.IsZero() {
		t.Errorf("the report is %s, %v", text, err)
	}
	table, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(table), "PAR1") {
		t.Errorf("the table is %q, %v", table, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 { // two tables, two reports
		t.Errorf("there are %v, %v", left, err)
	}
}

// TestExportTellsWhatIsGone: what left the stream since the last run is in no table, and
// that is said.
func TestExportTellsWhatIsGone(t *testing.T) {
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := js.Publish(t.Context(), "guest.sessions.default.bar.ended", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+url)
	const gone = "has left the stream"
	for after, told := range map[string]bool{"0": false, "2": true, "3": false, "5": false} {
		code, _, errs := invoke("export", "sessions", "--after", after)
		if code != 0 || strings.Contains(errs, gone) != told {
			t.Errorf("--after %s: exit code %d, %s", after, code, errs)
		}
	}
}
