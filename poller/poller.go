package poller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// Platform is what the poller asks of the platform's client.
type Platform interface {
	Sessions(context.Context, platform.Query) (platform.Page, error)
	Locations(ctx context.Context, page int) (platform.LocationPage, error)
	Count(context.Context, platform.Query) (int, platform.Meta, error)
}

// Store is where states are read from and changes are committed to.
type Store interface {
	// State returns what is known of a session, commits included; false if nothing is.
	State(id string) (events.State, bool, error)
	Locations() ([]store.LocationInfo, error)
	Commit(store.Commit) error
	// All calls f with every session that is online, until it returns false.
	All(f func(events.State) bool) error
	// Get and Put keep small named values: what was learned of the platform.
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// PlatformClock bounds the platform's time at a moment of the local clock.
type PlatformClock interface {
	Bounds(local time.Time) (earliest, latest time.Time)
}

// Sightings are told which sessions are online, on the poller's goroutine.
type Sightings interface {
	// Show tells of the sessions that a request sent at a time showed.
	Show(sessions []events.Session, sent time.Time)
	// Gone tells that a session has ended.
	Gone(id string)
}

// Observer is told what the poller did, on the poller's goroutine; it must not
// block.
type Observer interface {
	// Requested is called after each request, with the kind of the look that it
	// was for. Err is nil for a good answer.
	Requested(kind plan.Kind, took time.Duration, err error)
	// Looked is called after each commit of what a look showed.
	Looked(Report)
}

// Report is what one look at a location brought.
type Report struct {
	Location string
	// At is when the look ended, Took how long it took from its first request,
	// Committing how long the diff and the commit took, Comparing the diff alone.
	At                          time.Time
	Took, Committing, Comparing time.Duration
	Pages, Records              int
	Skipped                     int
	Changes                     []events.Event
}

// Settings are what a Poller works with, to be set before Run.
type Settings struct {
	Account  string
	Platform Platform
	Store    Store
	Clock    Clock
	// Time is the platform's clock; nil takes the local clock for it.
	Time     PlatformClock
	Strategy plan.Strategy
	Rules    diff.Rules
	// Budgets by endpoint; endpoints may share one.
	Budgets map[platform.Endpoint]*budget.Budget
	// Locations is the explicit list; empty means to discover them.
	Locations []string
	// Rediscovery is how often they are discovered again; zero means 10 minutes.
	Rediscovery time.Duration
	// FiguresWait is how long a proven end waits at most for the platform's final
	// figures, where the strategy has requests to spare for them; zero publishes
	// every end at once.
	FiguresWait time.Duration
	// ProvenEnds forbids ends that are presumed: where the list has no order, and
	// proof cannot keep up, they wait.
	ProvenEnds bool
	// PastTurn is how many looks there are to one at the past that Backfill asked for;
	// zero means 10.
	PastTurn int
	// Sightings, where guests are looked up, are told what looks show; nil disables.
	Sightings Sightings
	// Addresses, where it is set, has sessions checked by their IP addresses beside the
	// lists, on the look-up's budget; see checks.
	Addresses AddressPlatform
	// AddressOf returns the IP address of a session where the session itself does not
	// have it, for privacy; nil takes the session's.
	AddressOf func(*events.Session) string
	// Executor runs several requests at once; nil sends one after the other.
	Executor Executor
	Observer Observer
	Logger   *slog.Logger
}

// Poller polls one account: it chooses a look, asks, and hands what it was shown to
// its ledger. Run and Step are for one goroutine; Status is safe to call from any.
type Poller struct {
	Settings

	*ledger
	discovery  discovery
	counting   counting
	departures departures
	sweep      sweep
	view       plan.View       // the newest
	oddities   map[string]bool // that were logged
	// disordered is when the list was last taken to have no order, on the local clock.
	disordered time.Time
	late       bool // it was said that the maximum staleness cannot be kept
	board      board
}

// New returns a Poller that begins with nothing known.
func New(s Settings) *Poller { return &Poller{Settings: s} }

// Run polls until ctx ends. It returns nil then, and an error only where going
// on makes no sense: the store cannot be read or written.
func (p *Poller) Run(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	asking, end := context.WithCancel(ctx)
	defer p.requests.drain()
	defer end()
	for {
		err := p.Step(asking)
		if ctx.Err() != nil {
			// What is pending would be found again, but its bounds are better now.
			if err := p.release(ctx, slices.Collect(maps.Keys(p.pending.ends))); err != nil && !errors.Is(err, ctx.Err()) {
				return err
			}
			now := p.Clock.Now()
			return p.saveRates(now, true)
		}
		if err != nil {
			return err
		}
	}
}

// Step waits for the budget, sends one request and takes its answer; with an
// Executor, it takes what answers come while it waits.
func (p *Poller) Step(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	look, err := p.choose(ctx)
	if err != nil {
		return err
	}
	if look.Kind == plan.Addresses {
		// The other looks are planned as if it were none of them.
		defer func(last plan.Look) { p.requests.looking = last }(p.requests.looking)
	}
	p.requests.looking = look
	switch look.Kind {
	case plan.List:
		return p.list(ctx, look.Location)
	case plan.Verify:
		return p.verify(ctx, look.Session)
	case plan.Discover:
		return p.discover(ctx)
	case plan.Sweep:
		return p.sweepOn(ctx, look)
	case plan.Probe:
		return p.probeOn(ctx)
	case plan.Survey:
		return p.survey(ctx)
	case plan.Count:
		return p.count(ctx)
	case plan.Backfill:
		return p.fillGap(ctx)
	case plan.Past:
		return p.readPast(ctx)
	case plan.Figures:
		return p.figures(ctx, look.Session)
	case plan.Addresses:
		return p.askAddresses(ctx)
	case plan.Departures:
		return p.departures.ask(ctx, p, look.Location)
	default:
		return p.requests.pause(ctx, time.Second)
	}
}

func (p *Poller) start() error {
	if p.ledger != nil {
		return nil
	}
	p.prepare()
	if err := p.begin(); err != nil {
		p.ledger = nil
		return err
	}
	return nil
}

// prepare sets defaults and begins with nothing known.
func (p *Poller) prepare() {
	if p.Rediscovery == 0 {
		p.Rediscovery = 10 * time.Minute
	}
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	p.Logger = p.Logger.With("account", p.Account)
	p.Rules.Account = p.Account
	p.oddities = make(map[string]bool)
	p.ledger = newLedger(&p.Settings, newRequests(&p.Settings))
	p.departures = departures{account: p.account}
	p.commits.publish = p.publishStatus
}

// begin takes over what former processes have learned and seen.
func (p *Poller) begin() error {
	if err := p.recallAll(); err != nil {
		return err
	}
	known, err := p.Store.Locations()
	if err != nil {
		return fmt.Errorf("reading known locations: %w", err)
	}
	if len(p.Locations) > 0 {
		p.adopt(p.Locations, known)
	} else {
		for _, l := range known {
			p.location(l.ID, l.Name)
		}
		p.discovery.dueAt = p.Clock.Now()
	}
	online := 0
	for _, l := range known {
		online += l.Online
		if location, ok := p.watched.byID[l.ID]; ok {
			location.name = l.Name
			location.tracking = diff.Tracking{Since: l.TrackedSince, SeenAt: l.SeenAt}
		}
	}
	return p.enrol(online)
}

// choose waits until the strategy's choice may go out. The choice is made anew
// after each wait, so that it rests on the newest knowledge.
func (p *Poller) choose(ctx context.Context) (plan.Look, error) {
	for {
		now := p.Clock.Now()
		if err := p.settleDue(ctx, now); err != nil {
			return plan.Look{}, err
		}
		look, at := p.decide(now)
		if look.Kind == plan.Rest && !at.After(now) {
			return look, ctx.Err()
		}
		p.publishStatus(now)
		pause := at.Sub(now)
		if pause <= 0 {
			if p.requests.beside(look) {
				if look.Kind != plan.Addresses || !p.checks.beside() {
					p.view.Turn++
				}
				return look, ctx.Err()
			}
			pause = time.Second // An answer ends it.
		}
		if len(p.pending.ends) > 0 {
			pause = min(pause, time.Second)
		}
		if err := p.requests.pause(ctx, p.checks.untilCheck(now, pause)); err != nil {
			return plan.Look{}, err
		}
	}
}

// settleDue does what is due whatever is asked next.
func (p *Poller) settleDue(ctx context.Context, now time.Time) error {
	if err := p.release(ctx, p.pending.overdue(now, p.whole)); err != nil {
		return err
	}
	if err := p.saveRates(now, false); err != nil {
		return err
	}
	if err := p.checks.save(); err != nil {
		return err
	}
	return p.askedBack()
}

// decide has the strategy choose a look, and says when that may go out. Nothing is
// decided before a request may go out at all.
func (p *Poller) decide(now time.Time) (look plan.Look, at time.Time) {
	if p.countDue(now) {
		return plan.Look{Kind: plan.Count}, now
	}
	if p.checks.due(now) {
		return plan.Look{Kind: plan.Addresses}, now
	}
	if at = p.Budgets[platform.Sessions].Next(now); at.After(now) && !p.discovery.due(now) {
		return plan.Look{}, at
	}
	p.foresee(now)
	p.planned = p.Strategy.Next(now, &p.view)
	for _, row := range p.planned.Aside {
		p.missing.setAside(p.roster.entry(row))
	}
	if look = p.planned.Look; p.pastDue() {
		look = plan.Look{Kind: plan.Past}
	}
	if look.Kind == plan.Rest {
		return look, now
	}
	return look, p.Budgets[EndpointOf(look.Kind)].Next(now)
}
