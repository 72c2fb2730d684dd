package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
)

// Dispatcher serves the endpoints of one file, each from the stream it subscribes to. Its fields are
// settings, to be set before the first call of a method; JetStream and Path are
// needed, every other has a default for its zero value. Its methods may be
// called at the same time, also from a process other than the one in Run: what
// they share is in JetStream.
type Dispatcher struct {
	JetStream jetstream.JetStream // not needed by Test
	Path      string              // of the endpoints file
	Absent    Absent              // what no event has, so that no condition may ask for it
	Groups    func() *group.Tree  // those in use; nil for none

	Stream  string // events.DefaultStream
	Prefix  string // of subjects; events.DefaultPrefix
	Account string // serve this account alone; empty: all

	Visits      string // stream of visits; visits.DefaultStream
	VisitPrefix string // of its subjects; visits.DefaultPrefix

	Alerts      string // stream of alerts; alerts.DefaultStream
	AlertPrefix string // of its subjects; alerts.DefaultPrefix

	// Key opens who is to be forgotten, for endpoints that subscribe to that.
	Key string
	// Forgotten is who is forgotten: nobody of them is named to a receiver, or in a dead
	// letter, from then on. Nil is nobody.
	Forgotten *forgotten.List

	Bucket     string        // DefaultBucket
	DeadStream string        // DefaultDeadStream
	DeadPrefix string        // DefaultDeadPrefix
	DeadMaxAge time.Duration // of dead letters and of the list of skipped events, when their streams are created: 30 days
	Replicas   int           // of the bucket and these streams, when created: 1
	Declared   bool          // they are declared elsewhere, and never created

	SkippedStream string // DefaultSkippedStream; made where an endpoint has a MaxAge
	SkippedPrefix string // DefaultSkippedPrefix

	// Backoff spaces the tries of an event; the zero value is DefaultBackoff.
	Backoff Backoff
	// RefusedTries is how often an event is tried that the receiver refuses (4xx
	// other than 408, 410, 425 and 429; redirects; private addresses): 3.
	RefusedTries int
	// MaxRetryAfter caps what a receiver may ask for: 1 hour.
	MaxRetryAfter time.Duration
	// MaxWaiting is how many events of an endpoint may wait for a try or be under
	// way: 1,000. With that many, nothing new is taken from the stream, which
	// keeps a dead endpoint from trying its whole backlog.
	MaxWaiting int
	// AckWait is what an event handed out to a process that died waits before
	// it is handed out again, beyond what the endpoint's own limits need: 30 s.
	AckWait time.Duration
	// Recheck is the longest delay of an ordered endpoint's events at the server:
	// 30 s. A retry that is due later is returned again and again, since after a
	// restart an ordered endpoint must see all of them before it goes on.
	Recheck time.Duration
	// ReloadEvery is how often the file, and the secret files that it names, are
	// looked at: 2 s.
	ReloadEvery time.Duration
	// StopGrace is how long Run waits for requests under way when it ends: 5 s.
	StopGrace time.Duration

	Log *slog.Logger // slog.Default()
	// Span begins the span of a request, below what the event's message bears (a
	// traceparent, or nothing), and returns what the request is to bear, and what ends the
	// span with the answer's status or the error. Nil hands on what the message bears.
	Span func(parent, endpoint, event string) (traceparent string, end func(status int, err error))

	Observe func(Observation)                          // called after every try, from many goroutines; must not block
	Now     func() time.Time                           // time.Now
	Rand    func() float64                             // in [0, 1), for jitter; math/rand/v2
	Resolve *net.Resolver                              // of endpoints' names; the system's
	Sleep   func(context.Context, time.Duration) error // returns the context's error when it ends first

	allow     func(netip.Addr) bool // public, replaced in tests
	fetchWait time.Duration         // of one pull request, which Run waits for when it ends: 1 s

	standings standings
}

// Observation is one try, for metrics.
type Observation struct {
	Endpoint string
	Result   Result
	Status   int // 0 when there was no answer
	Duration time.Duration
	Try      int // 1 for the first
}

// options are the settings with their defaults filled in.
type options struct {
	Stream, Visits, Alerts             string
	Bucket, DeadStream, DeadPrefix     string
	SkippedStream, SkippedPrefix       string
	DeadMaxAge                         time.Duration
	Replicas, RefusedTries, MaxWaiting int
	Declared                           bool
	Backoff                            Backoff
	MaxRetryAfter, AckWait, Recheck    time.Duration
	ReloadEvery, StopGrace, fetchWait  time.Duration
	Log                                *slog.Logger
	Span                               func(parent, endpoint, event string) (string, func(int, error))
	Observe                            func(Observation)
	Now                                func() time.Time
	Rand                               func() float64
	Sleep                              func(context.Context, time.Duration) error
	Resolve                            *net.Resolver
	allow                              func(netip.Addr) bool
	subjects                           events.Subjects
	visitSubjects                      visits.Subjects
	alertSubjects                      alerts.Subjects
	Account, Key                       string
	Forgotten                          *forgotten.List
	JetStream                          jetstream.JetStream
	standings                          *standings
}

func (d *Dispatcher) options() (options, error) {
	subjects, err := events.NewSubjects(d.Prefix)
	if err != nil {
		return options{}, err
	}
	visitSubjects, err := visits.NewSubjects(d.VisitPrefix)
	if err != nil {
		return options{}, err
	}
	alertSubjects, err := alerts.NewSubjects(d.AlertPrefix)
	if err != nil {
		return options{}, err
	}
	o := options{
		Alerts: cmp.Or(d.Alerts, alerts.DefaultStream), alertSubjects: alertSubjects,
		Stream: cmp.Or(d.Stream, events.DefaultStream), Visits: cmp.Or(d.Visits, visits.DefaultStream), Bucket: cmp.Or(d.Bucket, DefaultBucket),
		DeadStream: cmp.Or(d.DeadStream, DefaultDeadStream), DeadPrefix: cmp.Or(d.DeadPrefix, DefaultDeadPrefix),
		SkippedStream: cmp.Or(d.SkippedStream, DefaultSkippedStream), SkippedPrefix: cmp.Or(d.SkippedPrefix, DefaultSkippedPrefix),
		DeadMaxAge: cmp.Or(d.DeadMaxAge, 30*24*time.Hour), Replicas: cmp.Or(d.Replicas, 1), Declared: d.Declared,
		RefusedTries: cmp.Or(d.RefusedTries, 3), MaxWaiting: cmp.Or(d.MaxWaiting, 1000), Backoff: cmp.Or(d.Backoff, DefaultBackoff),
		MaxRetryAfter: cmp.Or(d.MaxRetryAfter, time.Hour), AckWait: cmp.Or(d.AckWait, 30*time.Second),
		Recheck: cmp.Or(d.Recheck, 30*time.Second), ReloadEvery: cmp.Or(d.ReloadEvery, 2*time.Second),
		StopGrace: cmp.Or(d.StopGrace, 5*time.Second), Log: cmp.Or(d.Log, slog.Default()),
		Span: d.Span, Observe: d.Observe, Now: d.Now, Rand: d.Rand, Sleep: d.Sleep, Resolve: d.Resolve, allow: d.allow,
		fetchWait: cmp.Or(d.fetchWait, time.Second), subjects: subjects, visitSubjects: visitSubjects, Account: d.Account, Key: d.Key, Forgotten: d.Forgotten, JetStream: d.JetStream, standings: &d.standings,
	}
	if o.Span == nil {
		o.Span = handOn
	}
	if o.Observe == nil {
		o.Observe = func(Observation) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.allow == nil {
		o.allow = public
	}
	return o, nil
}

// handOn leaves a trace as it is.
func handOn(parent, _, _ string) (string, func(int, error)) { return parent, untraced }

func untraced(int, error) {}

// streamOf is the stream of a topic.
func (o options) streamOf(t *topic) string {
	switch t {
	case visitTopic:
		return o.Visits
	case forgottenTopic:
		return forgotten.DefaultStream
	case alertTopic:
		return o.Alerts
	}
	return o.Stream
}

// filter is the subject of a place and kind of a topic; empty means any.
func (o options) filter(t *topic, place, kind string) string {
	switch t {
	case visitTopic:
		return o.visitSubjects.Filter(o.Account, place, visits.Kind(kind))
	case forgottenTopic:
		return forgotten.GuestSubject
	case alertTopic:
		return o.alertSubjects.Filter(o.Account, place, alerts.Kind(kind))
	}
	return o.subjects.Filter(o.Account, place, events.Kind(kind))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// stores opens what lives in JetStream beside the events.
func (d *Dispatcher) stores(ctx context.Context, o options) (*records, *graveyard, error) {
	if d.JetStream == nil {
		return nil, nil, errors.New("webhook dispatcher: no JetStream; connect to NATS first")
	}
	r, err := openRecords(ctx, d.JetStream, o)
	if err != nil {
		return nil, nil, err
	}
	g, err := openGraveyard(ctx, d.JetStream, o)
	if err != nil {
		return nil, nil, err
	}
	return r, g, nil
}

// awaitStores is stores, tried until it succeeds or ctx ends.
func (d *Dispatcher) awaitStores(ctx context.Context, o options) (*records, *graveyard, error) {
	reported := ""
	for failures := 1; ; failures++ {
		try, cancel := context.WithTimeout(ctx, storeWait)
		records, graves, err := d.stores(try, o)
		cancel()
		if err == nil || d.JetStream == nil || ctx.Err() != nil {
			return records, graves, err
		}
		if err.Error() != reported {
			reported = err.Error()
			o.Log.Error("webhooks: nothing is sent until NATS answers; trying again", "error", err)
		}
		if err := o.Sleep(ctx, min(o.Backoff.delay(failures, o.Rand()), maxReconnect)); err != nil {
			return nil, nil, err
		}
	}
}

// Run delivers events until ctx ends, then returns what it has not sent to the
// server, waits for requests under way (StopGrace) and returns nil. The file is
// followed while it runs: changed endpoints start anew where they were, a new
// one begins with the events published from then on, and a removed one keeps its
// place in the stream. A file that becomes wrong is reported once and changes
// nothing. The error is that of the first load; Run waits out what keeps JetStream
// from answering, at the start too.
func (d *Dispatcher) Run(ctx context.Context) error {
	o, err := d.options()
	if err != nil {
		return err
	}
	w, err := watch(d.Path, d.Absent, d.Groups)
	if err != nil {
		return err
	}
	records, graves, err := d.awaitStores(ctx, o)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	background.Go(func() { d.follow(ctx, o, w, wake) })
	background.Go(func() {
		var reported reported
		for ctx.Err() == nil {
			if err := records.changes(ctx, wake); reported.news(err) {
				o.Log.Warn("webhooks: cannot watch for disabled endpoints; trying again", "error", err)
			}
			_ = o.Sleep(ctx, o.ReloadEvery) // its error is that ctx ended
		}
	})
	s := supervisor{o: o, records: records, graves: graves, running: map[string]*served{}, told: map[string]Disabled{}, unread: map[string]*reported{}}
	again := make(chan struct{}, 1) // holds one while a retry waits
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { d.writeStandings(writing, o, records, graves) })
	defer stopWriting() // after the last endpoint has stopped
	defer s.stop()
	for {
		if !s.apply(ctx, w.config()) {
			select {
			case again <- struct{}{}:
				background.Go(func() {
					_ = o.Sleep(ctx, o.ReloadEvery) // its error is that ctx ended
					<-again
					wake()
				})
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// reported is what was logged last of something that is tried again and again.
type reported string

// news reports whether an error is another one than was logged.
func (r *reported) news(err error) bool {
	if err == nil {
		*r = ""
		return false
	}
	text := reported(err.Error())
	fresh := text != *r
	*r = text
	return fresh
}

func (d *Dispatcher) follow(ctx context.Context, o options, w *watched, wake func()) {
	for o.Sleep(ctx, o.ReloadEvery) == nil {
		changed, err := w.reload()
		switch {
		case err != nil:
			o.Log.Error("webhooks: the changed endpoints file is not usable; the endpoints stay as they were", "error", err)
		case changed:
			o.Log.Info("webhooks: endpoints file read again", "endpoints", len(w.config().Endpoints))
			wake()
		}
	}
}

// writeStandings keeps the records, and the count of dead letters, up to date until
// ctx ends, and once more then.
func (d *Dispatcher) writeStandings(ctx context.Context, o options, r *records, graves *graveyard) {
	var reported reported
	write := func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		err := o.standings.write(ctx, r)
		dead, counting := graves.count(ctx)
		if counting == nil {
			o.standings.buried(func(endpoint string) uint64 { return dead[graves.subject(endpoint)] })
		}
		if err = errors.Join(err, counting); reported.news(err) {
			o.Log.Warn("webhooks: cannot write down how the endpoints fare; trying again", "error", err)
		}
	}
	for o.Sleep(ctx, o.ReloadEvery) == nil {
		if err := d.measureDisabled(ctx, o); err != nil && ctx.Err() == nil {
			o.Log.Debug("webhooks: cannot read what waits for the endpoints that are disabled", "error", err)
		}
		write(ctx)
	}
	write(context.WithoutCancel(ctx))
}

// load reads the file as it is now.
func (d *Dispatcher) load() (Config, error) { return Load(d.Path, d.Absent, treeOf(d.Groups)) }

// endpoint loads the file and finds one endpoint.
func (d *Dispatcher) endpoint(name string) (Endpoint, error) {
	cfg, err := d.load()
	if err != nil {
		return Endpoint{}, err
	}
	e, err := cfg.Find(name)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", d.Path, err)
	}
	return e, nil
}
