// Package account runs one account of a platform: it polls, keeps the state, looks
// guests up and publishes. Accounts share the connection to NATS and nothing else, so
// that a fault of one is no business of another.
//
// It wires poller, store and publisher together, as cmd/guestflow does for what a
// process has once; data comes from the platform and goes to the stream.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/guest"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// DrainTime is how long an account that ends goes on publishing.
const DrainTime = 10 * time.Second

// Observer is told what the account's parts do, on their goroutines.
type Observer interface {
	poller.Observer
	guest.Observer
	publisher.Observer
}

// Link is the connection to NATS that accounts share.
type Link interface {
	JetStream() jetstream.JetStream
	// AwaitStream returns once the stream is there, with ctx's error when that ends
	// first.
	AwaitStream(ctx context.Context) error
	// Reached returns why nothing can be published at the moment, nil where nothing
	// is known to be in the way.
	Reached() error
}

// Settings are those of one account. All are needed but for those that say otherwise.
type Settings struct {
	Name string
	// Dir is the data directory; accounts may share one.
	Dir      string
	Platform platform.Config
	// RateLimit is in requests a minute and endpoint; SharedLimit is true where the
	// endpoints share it.
	RateLimit   int
	SharedLimit bool
	Strategy    plan.Strategy
	Rules       diff.Rules
	// Locations are those to watch; none discovers them.
	Locations []string
	// FiguresWait is how long a proven end waits for final figures; 0 is not at all.
	FiguresWait time.Duration
	// ProvenEnds leaves out ends that proof cannot keep up with.
	ProvenEnds bool
	// AddressChecks asks by address who is online still.
	AddressChecks bool
	// PastTurn is poller.Settings's.
	PastTurn int
	// Guests looks up who arrives, for at most GuestWait; GuestLikely publishes those
	// that are not sure, too.
	Guests      bool
	GuestWait   time.Duration
	GuestLikely bool
	// OutboxMaxBytes bounds unsent events; 0 is the store's default.
	OutboxMaxBytes int64

	// Forgotten is who is to be forgotten; nil is nobody. What the account's file knows of
	// it is added when the account is opened.
	Forgotten *forgotten.List

	// May reports whether this process may publish the account and ask the platform still;
	// nil is always.
	May func() bool
	// Rebuild has Open put the state together from the stream, in place of what the store
	// knows; it then waits for the stream.
	Rebuild bool
	// Follows says that another process may have run the account before: Open rebuilds the
	// state where that is so, before anything is asked of the platform, and waits until
	// the stream tells.
	Follows bool

	Stream   string
	Subjects events.Subjects
	// MakeStream makes the stream where it goes missing; nil waits for it.
	MakeStream func(context.Context) error
	// Traceparent is publisher.Publisher's; nil is no tracing.
	Traceparent func(event string) string
	Observer    Observer
	Log         *slog.Logger
}

// Account is an open account. Open makes it, Run runs it once, Close closes it. The
// exported fields are for asking how it fares.
type Account struct {
	Client    *platform.Client
	Store     *store.Store
	Poller    *poller.Poller
	Publisher *publisher.Publisher

	settings Settings
	link     Link
	patient  *patientStore // Store, as those use it that cannot go on without writing
	logs     []*budget.Log
	guests   *guest.Lookup // nil where they are not looked up
	spared   atomic.Int64  // requests of SpareCount
}

// SettingsError is what is wrong with the settings themselves.
type SettingsError struct{ Err error }

func (e *SettingsError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *SettingsError) Unwrap() error { return e.Err }

// StatePath is the file of an account's state in a data directory.
func StatePath(dir, name string) string {
	return filepath.Join(dir, events.EncodeToken(name).String()+".db")
}

// Open opens the account's files. With an error, a *SettingsError where the settings
// are to blame, nothing is left open. What waits for room on the disk waits until ctx
// ends, or that of Run once it runs.
func Open(ctx context.Context, s Settings, link Link) (_ *Account, err error) {
	a := &Account{settings: s, link: link}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	s.Platform.Logger, s.Platform.May = s.Log.With("account", s.Name), s.May
	s.Platform.Forget = s.forget
	if a.Client, err = platform.New(s.Platform); err != nil {
		return nil, &SettingsError{err}
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w; set GUESTFLOW_DATA_DIR to one that this user may write", s.Dir, err)
	}
	options := store.Options{OutboxMaxBytes: s.OutboxMaxBytes}
	if s.Guests {
		options.HoldArrivals = s.GuestWait
	}
	if a.Store, err = store.Open(StatePath(s.Dir, s.Name), options); err != nil {
		return nil, err
	}
	if s.Follows && !s.Rebuild {
		if s.Rebuild, err = a.behind(ctx); err != nil {
			return nil, err
		}
	}
	if s.Rebuild {
		if err := a.rebuild(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.remember(); err != nil {
		return nil, err
	}
	a.patient = &patientStore{forgotten: s.Forgotten, may: s.May, Store: a.Store, log: s.Log.With("account", s.Name), until: ctx, full: make(map[string]error)}
	budgets, err := a.openBudgets()
	if err != nil {
		return nil, err
	}
	a.buildPoller(budgets)
	p := publisher.New(link.JetStream(), a.patient)
	p.Account, p.Stream, p.Subjects, p.Make, p.Observer, p.Log = s.Name, s.Stream, s.Subjects, s.MakeStream, s.Observer, s.Log
	p.NeedsState, p.Traceparent = true, s.Traceparent
	a.Publisher = p
	return a, nil
}

// openBudgets makes a budget for each endpoint, or one for all.
func (a *Account) openBudgets() (map[platform.Endpoint]*budget.Budget, error) {
	s, now := &a.settings, time.Now()
	budgets := make(map[platform.Endpoint]*budget.Budget)
	var shared *budget.Budget
	for _, endpoint := range platform.Endpoints() {
		if shared != nil {
			budgets[endpoint] = shared
			continue
		}
		name := string(endpoint)
		if s.SharedLimit {
			name = sharedLimit
		}
		log, err := budget.OpenLog(requestsPath(s.Dir, s.Name, name), s.RateLimit)
		if err != nil {
			return nil, err
		}
		a.logs = append(a.logs, log)
		budgets[endpoint] = budget.New(s.RateLimit, log, now)
		if s.SharedLimit {
			shared = budgets[endpoint]
		}
	}
	return budgets, nil
}

func (a *Account) buildPoller(budgets map[platform.Endpoint]*budget.Budget) {
	s := &a.settings
	a.Poller = poller.New(poller.Settings{
		Account: s.Name, Platform: a.Client, Store: pollingStore{a.patient}, Clock: poller.SystemClock{}, Executor: poller.NewExecutor(), Time: a.Client.Clock(),
		Strategy: s.Strategy, Rules: s.Rules,
		Budgets: budgets, Locations: s.Locations, FiguresWait: s.FiguresWait, ProvenEnds: s.ProvenEnds, PastTurn: s.PastTurn, Observer: s.Observer, Logger: s.Log,
	})
	if s.AddressChecks {
		a.Poller.Addresses, a.Poller.AddressOf = a.Client, a.Client.Address
	}
	if s.Guests {
		sightings := guest.NewSightings()
		sightings.Address = a.Client.Address
		a.Poller.Sightings = sightings
		a.guests = &guest.Lookup{
			Platform: a.Client, Store: a.Store, Clock: poller.SystemClock{}, Time: a.Client.Clock(),
			Budget: budgets[platform.Guests], Shared: s.SharedLimit, Likely: s.GuestLikely,
			Address: a.Client.Address, Sightings: sightings, Observer: s.Observer, Logger: s.Log.With("account", s.Name),
		}
	}
}

// Run runs until ctx ends or a part cannot go on, then publishes what is left for at
// most DrainTime. While NATS is away, at the start too, polling goes on and events wait
// in the outbox. The error says which part cannot go on, and why; it is nil where ctx
// ended.
func (a *Account) Run(parent context.Context) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	a.patient.until = ctx
	part := func(name string, run func(context.Context) error) func() {
		return func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	var working sync.WaitGroup
	working.Go(part("polling", a.Poller.Run))
	if a.guests != nil {
		working.Go(part("guest look-ups", a.guests.Run))
	}
	working.Go(part("publishing", func(ctx context.Context) error {
		if err := a.link.AwaitStream(ctx); err != nil {
			return err
		}
		return a.Publisher.Run(ctx)
	}))
	<-ctx.Done()
	working.Wait()
	err := context.Cause(ctx)
	if parent.Err() != nil && err == context.Cause(parent) {
		err = nil // asked to end; a part that timed out is another matter
	}
	if !errors.Is(err, publisher.ErrFenced) {
		a.drain()
	}
	return err
}

// drain publishes what is left.
func (a *Account) drain() {
	a.Store.Release() // nobody looks guests up any more
	if err := a.Store.Flush(); err != nil {
		a.settings.Log.Warn("what was seen last is not stored, and is looked for again by the next start", "account", a.settings.Name, "error", err)
	}
	if a.Store.Outbox().Depth == 0 {
		return
	}
	if s := &a.settings; s.May != nil && !s.May() {
		s.Log.Info("another process may poll the account by now, and tells of what this one has not sent", "account", s.Name, "events", a.Store.Outbox().Depth)
		return
	}
	err := a.link.Reached()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), DrainTime)
		defer cancel()
		err = a.Publisher.Drain(ctx)
	}
	if err != nil {
		a.settings.Log.Warn("events stay in the outbox, and are published by the next start", "account", a.settings.Name, "events", a.Store.Outbox().Depth, "error", err)
	}
}

// Status is the poller's status, and says that it pauses where a full disk keeps it
// from telling so itself.
func (a *Account) Status(now time.Time) poller.Status {
	status := a.Poller.Status(now)
	if err := a.patient.Full(); err != nil && status.State != poller.Stopped {
		status.State, status.Error = poller.Paused, err.Error()
	}
	return status
}

// Unsent is how long ago the oldest change was seen that is not in the stream yet, 0 where
// all are.
func (a *Account) Unsent(now time.Time) time.Duration {
	if o := a.Store.Outbox(); o.Depth > 0 {
		return max(0, now.Sub(o.Oldest))
	}
	return 0
}

// Close closes what Open opened.
func (a *Account) Close() error {
	var errs []error
	for _, l := range a.logs {
		errs = append(errs, l.Close())
	}
	if a.Store != nil {
		errs = append(errs, a.Store.Close())
	}
	return errors.Join(errs...)
}
