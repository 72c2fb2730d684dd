package poller_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/guest"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// lab is the real poller, client and store against the simulated platform, on
// virtual time and without a network.
type lab struct {
	t       *testing.T
	clock   *virtual.Clock
	truth   *simulator.Recorder
	sim     *simulator.Simulator
	path    string
	store   *store.Store
	client  *platform.Client
	poller  *poller.Poller
	log     *bytes.Buffer
	planner func() plan.Strategy
	limit   int
	began   time.Time
	// hold is how long arrivals wait for their guest; 0 looks nobody up.
	hold   time.Duration
	likely bool
	shared bool // one budget for all
	guests *guest.Lookup

	figuresWait time.Duration
	intercept   func(*http.Request) *http.Response // nil answers let a request through

	looked func(poller.Report)

	requests  map[string]int // outcomes
	looks     map[plan.Kind]int
	asked     map[platform.Endpoint]int
	outcomes  map[guest.Outcome]int
	skipped   int
	locations []string
}

const clientTimeout = 15 * time.Second

func newLab(t *testing.T, cfg simulator.Config, planner func() plan.Strategy) *lab {
	t.Helper()
	l := &lab{
		t: t, clock: virtual.New(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)), truth: &simulator.Recorder{},
		path: filepath.Join(t.TempDir(), "state.db"), log: &bytes.Buffer{}, planner: planner, limit: 60,
		requests: make(map[string]int), looks: make(map[plan.Kind]int),
		asked: make(map[platform.Endpoint]int), outcomes: make(map[guest.Outcome]int),
	}
	cfg.Truth, cfg.Token = l.truth.Record, "secret"
	cfg.Sleep = func(ctx context.Context, d time.Duration) error {
		if d > clientTimeout {
			l.pass(clientTimeout)
			*ctx.Value(lateKey{}).(*bool) = true
			return context.DeadlineExceeded
		}
		l.pass(d)
		return nil
	}
	l.began = l.clock.Now()
	l.sim = simulator.New(cfg, l.clock.Now)
	client, err := platform.New(platform.Config{
		BaseURL: "http://platform.test/api", Token: "secret", Timeout: time.Hour, Transport: l, Now: l.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.client = client
	l.open()
	t.Cleanup(func() { l.store.Close() })
	return l
}

// open opens the store and makes a poller on it, as a new process does.
func (l *lab) open() {
	l.t.Helper()
	st, err := store.Open(l.path, store.Options{NoSync: true, Now: l.clock.Now, HoldArrivals: l.hold})
	if err != nil {
		l.t.Fatal(err)
	}
	l.store = st
	budgets := make(map[platform.Endpoint]*budget.Budget)
	all := budget.New(l.limit, nil, l.clock.Now())
	for _, e := range platform.Endpoints() {
		if budgets[e] = all; !l.shared {
			budgets[e] = budget.New(l.limit, nil, l.clock.Now())
		}
	}
	l.poller = poller.New(poller.Settings{
		Account: "lab", Platform: l.client, Store: st, Clock: polling{l}, Executor: polling{l}, Time: l.client.Clock(), Strategy: l.planner(),
		Rules: diff.Rules{TrafficMinBytes: 100_000}, Budgets: budgets, Locations: l.locations, Observer: l,
		Logger: slog.New(slog.NewTextHandler(l.log, nil)),
	})
	if l.guests = nil; l.hold > 0 {
		sightings := guest.NewSightings()
		sightings.Address = l.client.Address
		l.poller.Sightings = sightings
		l.guests = &guest.Lookup{
			Platform: l.client, Store: st, Clock: l.clock, Time: l.client.Clock(), Budget: budgets[platform.Guests],
			Shared: l.shared, Likely: l.likely, Address: l.client.Address, Sightings: sightings, Observer: l, Logger: l.poller.Logger,
		}
	}
}

// reopen applies settings that were changed after newLab.
func (l *lab) reopen() {
	l.t.Helper()
	if err := l.store.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

// restart ends the poller and begins anew on the same store, a minute later so
// that no request log is needed.
func (l *lab) restart() {
	l.t.Helper()
	if err := l.store.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.pass(61 * time.Second)
	l.open()
}

func (l *lab) run(d time.Duration) {
	l.t.Helper()
	l.poller.FiguresWait = l.figuresWait
	for end := l.clock.Now().Add(d); l.clock.Now().Before(end); {
		if err := l.poller.Step(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
		l.identify()
	}
}

// identify runs the guest look-ups that are due, and returns how long until the
// next are; negative where none are known of.
func (l *lab) identify() time.Duration {
	for l.guests != nil {
		wait, err := l.guests.Step(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if wait != 0 {
			return wait
		}
	}
	return -1
}

// pass lets time go by.
func (l *lab) pass(d time.Duration) { _ = l.clock.Sleep(context.Background(), d) } // its context does not end

// polling is the poller's clock and executor: while it waits, guests are looked up.
type polling struct{ *lab }

func (p polling) Now() time.Time { return p.clock.Now() }

func (p polling) Sleep(ctx context.Context, d time.Duration) error { return p.clock.Sleep(ctx, d) }

func (p polling) Go(request func()) { p.clock.Go(request) }

func (p polling) Wait(ctx context.Context, d time.Duration) error {
	end := p.clock.Now().Add(d)
	for {
		left := end.Sub(p.clock.Now())
		wait := p.identify()
		if wait < 0 || wait > left {
			return p.clock.Wait(ctx, left)
		}
		due := p.clock.Now().Add(wait)
		if err := p.clock.Wait(ctx, wait); err != nil || p.clock.Now().Before(due) {
			return err
		}
	}
}

// lateKey keys the note, in a request's context, that its answer comes too late.
type lateKey struct{}

// RoundTrip hands a request to the simulator; the way takes 50 ms each.
func (l *lab) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	l.pass(50 * time.Millisecond)
	defer l.pass(50 * time.Millisecond)
	late := false
	if l.intercept != nil {
		if answer := l.intercept(r); answer != nil {
			return answer, nil
		}
	}
	w := httptest.NewRecorder()
	aborted := false
	func() {
		defer func() {
			if p := recover(); p != nil {
				if failure, ok := p.(error); !ok || !errors.Is(failure, http.ErrAbortHandler) {
					panic(p)
				}
				aborted = true
			}
		}()
		r = r.Clone(context.WithValue(r.Context(), lateKey{}, &late))
		r.URL.Path = r.URL.Path[len("/api"):]
		l.sim.ServeHTTP(w, r)
	}()
	if late {
		return nil, context.DeadlineExceeded
	}
	resp = w.Result()
	resp.Request = r
	if aborted {
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, broken{}))
	}
	return resp, nil
}

// broken is a connection that is cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (l *lab) Identified(o guest.Outcome) { l.outcomes[o]++ }

func (l *lab) LookedUp(took time.Duration, err error) { l.Requested(plan.Identify, took, err) }

func (l *lab) Requested(kind plan.Kind, _ time.Duration, err error) {
	l.looks[kind]++
	l.asked[poller.EndpointOf(kind)]++
	outcome := "ok"
	var fault *platform.Error
	if errors.As(err, &fault) {
		outcome = fault.Kind.String()
	} else if err != nil {
		outcome = err.Error()
	}
	l.requests[outcome]++
}

func (l *lab) Looked(r poller.Report) {
	l.skipped += r.Skipped
	if l.looked != nil {
		l.looked(r)
	}
}

// events reads the outbox.
func (l *lab) events() []events.Event {
	l.t.Helper()
	var all []events.Event
	after := uint64(0)
	for {
		entries, err := l.store.Take(after, 1000)
		if err != nil {
			l.t.Fatal(err)
		}
		if len(entries) == 0 {
			return all
		}
		for _, entry := range entries {
			e, err := events.Decode(entry.Body)
			if err != nil {
				l.t.Fatal(err)
			}
			all = append(all, e)
			after = entry.Seq
		}
	}
}

// check compares the events with the ground truth, but for some violations.
func (l *lab) check(c simulator.Checker, but ...simulator.Violation) {
	l.t.Helper()
	all := l.events()
	kinds := make(map[events.Kind]int)
	for _, e := range all {
		kinds[e.Kind]++
	}
	l.t.Logf("%d events %v; requests %v; skipped %d; looks %v", len(all), kinds, l.requests, l.skipped, l.looks)
	if kinds[events.Started] == 0 || kinds[events.Ended] == 0 {
		l.t.Errorf("too little happened: %v", kinds)
	}
	report := c.Check(l.truth.All(), all)
	for _, v := range but {
		delete(report.Counts, v)
	}
	if len(report.Counts) > 0 {
		l.t.Error(report)
	}
}

// town has 10 locations of 15 sessions; life is thrice as fast as real.
func town() simulator.Config {
	cfg := simulator.Config{Seed: 11, Speed: 3, HasLocations: true, HasCount: true, ChangeProbability: 0.1}
	for i := range 10 {
		cfg.Locations = append(cfg.Locations, simulator.Location{ID: string(rune('a' + i)), Name: "Venue " + string(rune('A'+i)), MeanOnline: 15})
	}
	return cfg
}

func adaptive() plan.Strategy   { return &plan.Adaptive{} }
func roundRobin() plan.Strategy { return &plan.RoundRobin{} }
