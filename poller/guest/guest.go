package guest

import (
	"context"
	"log/slog"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// Platform is what Lookup asks of the platform's client.
type Platform interface {
	Guests(ctx context.Context, ips []string) ([]platform.Guest, platform.Meta, error)
}

// Store are the events that wait for their guest. Each goes out by itself
// when its time is over.
type Store interface {
	Holding() <-chan struct{}
	Held() ([]store.Held, error)
	Amend([]store.Amendment) (completed int, err error)
}

// PlatformClock bounds the platform's time at a moment of the local clock.
type PlatformClock interface {
	Bounds(local time.Time) (earliest, latest time.Time)
}

// Outcome is what became of the look-up for one arrival.
type Outcome string

// The outcomes. The first three attach a guest.
const (
	Confirmed Outcome = "confirmed"
	Likely    Outcome = "likely"
	// Cached: confirmed for an earlier session of the same guest_id.
	Cached Outcome = "cached"
	// Unsure: likely, and that is not enough by the settings.
	Unsure Outcome = "unsure"
	// Another: the address is another connection's by now.
	Another Outcome = "another"
	// Shared: another session that is online has the same address, so the
	// platform's answer may be about either.
	Shared Outcome = "shared"
	// Nobody: the platform names nobody at the address.
	Nobody Outcome = "nobody"
	// NoAddress: the session has no IP address to ask by.
	NoAddress Outcome = "no address"
	// Unanswered: no answer in time, or no budget to ask.
	Unanswered Outcome = "unanswered"
)

// Observer is told what Lookup did, on its goroutine; it must not block.
type Observer interface {
	// LookedUp is called after each request. Err is nil for a good answer.
	LookedUp(took time.Duration, err error)
	// Identified is called for each arrival, once it is known what becomes of it.
	Identified(Outcome)
}

// Lookup completes the arrivals that a store holds with their guests. Its
// exported fields are settings, to be set before Run. Run and Step are for one
// goroutine, another one than the poller's.
type Lookup struct {
	Platform Platform
	Store    Store
	Clock    budget.Clock
	// Time is the platform's clock; nil takes the local clock for it.
	Time   PlatformClock
	Budget *budget.Budget
	// Shared says that the looks spend the same Budget: then a fifth of it at most
	// goes into look-ups.
	Shared bool
	// Likely attaches guests that are likely, too, not only confirmed ones.
	Likely bool
	// Address returns the IP address of a session where the event does not have
	// it; nil takes the event's.
	Address func(*events.Session) string
	// Sightings are the Poller's; nil does without.
	Sightings *Sightings
	Observer  Observer
	Logger    *slog.Logger

	known  guestCache
	rest   *budget.Backoff // while the platform refuses or fails
	until  time.Time       // of rest
	asked  time.Time       // when the last request went out
	trials map[uint64]*trial
}

// trial is an arrival of which an answer was likely, and that waits for more:
// durations are whole seconds, so an answer half a second off narrows them; and a
// look that shows the session at the address still proves that nobody else was
// there in between.
type trial struct {
	session    string
	guest      events.Guest
	connection connection
	match      match
	next       time.Time // when to ask again
	again      bool      // that was done
}

const (
	// sharedPart of a shared budget's requests go into look-ups at most.
	sharedPart = 5
	// secondLook is how long after a likely answer the address is asked about once
	// more.
	secondLook = 1500 * time.Millisecond
	// leastPatience is the time that an answer gets at least: no request is made
	// for events that go out sooner.
	leastPatience = 200 * time.Millisecond
)

// candidate is a held event that is to be asked about.
type candidate struct {
	store.Held
	address string
}

// Run looks guests up until ctx ends.
func (g *Lookup) Run(ctx context.Context) error {
	for {
		wait, err := g.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The events go out without a guest; what ails the store is the
			// poller's to report.
			g.logger().Warn("guests cannot be attached", "error", err)
			wait = time.Second
		}
		var again <-chan time.Time
		if wait >= 0 {
			again = time.After(wait)
		}
		select {
		case <-g.Store.Holding():
		case <-g.Sightings.signal():
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *Lookup) logger() *slog.Logger {
	if g.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Logger
}

// Step sends one request at most and takes its answer. It returns after which
// time there is something to do again; a negative one means not before more is
// held.
func (g *Lookup) Step(ctx context.Context) (wait time.Duration, err error) {
	held, err := g.Store.Held()
	if err != nil {
		return -1, err
	}
	g.forget(held)
	now := g.Clock.Now()
	at := g.next(now)
	var done []store.Amendment
	var ask []candidate
	var soonest time.Time // when the first of the trials is to be asked about again
	for _, h := range held {
		c := candidate{h, g.address(&h.Event.Data.Session)}
		t := g.trials[h.Seq]
		switch guest, cached := g.known.get(g.Clock, h.Event.Data.Session.GuestID); {
		case cached:
			done = append(done, g.attach(h, guest, events.GuestConfirmed, Cached))
		case g.shared(c):
			done = append(done, g.release(h, Shared))
		case t != nil && g.Sightings.of(h.Event.Data.Session.ID) == crowded:
			done = append(done, g.release(h, Another))
		case t != nil && g.Sightings.of(h.Event.Data.Session.ID) == there:
			done = append(done, g.confirm(h, t.guest))
		case c.address == "":
			done = append(done, g.release(h, NoAddress))
		case t != nil && t.next.After(now):
			if soonest.IsZero() || t.next.Before(soonest) {
				soonest = t.next
			}
		case at.Add(leastPatience).Before(h.Until):
			ask = append(ask, c)
		case t != nil:
			done = append(done, g.settleFor(h, t))
		default:
			done = append(done, g.release(h, Unanswered))
		}
	}
	if len(done) > 0 {
		if _, err := g.Store.Amend(done); err != nil {
			return 0, err
		}
	}
	if len(ask) > 0 && !at.After(now) {
		return 0, g.ask(ctx, ask)
	}
	if len(ask) > 0 && at.Equal(g.Budget.Free(now)) {
		g.Budget.Claim(now)
	}
	if len(ask) > 0 && (soonest.IsZero() || at.Before(soonest)) {
		soonest = at
	}
	if soonest.IsZero() {
		return -1, nil
	}
	return soonest.Sub(now), nil
}

// next is when a request may go out.
func (g *Lookup) next(now time.Time) time.Time {
	at := g.Budget.Free(now)
	if g.until.After(at) {
		at = g.until
	}
	if g.Shared && !g.asked.IsZero() {
		_, limit := g.Budget.Used(now)
		if spaced := g.asked.Add(sharedPart * budget.Window / time.Duration(limit)); spaced.After(at) {
			at = spaced
		}
	}
	return at
}

// address returns the address to ask by, empty where there is none.
func (g *Lookup) address(s *events.Session) string { return addressOf(s, g.Address) }

func (g *Lookup) shared(c candidate) bool {
	s := &c.Event.Data.Session
	return g.Sightings.shared(s.ID, s.GuestID, c.address)
}
