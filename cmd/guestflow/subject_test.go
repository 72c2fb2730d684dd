package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// TestSubjectExportWritesWhatIsHeld: of the person alone, from streams and platform; with
// pseudonyms found by what they stand for.
func TestSubjectExportWritesWhatIsHeld(t *testing.T) {
	answered := "g1" // by the platform, whatever it is asked for
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("guest_id"); got != "g1" {
			t.Errorf("the platform is asked for guest %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":[{"id":"old","location_id":"bar","guest_id":%q,"connection_status_value":0,"start_time":"2017-01-05T06:50:55+00:00"}],"links":{"next":null},"meta":{"current_page":1}}`, answered)
	}))
	defer api.Close()
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	variables := []string{"GUESTFLOW_NATS_URL=" + url, "GUESTFLOW_API_URL=" + api.URL, "GUESTFLOW_API_TOKEN=token", "GUESTFLOW_MAC=hash", "GUESTFLOW_PRIVACY_KEY=0123456789abcdef"}
	environment(t, variables...)
	cfg := loaded(t, variables)
	privacy := cfg.platform().Privacy
	for i, guest := range []string{"g1", "g2"} {
		e := started("Phone")
		e.Data.Session.ID, e.Data.Session.GuestID = fmt.Sprint("s", i), guest
		e.Data.Session.DeviceMAC = privacy.Forms(fmt.Sprintf("14:2d:27:e7:40:0%d", i))[1]
		body, err := events.Encode(e.Sealed())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "g1.json")
	code, _, errs := invoke("subject", "export", "--guest", "g1", "--platform", "--out", file)
	if code != 0 || !strings.Contains(errs, "1 session events in GUEST_SESSIONS; 1 sessions; 1 of the platform") {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, "subject-export", string(text))
	var got personal
	if err := json.Unmarshal(text, &got); err != nil || len(got.Messages) != 1 || len(got.Platform) != 1 || got.Platform[0].ID != "old" || strings.Contains(string(text), "g2") {
		t.Errorf("%s, %v", text, err)
	}
	if code, out, errs := invoke("subject", "export", "--mac", "14-2D-27-E7-40-01"); code != 0 || !strings.Contains(out, `"s1"`) || strings.Contains(out, `"s0"`) {
		t.Errorf("by a device: exit code %d, %s, %s", code, out, errs)
	}
	_, nobody, _ := invoke("subject", "export", "--guest", "nobody")
	conforms(t, "subject-export", nobody)
	answered = "g2"
	for _, c := range []struct {
		args string
		code int
		told string
	}{
		{"--guest g1 --platform", 1, "does not know the filter"},
		{"--guest nobody", 0, "nothing in the streams; 0 sessions"},
		{"--mac 14:2d", 2, "six pairs of digits"},
		{"--email ann", 2, "is no e-mail address"},
		{"", 2, "see guestflow subject export --help"},
	} {
		code, out, errs := invoke(append([]string{"subject", "export"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(errs, c.told) {
			t.Errorf("%s: exit code %d, %s, %s; want %d, %q", c.args, code, out, errs, c.code, c.told)
		}
	}
}
