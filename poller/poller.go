package poller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
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
	Find(ids []string) (map[string]events.State, error)
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
	Requested(kind Kind, took time.Duration, err error)
	// Looked is called after each commit of what a look showed.
	Looked(Report)
}

// Report is what one look at a location brought.
type Report struct {
	Location string
	// At is when the look ended, Took how long it took from its first request,
	// Committing how long the diff and the commit took.
	At               time.Time
	Took, Committing time.Duration
	Pages, Records   int
	Skipped          int
	Changes          []events.Event
}

// Poller polls one account. Its exported fields are settings, to be set before
// Run. Run and Step are for one goroutine; Status is safe to call from any.
type Poller struct {
	Account  string
	Platform Platform
	Store    Store
	Clock    Clock
	// Time is the platform's clock; nil takes the local clock for it.
	Time     PlatformClock
	Strategy Strategy
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
	// Sightings, where guests are looked up, are told what looks show; nil disables.
	Sightings Sightings
	// Courier carries several requests at once; nil sends one after the other.
	Courier  Courier
	Observer Observer
	Logger   *slog.Logger

	started   bool
	places    map[string]*Place
	readings  map[string]*reading
	estate    Estate
	discovery discovery
	census    census
	rests     map[platform.Endpoint]*budget.Backoff
	noted     map[string]bool // oddities that were logged
	roaming   bool
	looking   Look // the last one
	held      map[string]*heldEnd
	late      bool  // it was said that the maximum staleness cannot be kept
	full      error // the outbox's, while it takes nothing

	begun        time.Time // local clock
	roster       *roster
	sweep        sweep
	aim          aim
	tenure       tenure
	known        map[string]counts // what is usual at places that are not known yet, by location
	memorable    bool              // somebody came or went since rates were remembered
	memorised    time.Time         // local clock: when they were
	probe        probe
	history      past      // from before tracking began
	historySaved time.Time // local clock
	// What is known of the order of each kind of list: a filter may change it.
	online, venues, past order.List
	remembered           order.Direction // of online
	wide                 diff.Tracking   // of the account as a whole
	tended               time.Time       // local clock: when the ages of all places were last worked out
	disordered           time.Time       // local clock: when the list was last taken to have no order

	flights []*flight          // under way
	parted  map[string]float64 // when sessions had ended that an answer under way may still show; see stale

	landing sync.Mutex
	landed  []*flight // returned, not worked in yet

	mu       sync.Mutex
	status   Status
	backfill time.Time // what Backfill asked for
}

// Run polls until ctx ends. It returns nil then, and an error only where going
// on makes no sense: the store cannot be read or written.
func (p *Poller) Run(ctx context.Context) error {
	flying, land := context.WithCancel(ctx)
	defer p.drain()
	defer land()
	for {
		err := p.Step(flying)
		if ctx.Err() != nil {
			// What is held would be found again, but its bounds are better now.
			if err := p.release(ctx, slices.Collect(maps.Keys(p.held))); err != nil && !errors.Is(err, ctx.Err()) {
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

// Step waits for the budget, sends one request and works in its answer; with a
// Courier, it works in what answers come while it waits.
func (p *Poller) Step(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	look, err := p.choose(ctx)
	if err != nil {
		return err
	}
	p.looking = look
	switch look.Kind {
	case List:
		return p.list(ctx, look.Location)
	case Verify:
		return p.verify(ctx, look.Session)
	case Discover:
		return p.discover(ctx)
	case Sweep:
		return p.sweepOn(ctx, look.InTurn)
	case Probe:
		return p.probeOn(ctx)
	case Survey:
		return p.survey(ctx)
	case Count:
		return p.count(ctx)
	case Backfill:
		return p.fillGap(ctx)
	case Past:
		return p.readPast(ctx)
	case Figures:
		return p.figures(ctx, look.Session)
	default:
		return p.pause(ctx, time.Second)
	}
}

func (p *Poller) start() error {
	if p.started {
		return nil
	}
	p.prepare()
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
			p.place(l.ID, l.Name)
		}
		p.discovery.dueAt = p.Clock.Now()
	}
	for _, l := range known {
		if place, ok := p.places[l.ID]; ok {
			place.Name = l.Name
			place.tracking = diff.Tracking{Since: l.TrackedSince, SeenAt: l.SeenAt}
		}
	}
	if err := p.enrol(); err != nil {
		return err
	}
	p.started = true
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
	p.places = make(map[string]*Place)
	p.readings = make(map[string]*reading)
	p.rests = make(map[platform.Endpoint]*budget.Backoff)
	p.noted = make(map[string]bool)
	p.held = make(map[string]*heldEnd)
	p.parted = make(map[string]float64)
	p.begun = p.Clock.Now()
	p.roster = newRoster(p.begun)
	p.estate.began, p.estate.learned.at, p.memorised = p.begun, p.begun, p.begun
	p.estate.rates(p.begun)
	p.roster.watched, p.roster.rate = p.watched, p.rate
	p.sweep.wanted, p.sweep.size = 1, MaxPerPage
	p.roster.ring.direction = order.NewestFirst
}

// recallAll reads what former processes learned of the platform.
func (p *Poller) recallAll() error {
	if err := p.recall(roamingKey, &p.roaming); err != nil {
		return err
	}
	if err := p.recall(wideKey, &p.wide); err != nil {
		return err
	}
	if err := p.recall(probeKey, &p.probe); err != nil {
		return err
	}
	if err := p.recallRates(); err != nil {
		return err
	}
	if err := p.recall(orderKey, &p.remembered); err != nil {
		return err
	}
	if err := p.recall(pastKey, &p.history); err != nil {
		return err
	}
	p.online.Expect(p.remembered)
	p.past.Expect(p.probe.Direction)
	p.probe.sought = p.probe.Date != ""
	p.probe.resumed = p.probe.sought
	return nil
}

// enrol puts the sessions that were online when the last process ended on the
// roster. When they were seen is not known to the minute; that they are old
// makes them urgent.
func (p *Poller) enrol() error {
	seen := p.begun.Add(-time.Minute)
	err := p.Store.All(func(s events.State) bool {
		if place := p.places[s.Session.LocationID]; place != nil || len(p.Locations) == 0 {
			e := p.roster.add(s.Session.ID, p.place(s.Session.LocationID, s.Session.LocationName), s.Session.StartedAt, moment{sent: seen, came: seen})
			e.in[account].placed = true
			e.read(&s.Session)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the sessions that are online: %w", err)
	}
	var displaced []string
	if err := p.recall(displacedKey, &displaced); err != nil {
		return err
	}
	for _, id := range displaced {
		if e := p.roster.entries[id]; e != nil {
			p.roster.displace(e)
		}
	}
	return nil
}

// displacedKey names the sessions that stand out of the list's order, so that no
// process takes them for gone.
const displacedKey = "account.displaced"

// adopt takes the configured locations. Known ones that are left out are watched
// until all their sessions have ended.
func (p *Poller) adopt(configured []string, known []store.LocationInfo) {
	for _, id := range configured {
		p.place(id, "")
	}
	for _, l := range known {
		if p.places[l.ID] == nil && l.Online > 0 {
			p.place(l.ID, l.Name).leaving = true
			p.Logger.Warn("a location with online sessions is no longer configured: it is watched until they have ended, and nobody else is told of",
				"location", l.ID, "online", l.Online)
		}
	}
}

// place returns the place with an id, new if need be.
func (p *Poller) place(id, name string) *Place {
	place, ok := p.places[id]
	if !ok {
		now := p.Clock.Now()
		place = &Place{ID: id, AddedAt: now, learned: learned{usually: p.known[id], at: now}}
		delete(p.known, id)
		p.places[id] = place
		p.estate.Places = append(p.estate.Places, place)
	}
	if name != "" {
		place.Name = name
	}
	return place
}

// choose waits until the strategy's choice may go out. The choice is made anew
// after each wait, so that it rests on the newest knowledge.
func (p *Poller) choose(ctx context.Context) (Look, error) {
	for {
		now := p.Clock.Now()
		if err := p.letGo(ctx, now); err != nil {
			return Look{}, err
		}
		if err := p.saveRates(now, false); err != nil {
			return Look{}, err
		}
		if err := p.askedBack(); err != nil {
			return Look{}, err
		}
		// Nothing is decided before a request may go out.
		look, at := Look{}, p.Budgets[platform.Sessions].Next(now)
		if p.countDue(now) {
			look, at = Look{Kind: Count}, now
		} else if !at.After(now) || p.discovery.due(now) {
			p.foresee(now)
			if look = p.Strategy.Next(now, &p.estate); p.pastDue() {
				look = Look{Kind: Past}
			}
			if look.Kind == Rest {
				return look, ctx.Err()
			}
			at = p.Budgets[look.Kind.Endpoint()].Next(now)
		}
		p.publishStatus(now)
		pause := at.Sub(now)
		if pause <= 0 {
			if p.beside(look) {
				p.estate.Turn++
				return look, ctx.Err()
			}
			pause = time.Second // An answer ends it.
		}
		if len(p.held) > 0 {
			pause = min(pause, time.Second)
		}
		if err := p.pause(ctx, pause); err != nil {
			return Look{}, err
		}
	}
}

// note logs what was odd about a page, each oddity once: it tends to come with
// every page, and the metrics count it.
func (p *Poller) note(location string, page platform.Page) {
	odd := func(text string, args ...any) {
		key := text + fmt.Sprint(args...)
		if p.noted[key] || len(p.noted) >= mostNoted {
			return
		}
		p.noted[key] = true
		p.Logger.Warn(text, args...)
	}
	for _, s := range page.Skipped {
		odd("a record cannot be read; whoever it may be does not count as gone", "location", location, "record", s.ID, "reason", s.Reason)
	}
	if page.Suspicious != "" {
		odd("the list's links point elsewhere; they are not followed", "link", page.Suspicious)
	}
}

// mostNoted bounds what is remembered of oddities.
const mostNoted = 1000
