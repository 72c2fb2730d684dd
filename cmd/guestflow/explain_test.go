package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
)

// TestExplainTellsASessionsLife: its events, and what became of them at each endpoint.
func TestExplainTellsASessionsLife(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuses" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	entries := `endpoints:
  - {name: takes, url: "` + receiver.URL + `", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], allow_private: true}
  - {name: refuses, url: "` + receiver.URL + `/refuses", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], allow_private: true}
  - {name: hurries, url: "` + receiver.URL + `", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], allow_private: true, max_age: 15m}
  - {name: others, url: "` + receiver.URL + `", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], allow_private: true, kinds: [ended]}
`
	if err := os.WriteFile(file, []byte(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	environment(t, "GUESTFLOW_NATS_URL="+url, "GUESTFLOW_WEBHOOKS_FILE="+file)
	put := func(e events.Event) {
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	before := started("Phone")
	before.Data.Session.ID = "s0"
	put(before.Sealed())

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	tried := make(chan webhook.Observation, 9)
	d := webhook.Dispatcher{JetStream: js, Path: file, RefusedTries: 1, Observe: func(o webhook.Observation) { tried <- o }}
	go func() { ended <- d.Run(ctx) }()
	for _, name := range []string{"takes", "refuses", "hurries", "others"} {
		eventually(t, func() string {
			if _, err := js.Consumer(t.Context(), events.DefaultStream, webhook.Durable(name)); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	at := time.Now().UTC().Add(-time.Hour)
	e := started("Phone")
	e.Time, e.Data.Session.StartedAt, e.Data.Observed.At = at, at, at.Add(3*time.Second)
	put(e.Sealed())
	for range 3 {
		<-tried
	}
	stop() // which settles what was tried
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	code, out, errs := invoke("explain", "s")
	for _, want := range []string{
		"session s of account default at hotel, 1 events", "1  started  Phone",
		"by the platform's own record", "as sequence 2, 1h0m", "webhook takes: delivered\n", "webhook refuses: dead since ", "after 1 tries, as dead letter 1: ",
		"webhook hurries: skipped ", "since it was 1h0m", "webhook others: not asked for\n",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, %s, %s; want %q", code, out, errs, want)
		}
	}
	code, out, errs = invoke("explain", "s", "--json", "--since", "1h")
	var told struct {
		SessionID string `json:"session_id"`
		Events    []struct {
			Sequence uint64
			Delay    struct {
				AtLeast float64 `json:"at_least_seconds"`
			}
			Event    struct{ ID string }
			Webhooks []webhook.Trace
		}
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil || code != 0 || told.SessionID != "s" || len(told.Events) != 1 ||
		told.Events[0].Sequence != 2 || told.Events[0].Delay.AtLeast < 3600 || told.Events[0].Event.ID != e.Sealed().ID || len(told.Events[0].Webhooks) != 4 {
		t.Errorf("exit code %d, %v, %s, %s", code, err, out, errs)
	}
	conforms(t, "explain", out)
	if _, out, _ = invoke("explain", "s0"); !strings.Contains(out, "webhook takes: before the endpoint began") {
		t.Errorf("of an event from before: %s", out)
	}
	if code, _, errs = invoke("explain", "nobody"); code != exitFailure || !strings.Contains(errs, "holds no event") || !strings.Contains(errs, "case-sensitive") {
		t.Errorf("of a session that never was: exit code %d, %s", code, errs)
	}
}
