package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestCheckTellsOfMirrorsSourcesAndWindows: a mirror fails it, and whatever only endangers
// events is told of beside.
func TestCheckTellsOfMirrorsSourcesAndWindows(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right"})
	server := natstest.New(t)
	js := server.JetStream()
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(endpoints, []byte("endpoints:\n  - {name: crm, url: 'https://crm.example.com', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := settings(t, p, "GUESTFLOW_NATS_URL="+server.URL(), "GUESTFLOW_WEBHOOKS_FILE="+endpoints)
	sessions := jetstream.StreamConfig{Name: events.DefaultStream, Mirror: &jetstream.StreamSource{Name: "ORIGIN"}, Duplicates: 2 * time.Minute}
	dead := jetstream.StreamConfig{Name: webhook.DefaultDeadStream, Subjects: []string{"guest.webhooks.dead.*"}}
	checks := func(what string, wants ...string) {
		t.Helper()
		for _, c := range []*jetstream.StreamConfig{&sessions, &dead} {
			if _, err := js.CreateOrUpdateStream(t.Context(), *c); err != nil {
				t.Fatal(err)
			}
		}
		found, cautions, err := checkNATS(t.Context(), cfg)
		got := strings.Join(cautions, "\n")
		if err != nil {
			got = fmt.Sprintf("FAIL %v", err)
		}
		if len(wants) == 0 && (got != "" || found == "") {
			t.Errorf("%s: %q, %q", what, found, got)
		}
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORIGIN", Subjects: []string{"origin.>"}}); err != nil {
		t.Fatal(err)
	}
	checks("mirror", "FAIL ", "nats stream edit GUEST_SESSIONS --no-mirror --subjects='guest.sessions.*.*.*'", "Do not delete the mirror")

	sessions.Mirror, sessions.Subjects = nil, []string{"guest.sessions.*.*.*"}
	checks("promoted")

	sessions.Sources, sessions.Duplicates = []*jetstream.StreamSource{{Name: "ORIGIN"}}, 0
	dead.Duplicates = time.Second
	checks("sources and a short window", "GUEST_SESSIONS copies ORIGIN too", "nats stream edit GUEST_SESSIONS --dupe-window=2m0s", "nats stream edit GUEST_WEBHOOKS_DEAD --dupe-window=2m0s")

	if err := js.DeleteStream(t.Context(), dead.Name); err != nil {
		t.Fatal(err)
	}
	dead.Subjects, dead.Mirror, dead.Duplicates = nil, &jetstream.StreamSource{Name: "ORIGIN"}, 0
	checks("dead letters are a mirror", "FAIL ", "GUEST_WEBHOOKS_DEAD is a mirror of ORIGIN")
}
