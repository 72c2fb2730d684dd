package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// started is an arrival with what its guest chose to be called.
func started(device string) events.Event {
	at := time.Now().UTC().Truncate(time.Second)
	return events.Event{
		Account: "default", Kind: events.Started, Time: at,
		Data: events.Data{
			Revision: 1,
			Session:  events.Session{ID: "s", LocationID: "hotel", Online: true, StartedAt: at, DeviceDescription: device},
			Observed: events.Observed{At: at},
		},
	}.Sealed()
}

// TestReplaySucceedsOnlyWhereEverythingWasTaken: a script goes by the exit code.
func TestReplaySucceedsOnlyWhereEverythingWasTaken(t *testing.T) {
	b := newBroker(t)
	b.start()
	js := jetStreamAt(t, b.running.URL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}}); err != nil {
		t.Fatal(err)
	}
	e := started("phone")
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
		t.Fatal(err)
	}
	status := http.StatusUnprocessableEntity
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	text := "endpoints:\n  - {name: crm, url: " + receiver.URL + ", secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], allow_private: true}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+b.running.URL())

	code, out, errs := invoke("webhooks", "replay", "crm", "--since", "1h", "--file", file)
	if code != 1 || !strings.Contains(out, "0 delivered, 1 failed") || !strings.Contains(errs, "guestflow webhooks dead crm") {
		t.Errorf("a receiver that refuses: exit code %d, %q, %q", code, out, errs)
	}
	// Letters outlive their endpoint's entry, so no file is needed.
	if code, out, errs := invoke("webhooks", "dead", "crm"); code != 0 || !strings.Contains(out, e.ID) {
		t.Errorf("dead letters: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "dead", "crm"); code != 0 || !strings.Contains(out, "started  s        hotel") {
		t.Errorf("session and location of dead letters: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "dead", "crm", "--body"); code != 0 || !strings.Contains(out, string(body)) {
		t.Errorf("body of dead letters: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "dead", "crm", "--json"); code != 0 || !strings.Contains(out, `"session_id":"s","location_id":"hotel"`) || !strings.Contains(out, `"event":`+string(body)) {
		t.Errorf("dead letters as JSON: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "dead", "cmr"); code != 1 || !strings.Contains(errs, "did you mean crm?") {
		t.Errorf("dead letters of nobody: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "enable", "crm", "--file", file); code != 0 || !strings.Contains(out, "was not disabled") {
		t.Errorf("enable: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "forget", "crm", "--file", file); code != 1 || !strings.Contains(errs, "is still in "+file) {
		t.Errorf("forgetting an endpoint of the file: exit code %d, %q, %q", code, out, errs)
	}
	none := filepath.Join(t.TempDir(), "none.yaml")
	if err := os.WriteFile(none, []byte("endpoints: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke("webhooks", "forget", "cmr", "--file", none); code != 1 || !strings.Contains(errs, "did you mean crm?") {
		t.Errorf("forgetting nobody: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "forget", "crm", "--file", none); code != 0 || out != "endpoint crm is forgotten\n" {
		t.Errorf("forgetting: exit code %d, %q, %q", code, out, errs)
	}
	status = http.StatusNoContent
	if code, out, errs := invoke("webhooks", "replay", "crm", "--all", "--file", file); code != 0 || !strings.Contains(out, "1 delivered, 0 failed") {
		t.Errorf("a receiver that is mended: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "dead", "crm", "--file", file); code != 0 || out != "no dead letters\n" {
		t.Errorf("no dead letters: exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "purge", "crm", "--all", "--file", file); code != 0 || out != "removed 0 dead letters of endpoint crm\n" {
		t.Errorf("purge: exit code %d, %q, %q", code, out, errs)
	}
}

// TestShownTextCannotSteerTheTerminal: guests choose their names, and a terminal
// obeys what it is told.
func TestShownTextCannotSteerTheTerminal(t *testing.T) {
	e := started("Phone\x1b]0;owned\x07\n12:00:00  ended \u009b2J\u202e")
	e.Data.Guest = &events.Guest{Name: "Çiğdem\x1b[2J 李\r"}
	var out strings.Builder
	if err := newScreen(&out).event(e); err != nil {
		t.Fatal(err)
	}
	line, ended := strings.CutSuffix(out.String(), "\n")
	if !ended || strings.ContainsAny(line, "\x1b\x07\r\n\u009b\u202e") {
		t.Errorf("shown: %q", out.String())
	}
	if !strings.Contains(line, "Çiğdem") || !strings.Contains(line, "李") || !strings.Contains(line, "Phone") {
		t.Errorf("names are lost: %q", line)
	}
}
