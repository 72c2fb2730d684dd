// Package journey runs the whole way from the simulated platform to the stream in
// tests of consumers: real client, poller, store, publisher and NATS server. Polling is
// in virtual time, the rest in real time.
package journey

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/publisher/embedded"
	"github.com/guestflow/guestflow/store"
)

// Journey is that way, with everything running. It ends with the test.
type Journey struct {
	Truth *simulator.Recorder
	Sim   *simulator.Simulator
	JS    jetstream.JetStream

	t      testing.TB
	dir    string
	server *embedded.Server
	listen string

	mu  sync.Mutex
	now time.Time

	store      *store.Store
	logs       []*budget.Log
	client     *platform.Client
	poller     *poller.Poller
	endPublish func()
}

// permitted is the number of requests a minute and endpoint.
const permitted = 30

// New starts at a time of the platform's clock, on venues of so many guests each, in
// which time goes so much faster than on it. Changes are made to the platform before.
func New(t testing.TB, seed uint64, speed, guests float64, from time.Time, changes ...func(*simulator.Config)) *Journey {
	t.Helper()
	j := &Journey{t: t, dir: t.TempDir(), Truth: &simulator.Recorder{}, now: from}
	cfg := simulator.Config{
		Seed: seed, Speed: speed, AccountingInterval: 5 * time.Minute, Token: "secret", RateLimit: permitted,
		HasLocations: true, HasCount: true, Truth: j.Truth.Record,
		ChangeProbability: 0.2, RoamProbability: 0.1, ResumeProbability: 0.1, DevicesPerGuest: 1.5,
		Sleep: func(_ context.Context, d time.Duration) error { j.Pass(d); return nil },
	}
	cfg.Locations = simulator.Venues("venue.%02d", 12, guests)
	for _, change := range changes {
		change(&cfg)
	}
	j.Sim = simulator.New(cfg, j.Now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j.listen = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	j.StartNATS()
	conn, err := nats.Connect("nats://"+j.listen, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	if j.JS, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.EnsureStream(t.Context(), j.JS, publisher.StreamSettings{}); err != nil {
		t.Fatal(err)
	}
	j.StartPolling()
	t.Cleanup(func() {
		j.StopPolling()
		conn.Close()
		j.server.Close()
	})
	return j
}

// Now is the platform's time.
func (j *Journey) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.now
}

// Pass lets so much virtual time pass in which nobody looks.
func (j *Journey) Pass(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now = j.now.Add(max(0, d))
}

// Sleep is the poller's: it passes at once.
func (j *Journey) Sleep(ctx context.Context, d time.Duration) error {
	j.Pass(d)
	return ctx.Err()
}

// RoundTrip takes a request to the platform; the way takes 50 ms each.
func (j *Journey) RoundTrip(r *http.Request) (*http.Response, error) {
	j.Pass(50 * time.Millisecond)
	defer j.Pass(50 * time.Millisecond)
	w := httptest.NewRecorder()
	j.Sim.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

// Requested observes nothing.
func (j *Journey) Requested(plan.Kind, time.Duration, error) {}

// Looked observes nothing.
func (j *Journey) Looked(poller.Report) {}

// StartNATS starts the server that StopNATS has stopped, on the same files and address.
func (j *Journey) StartNATS() {
	j.t.Helper()
	var err error
	j.server, err = embedded.Start(context.Background(), embedded.Settings{
		Dir: filepath.Join(j.dir, "nats"), Listen: j.listen, SyncInterval: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		j.t.Fatal(err)
	}
}

// StopNATS stops it.
func (j *Journey) StopNATS() {
	j.t.Helper()
	if err := j.server.Close(); err != nil {
		j.t.Fatal(err)
	}
}

// StartPolling begins as a process does, on what an earlier one has left.
func (j *Journey) StartPolling() {
	j.t.Helper()
	st, err := store.Open(filepath.Join(j.dir, "state.db"), store.Options{NoSync: true, Now: j.Now})
	if err != nil {
		j.t.Fatal(err)
	}
	j.store, j.logs = st, nil
	client, err := platform.New(platform.Config{BaseURL: "http://platform.test", Token: "secret", Timeout: time.Hour, Transport: j, Now: j.Now})
	if err != nil {
		j.t.Fatal(err)
	}
	j.mu.Lock()
	j.client = client
	j.mu.Unlock()
	budgets := make(map[platform.Endpoint]*budget.Budget)
	for _, e := range platform.Endpoints() {
		log, err := budget.OpenLog(filepath.Join(j.dir, string(e)+".requests"), permitted)
		if err != nil {
			j.t.Fatal(err)
		}
		j.logs = append(j.logs, log)
		budgets[e] = budget.New(permitted, log, j.Now())
	}
	log := slog.New(slog.DiscardHandler)
	j.poller = poller.New(poller.Settings{
		Account: events.DefaultAccount, Platform: client, Store: st, Clock: j, Time: client.Clock(), Strategy: &plan.Adaptive{},
		Rules: diff.Rules{TrafficMinBytes: 1}, Budgets: budgets, Observer: j, Logger: log,
	})
	p := publisher.New(j.JS, st)
	p.Log, p.RetryFirst, p.RetryMax, p.AckWait = log, 10*time.Millisecond, 100*time.Millisecond, time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	j.endPublish = func() {
		cancel()
		if err := <-done; err != nil {
			j.t.Errorf("publisher: %v", err)
		}
	}
}

// StopPolling ends it as a process ends.
func (j *Journey) StopPolling() {
	j.t.Helper()
	j.endPublish()
	for _, l := range j.logs {
		if err := l.Close(); err != nil {
			j.t.Error(err)
		}
	}
	if err := j.store.Close(); err != nil {
		j.t.Error(err)
	}
}

// Poll passes so much virtual time.
func (j *Journey) Poll(d time.Duration) {
	j.t.Helper()
	for end := j.Now().Add(d); j.Now().Before(end); {
		if err := j.poller.Step(j.t.Context()); err != nil {
			j.t.Fatal(err)
		}
	}
}

// Count has the platform count sessions, beside all limits.
func (j *Journey) Count(ctx context.Context, q platform.Query) (int, error) {
	j.mu.Lock()
	client := j.client
	j.mu.Unlock()
	n, _, err := client.Count(ctx, q)
	return n, err
}

// Waiting is how many events wait to be published.
func (j *Journey) Waiting() uint64 { return j.store.Outbox().Depth }

// Last is the last sequence of the stream.
func (j *Journey) Last() uint64 {
	j.t.Helper()
	stream, err := j.JS.Stream(j.t.Context(), events.DefaultStream)
	if err != nil {
		j.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}
