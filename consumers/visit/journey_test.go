package visit

import (
	"context"
	"fmt"
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
	natsserver "github.com/guestflow/guestflow/publisher/embedded"
	"github.com/guestflow/guestflow/store"
)

// journey is the whole way from the simulated platform to the visits: real
// client, poller, store, publisher, NATS server and service. Polling is in
// virtual time, the rest in real time.
type journey struct {
	t     *testing.T
	dir   string
	truth *simulator.Recorder
	sim   *simulator.Simulator

	mu  sync.Mutex
	now time.Time

	server *natsserver.Server
	listen string
	js     jetstream.JetStream

	store      *store.Store
	logs       []*budget.Log
	poller     *poller.Poller
	endPub     func()
	service    *Service
	endService func()
}

// permitted is the number of requests a minute and endpoint.
const permitted = 30

func newJourney(t *testing.T) *journey {
	t.Helper()
	j := &journey{t: t, dir: t.TempDir(), truth: &simulator.Recorder{}, now: epoch}
	cfg := simulator.Config{
		Seed: 7, Speed: 4, AccountingInterval: 5 * time.Minute, Token: "secret", RateLimit: permitted,
		HasLocations: true, HasCount: true, Truth: j.truth.Record,
		ChangeProbability: 0.2, RoamProbability: 0.1, ResumeProbability: 0.1, DevicesPerGuest: 1.5,
		Sleep: func(_ context.Context, d time.Duration) error { j.pass(d); return nil },
	}
	for i := range 12 {
		cfg.Locations = append(cfg.Locations, simulator.Location{ID: fmt.Sprintf("venue.%02d", i), Name: fmt.Sprintf("Venue %d", i), MeanOnline: 12})
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	j.sim = simulator.New(cfg, j.Now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j.listen = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	j.startNATS()
	conn, err := nats.Connect("nats://"+j.listen, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	if j.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.EnsureStream(t.Context(), j.js, publisher.StreamSettings{}); err != nil {
		t.Fatal(err)
	}
	j.startPolling()
	j.startService()
	t.Cleanup(func() {
		j.endService()
		j.stopPolling()
		conn.Close()
		j.server.Close()
	})
	return j
}

func (j *journey) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.now
}

func (j *journey) pass(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now = j.now.Add(max(0, d))
}

// Sleep is the poller's: it passes at once.
func (j *journey) Sleep(ctx context.Context, d time.Duration) error {
	j.pass(d)
	return ctx.Err()
}

// RoundTrip takes a request to the platform; the way takes 50 ms each.
func (j *journey) RoundTrip(r *http.Request) (*http.Response, error) {
	j.pass(50 * time.Millisecond)
	defer j.pass(50 * time.Millisecond)
	w := httptest.NewRecorder()
	j.sim.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

func (j *journey) Requested(plan.Kind, time.Duration, error) {}
func (j *journey) Looked(poller.Report)                      {}

func (j *journey) startNATS() {
	j.t.Helper()
	var err error
	j.server, err = natsserver.Start(context.Background(), natsserver.Settings{
		Dir: filepath.Join(j.dir, "nats"), Listen: j.listen, SyncInterval: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		j.t.Fatal(err)
	}
}

func (j *journey) stopNATS() {
	j.t.Helper()
	if err := j.server.Close(); err != nil {
		j.t.Fatal(err)
	}
}

// startPolling begins as a process does, on what an earlier one has left.
func (j *journey) startPolling() {
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
	p := publisher.New(j.js, st)
	p.Log, p.RetryFirst, p.RetryMax, p.AckWait = log, 10*time.Millisecond, 100*time.Millisecond, time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	j.endPub = func() {
		cancel()
		if err := <-done; err != nil {
			j.t.Errorf("publisher: %v", err)
		}
	}
}

func (j *journey) stopPolling() {
	j.t.Helper()
	j.endPub()
	for _, l := range j.logs {
		if err := l.Close(); err != nil {
			j.t.Error(err)
		}
	}
	if err := j.store.Close(); err != nil {
		j.t.Error(err)
	}
}

func (j *journey) startService() {
	j.t.Helper()
	j.service = New(Settings{
		Rules: truthRules(), TickEvery: 5 * time.Millisecond, CheckpointEvery: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		LookedAt: func(string) time.Time { return j.Now() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.service.Run(ctx, j.js) }()
	j.endService = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				j.t.Errorf("service: %v", err)
			}
		case <-time.After(patience):
			j.t.Error("the service does not end")
		}
	})
}

// poll passes so much virtual time.
func (j *journey) poll(d time.Duration) {
	j.t.Helper()
	for end := j.Now().Add(d); j.Now().Before(end); {
		if err := j.poller.Step(j.t.Context()); err != nil {
			j.t.Fatal(err)
		}
	}
}

// settle waits until all that was detected is published and applied.
func (j *journey) settle() {
	j.t.Helper()
	until(j.t, "the outbox is empty", func() bool { return j.store.Outbox().Depth == 0 })
	stream, err := j.js.Stream(j.t.Context(), events.DefaultStream)
	if err != nil {
		j.t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	until(j.t, "every event is applied", func() bool { st := j.service.Status(); return st.Live && st.Sequence >= last })
}
