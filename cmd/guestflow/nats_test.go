package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/publisher/embedded"
)

// broker is a NATS server that tests stop and start.
type broker struct {
	t       *testing.T
	dir     string
	addr    string
	running *embedded.Server
}

func (b *broker) start() {
	b.t.Helper()
	var err error
	b.running, err = embedded.Start(b.t.Context(), embedded.Settings{Dir: b.dir, Listen: b.addr, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *broker) stop() {
	b.t.Helper()
	if err := b.running.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.running = nil
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir(), addr: free(t)}
	t.Cleanup(func() {
		if b.running != nil {
			b.running.Close()
		}
	})
	return b
}

// events reads the stream.
func (b *broker) events() []events.Event {
	b.t.Helper()
	conn := natstest.Connect(b.t, b.running.URL())
	defer conn.Close()
	return kept(b.t, conn)
}

// eventuallyCommitted waits for so many changes more.
func (r *running) eventuallyCommitted(changes float64) {
	r.t.Helper()
	committed := func() (n float64) {
		_, body := r.get("/metrics")
		for _, k := range events.Kinds() {
			if v := value(body, fmt.Sprintf(`guestflow_events_total{account="default",kind=%q}`, k)); v > 0 {
				n += v
			}
		}
		return n
	}
	want := committed() + changes
	eventually(r.t, func() string {
		if n := committed(); n < want {
			return fmt.Sprintf("%v changes were committed, want %v", n, want)
		}
		return ""
	})
}

// TestNATSMayComeLateAndGo: without it the process lives, polls and keeps what it
// finds; nothing of that is lost.
func TestNATSMayComeLateAndGo(t *testing.T) {
	t.Parallel()
	p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200}), newBroker(t)
	r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL=nats://"+b.addr))

	r.eventuallyReady(http.StatusServiceUnavailable, "NATS: not connected")
	if status, _ := r.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d while NATS is away", status)
	}
	r.eventuallyCommitted(200)
	b.start()
	r.eventuallyReady(http.StatusOK, "ready")
	b.stop()
	r.eventuallyReady(http.StatusServiceUnavailable, "NATS: not connected")
	r.eventuallyCommitted(60)
	b.start()
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(60)

	until := p.sim.Now().Add(-3 * time.Second)
	r.endPublished()
	verify(t, p, simulator.Checker{Until: until}, b.events())
}

// TestFullOutboxPausesPolling: it is told, and once NATS is back all goes on, with
// what the last look before the pause saw; at the very first start, too.
func TestFullOutboxPausesPolling(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(*broker, *running){
		"NATS goes away": func(b *broker, r *running) {
			b.start()
			r.eventuallyReady(http.StatusOK, "ready")
			b.stop()
		},
		"NATS was never there": func(*broker, *running) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200, AccountingInterval: time.Minute}), newBroker(t)
			cfg := settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL=nats://"+b.addr)
			cfg.OutboxMaxBytes = 220 << 10
			r := launch(t, cfg)
			fill(b, r)
			r.eventuallyReady(http.StatusServiceUnavailable, "polling: paused: ")
			r.eventuallySees(`guestflow_poller_state{account="default",state="paused"}`, 1)
			b.start()
			r.eventuallyReady(http.StatusOK, "ready")
			r.eventuallyCommitted(400)

			until := p.sim.Now().Add(-3 * time.Second)
			r.endPublished()
			verify(t, p, simulator.Checker{Until: until}, b.events())
		})
	}
}

// TestStreamThatDiffersEndsTheProcess: it is not changed, and the error names what
// differs.
func TestStreamThatDiffersEndsTheProcess(t *testing.T) {
	p := simulate(t, simulator.Config{Token: "right"})
	server, err := embedded.Start(t.Context(), embedded.Settings{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	js := jetStreamAt(t, server.URL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{"something.else"}}); err != nil {
		t.Fatal(err)
	}
	a, err := newApp(t.Context(), settings(t, p, "GUESTFLOW_NATS_URL="+server.URL()), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	err = a.Run(t.Context())
	var differs *publisher.StreamError
	if !errors.As(err, &differs) || !strings.Contains(err.Error(), "guest.sessions") {
		t.Errorf("it ended with %v; want what differs", err)
	}
	if info, err := js.Stream(t.Context(), events.DefaultStream); err != nil || info.CachedInfo().Config.Subjects[0] != "something.else" {
		t.Errorf("the stream was changed: %v, %v", info, err)
	}
}
