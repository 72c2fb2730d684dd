package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// open returns JetStream on the running broker.
func (b *broker) open() jetstream.JetStream {
	b.t.Helper()
	return jetStreamAt(b.t, b.running.URL())
}

// TestDeletedStreamIsMadeAgain while guestflow runs: nobody restarts anything, and
// the stream holds all that the outbox keeps, which in so short a test is everything.
func TestDeletedStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200}), newBroker(t)
	b.start()
	received := make(chan string, 10_000)
	receiver := serveWebhook(t, received)
	dir := t.TempDir()
	endpoints := filepath.Join(dir, "endpoints.yaml")
	if err := os.WriteFile(endpoints, fmt.Appendf(nil, "endpoints:\n- name: crm\n  url: %s\n  secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]\n  allow_private: true\n  kinds: [discovered, started, ended]\n", receiver), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL=nats://"+b.addr, "GUESTFLOW_WEBHOOKS_FILE="+endpoints))
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(60)
	js := b.open()
	if err := js.DeleteStream(t.Context(), events.DefaultStream); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if _, err := js.Stream(t.Context(), events.DefaultStream); err != nil {
			return err.Error()
		}
		return ""
	})
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(60)
	var newest events.Event
	eventually(t, func() string {
		all := b.events()
		if len(all) < 150 {
			return fmt.Sprintf("the stream holds %d events", len(all))
		}
		for _, e := range all {
			if e.Kind == events.Discovered || e.Kind == events.Started || e.Kind == events.Ended {
				newest = e
			}
		}
		return ""
	})
	eventually(t, func() string {
		for {
			select {
			case id := <-received:
				if id == newest.ID {
					return ""
				}
			default:
				return "the webhook did not get the newest arrival or end of the stream made again"
			}
		}
	})
	until := p.sim.Now().Add(-3 * time.Second)
	r.endPublished()
	all := b.events()
	verify(t, p, simulator.Checker{Until: until}, all)
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	slices.Sort(ids)
	if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids) {
		t.Errorf("%d of %d events are in the stream twice", len(ids)-len(once), len(ids))
	}
}

// TestDeclaredStreamIsNotMadeAgain: where streams are declared elsewhere, readiness
// says what is missing until it was declared.
func TestDeclaredStreamIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200}), newBroker(t)
	b.start()
	js := b.open()
	declared := jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{"guest.sessions.*.*.*"}}
	if _, err := js.CreateStream(t.Context(), declared); err != nil {
		t.Fatal(err)
	}
	r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL=nats://"+b.addr, "GUESTFLOW_STREAM_MANAGE=false"))
	r.eventuallyReady(http.StatusOK, "ready")
	if err := js.DeleteStream(t.Context(), events.DefaultStream); err != nil {
		t.Fatal(err)
	}
	r.eventuallyReady(http.StatusServiceUnavailable, "declare it again")
	failures := r.only().Publisher.State().Retries
	eventually(t, func() string { // a second try makes none either
		if n := r.only().Publisher.State().Retries; n < failures+1 {
			return fmt.Sprintf("%d tries", n-failures)
		}
		return ""
	})
	if _, err := js.Stream(t.Context(), events.DefaultStream); err == nil {
		t.Error("it was made")
	}
	if _, err := js.CreateStream(t.Context(), declared); err != nil {
		t.Fatal(err)
	}
	r.eventuallyReady(http.StatusOK, "ready")
	r.end()
}

// TestFullStreamIsSaidUntilThereIsRoom: readiness names reason and remedy, and
// nothing is lost.
func TestFullStreamIsSaidUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200}), newBroker(t)
	b.start()
	js := b.open()
	r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL=nats://"+b.addr))
	r.eventuallyReady(http.StatusOK, "ready")
	var stream jetstream.Stream
	eventually(t, func() (missing string) {
		var err error
		if stream, err = js.Stream(t.Context(), events.DefaultStream); err != nil {
			return err.Error()
		}
		if stream.CachedInfo().State.Bytes == 0 { // which would be no limit
			return "nothing was published"
		}
		return ""
	})
	config := stream.CachedInfo().Config
	config.Discard, config.MaxBytes = jetstream.DiscardNew, int64(stream.CachedInfo().State.Bytes)
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	r.eventuallyReady(http.StatusServiceUnavailable, "nats stream edit GUEST_SESSIONS --max-bytes")
	failures := r.only().Publisher.State().Retries
	eventually(t, func() string {
		if status, body := r.get("/readyz"); status == http.StatusOK {
			t.Fatalf("/readyz answers %d %q though nothing goes", status, body)
		}
		// What nobody is told of was not looked at, for whom the stream is all.
		oldest := r.only().Store.Outbox().Oldest
		before, _ := r.only().Client.Clock().Bounds(oldest)
		// What is known of the platform's clock changes a little from answer to answer.
		if looked := r.lookedAt(events.DefaultAccount); oldest.IsZero() || looked.After(before.Add(100*time.Millisecond)) {
			t.Fatalf("looked at until %v, though what was seen at %v is unsent", looked, before)
		}
		unsent := time.Since(oldest)
		for _, l := range (&looks{fleet: r.fleet}).watched() {
			if age, _ := (&looks{fleet: r.fleet}).age(l.Place); age < unsent-100*time.Millisecond {
				t.Fatalf("%s was looked at %v ago, though what was seen %v ago is unsent", l.Location, age, unsent)
			}
		}
		if n := r.only().Publisher.State().Retries; n < failures+1 {
			return fmt.Sprintf("%d tries", n-failures)
		}
		return ""
	})
	config.MaxBytes = -1
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(60)
	until := p.sim.Now().Add(-3 * time.Second)
	r.endPublished()
	verify(t, p, simulator.Checker{Until: until}, b.events())
}

// serveWebhook returns the URL of a receiver that takes everything and tells the ids.
func serveWebhook(t *testing.T, received chan<- string) string {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case received <- r.Header.Get("webhook-id"):
		case <-t.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}
