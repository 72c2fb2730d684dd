package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/alert"
	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/baseline"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/retention"
	"github.com/guestflow/guestflow/internal/tracing"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
)

// app is everything that `run` and `demo` run: from the platforms to the stream,
// and what is served beside it. newApp opens it, Run runs it, Close closes it.
type app struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	nats     *natsLink
	fleet    *fleet
	web      *occupancy.Service
	hooks    *webhook.Dispatcher
	unsent   chan error        // why webhooks cannot be sent under a lease
	visits   *visit.Service    // nil where none are made
	alerts   *alert.Service    // nil where there are no rules
	keeper   *retention.Keeper // nil where all fields are kept equally long
	book     *baseline.Book    // nil where there are none, or no history is asked for
	forget   *forgetter
	groups   *group.File     // nil where there are none
	listener net.Listener    // nil where HTTP is off
	level    *logLevel       // nil where it cannot be changed
	tracer   *tracing.Tracer // nil where nothing is traced
	subjects events.Subjects
	stream   chan struct{} // closed when the stream is there
	// streamFault is why it cannot be set up yet.
	streamFault atomic.Pointer[error]
}

// platform returns the client's configuration.
func (c *Config) platform() platform.Config {
	zone, _ := c.timeZone() // checked by loadConfig
	return platform.Config{
		TimeZone: zone,
		BaseURL:  c.APIURL, Token: c.APIToken, AuthHeader: c.APIAuthHeader, AuthScheme: c.APIAuthScheme,
		Timeout: c.APITimeout, ByteBase: c.ByteBase, UserAgent: "guestflow/" + version(),
		CA: c.APICA, ClientCert: c.APIClientCert, ClientKey: c.APIClientKey, Proxy: c.APIProxy,
		Privacy: platform.Privacy{
			MAC: platform.Mode(c.MAC), IP: platform.Mode(c.IP), Name: platform.Mode(c.Name), Email: platform.Mode(c.Email), Key: c.PrivacyKey,
		},
		Guests: c.Guests || c.AddressChecks,
	}
}

// client asks the platform for a command, outside of what run spends. The next run is told,
// or it would go beyond the limit; that it cannot be is no reason for the command to fail.
// Where there is no data directory, there is nobody to tell, unless the command is to come
// before the first run.
func (c *Config) client(first bool) (*platform.Client, error) {
	of := c.platform()
	of.Asked = func(m platform.Meta, answered bool) {
		if first {
			_ = account.MakeDir(c.DataDir)
		}
		sent := budget.Exchange{Sent: m.Sent}
		if answered {
			sent.Answered = m.Received
		}
		_ = account.Spent(c.DataDir, c.Account, m.Endpoint, c.APIRateLimit, c.APISharedLimit, sent)
	}
	return platform.New(of)
}

func (c *Config) strategy() plan.Strategy {
	switch c.Planner {
	case "round-robin":
		return &plan.RoundRobin{}
	case "sweep":
		return &plan.SweepOnly{}
	}
	return &plan.Adaptive{StartWeight: c.StartWeight, MaxStaleness: c.MaxStaleness}
}

// statePath is the account's file in the data directory.
func (c *Config) statePath() string { return account.StatePath(c.DataDir, c.Account) }

// settings are those of the account that the configuration describes.
func (c *Config) settings(a *app, observer account.Observer) account.Settings {
	s := account.Settings{
		Name: c.Account, Dir: c.DataDir, Platform: c.platform(), RateLimit: c.APIRateLimit, SharedLimit: c.APISharedLimit,
		Strategy: c.strategy(), Rules: diff.Rules{TrafficMinBytes: c.TrafficMinBytes}, Locations: c.Locations,
		FiguresWait: c.FiguresWait, ProvenEnds: c.Ends == "proven", AddressChecks: c.AddressChecks,
		PastTurn: c.BackfillTurn,
		Guests:   c.Guests, GuestWait: c.GuestWait, GuestLikely: c.GuestMinimum == string(events.GuestLikely), OutboxMaxBytes: c.OutboxMaxBytes,
		Stream: c.Stream, Subjects: a.subjects, Observer: observer, Log: a.log, Forgotten: a.forget.list,
	}
	if c.StreamManage {
		s.MakeStream = a.makeStream
	}
	if a.tracer != nil {
		s.Traceparent = a.tracer.Traceparent
	}
	return s
}

// newApp opens NATS, the HTTP address and, where there is but one, the account. With
// an error nothing is left open.
func newApp(ctx context.Context, cfg Config, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, stream: make(chan struct{}), unsent: make(chan error, 1)}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.subjects, err = events.NewSubjects(cfg.SubjectPrefix); err != nil {
		return nil, err
	}
	if a.tracer, err = tracing.Start(ctx, version(), log); err != nil {
		return nil, usageError(err.Error())
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w; set GUESTFLOW_DATA_DIR to one that this user may write", cfg.DataDir, err)
	}
	if a.nats, err = linkNATS(ctx, cfg, log); err != nil {
		return nil, err
	}
	a.metrics = newMetrics(a)
	a.forget = newForgetter(cfg, a.nats.js, log)
	a.forget.ready = a.stream
	if a.fleet, err = newFleet(ctx, a); err != nil {
		return nil, err
	}
	a.forget.fleet = a.fleet
	if a.groups, err = openGroups(cfg, log); err != nil {
		return nil, err
	}
	if cfg.WebhooksFile != "" {
		a.hooks = newDispatcher(cfg, a.nats.js, log)
		a.hooks.Groups, a.hooks.Forgotten = inUse(a.groups), a.forget.list
		a.hooks.Observe = a.metrics.Tried
		if a.tracer != nil {
			a.hooks.Span = a.tracer.Try
		}
	}
	if err := a.openAlerts(); err != nil {
		return nil, err
	}
	a.forget.web = a.web
	if cfg.Visits {
		settings := visitSettings(cfg, log)
		settings.LookedAt, settings.Forgotten = a.lookedAt, a.forget.list
		if cfg.VisitHistory != "none" {
			settings.Count = a.countSessions
		}
		a.visits = visit.New(settings)
		a.forget.visits = a.visits
	}
	a.keeper = newKeeper(cfg, a.forget.list, log)
	if cfg.HTTPAddr != "-" {
		if a.listener, err = listenForReaders(cfg.HTTPAddr); err != nil {
			return nil, fmt.Errorf("HTTP address: %w; set GUESTFLOW_HTTP_ADDR to a free one, or to - for none", err)
		}
	}
	return a, nil
}

// Run runs until ctx ends or a part cannot go on; accounts publish what is left
// before they end. While NATS is away, at the start too, polling goes on and events
// wait in the outboxes.
func (a *app) Run(parent context.Context) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	part := func(name string, run func(context.Context) error) func() {
		return func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	server := newServer(a.routes())
	var serving, working sync.WaitGroup
	if a.listener != nil {
		serving.Go(part("http", func(context.Context) error {
			if err := server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		}))
	}
	working.Go(part("NATS", a.nats.diagnose))
	working.Go(part("publishing", func(ctx context.Context) error {
		if err := a.ensureStream(ctx); err != nil {
			return err
		}
		close(a.stream)
		return nil
	}))
	working.Go(func() {
		if err := a.fleet.run(ctx); err != nil && ctx.Err() == nil {
			stop(err)
		}
	})
	working.Go(part("occupancy", func(ctx context.Context) error { return a.web.Run(ctx, a.nats.js) }))
	working.Go(part("forgetting", a.forget.run))
	if a.groups != nil {
		working.Go(part("groups", a.groups.Run))
	}
	if a.alerts != nil {
		working.Go(part("alerts", func(ctx context.Context) error { return a.alerts.Run(ctx, a.nats.js) }))
	}
	if a.visits != nil {
		working.Go(part("visits", func(ctx context.Context) error { return a.visits.Run(ctx, a.nats.js) }))
	}
	if a.keeper != nil {
		working.Go(part("retention", a.retain))
	}
	if a.hooks != nil {
		working.Go(part("webhooks", a.runWebhooks))
	}
	<-ctx.Done()
	working.Wait()
	err := context.Cause(ctx)
	if parent.Err() != nil && err == context.Cause(parent) {
		err = nil // asked to end; a part that timed out is another matter
	}
	shutdown, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(shutdown) != nil {
		server.Close() // streams of events to browsers do not end by themselves
	}
	serving.Wait()
	return err
}

// runWebhooks sends them, where this process does not share its accounts: else it waits for
// what ends those that its lease begins.
func (a *app) runWebhooks(ctx context.Context) error {
	if a.cfg.Lease > 0 {
		select {
		case err := <-a.unsent:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	if a.AwaitStream(ctx) != nil {
		return nil
	}
	return a.hooks.Run(ctx)
}

// sendWebhooks sends them while the lease for it is held. That they cannot be sent ends the
// process, as it does where it has no lease.
func (a *app) sendWebhooks(ctx context.Context) {
	a.log.Info("this process sends the webhooks")
	if err := a.hooks.Run(ctx); err != nil && ctx.Err() == nil {
		a.unsent <- err
	}
}

// ensureStream waits for NATS and sees that the stream is there.
func (a *app) ensureStream(ctx context.Context) error {
	if err := a.awaitNATS(ctx); err != nil {
		return err
	}
	wait := time.Second
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := a.makeStream(try)
		cancel()
		var differs *publisher.StreamError
		if err == nil || errors.As(err, &differs) || ctx.Err() != nil {
			return err
		}
		a.streamFault.Store(&err)
		a.log.Warn("the stream cannot be set up yet; events wait in the outbox", "stream", a.cfg.Stream, "error", err, "again_in", wait)
		if err := (poller.SystemClock{}).Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// makeStream finds the stream good, or makes it where that is guestflow's to do.
func (a *app) makeStream(ctx context.Context) error {
	_, err := publisher.EnsureStream(ctx, a.nats.js, publisher.StreamSettings{
		Name: a.cfg.Stream, Subjects: a.subjects, MaxAge: a.cfg.fullAge(), Replicas: a.cfg.StreamReplicas, Declared: !a.cfg.StreamManage,
		Again: a.fleet.published(),
	})
	return err
}

// awaitNATS waits for the first connection.
func (a *app) awaitNATS(ctx context.Context) error {
	if a.nats.conn.IsConnected() {
		return nil
	}
	for !a.nats.conn.IsConnected() {
		if err := (poller.SystemClock{}).Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// streamReady reports whether the stream was found or made.
func (a *app) streamReady() bool {
	select {
	case <-a.stream:
		return true
	default:
		return false
	}
}

// JetStream is part of account.Link.
func (a *app) JetStream() jetstream.JetStream { return a.nats.js }

// AwaitStream is part of account.Link.
func (a *app) AwaitStream(ctx context.Context) error {
	select {
	case <-a.stream:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reached is part of account.Link.
func (a *app) Reached() error {
	if fault := a.nats.fault(); fault != nil {
		return fault
	}
	if !a.streamReady() {
		return errors.New("the stream was not reached")
	}
	return nil
}

// Close closes what newApp opened.
func (a *app) Close() error {
	var errs []error
	if a.listener != nil {
		a.listener.Close() // closed already where it was served
	}
	if a.fleet != nil {
		errs = append(errs, a.fleet.close())
	}
	if a.nats != nil {
		errs = append(errs, a.nats.Close())
	}
	a.tracer.Close()
	return errors.Join(errs...)
}
