package poller

import (
	"context"
	"log/slog"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// GuestPlatform is what GuestLookup asks of the platform's client.
type GuestPlatform interface {
	Guests(ctx context.Context, ips []string) ([]platform.Guest, platform.Meta, error)
}

// HeldEvents are the events that wait for their guest. Each goes out by itself
// when its time is over.
type HeldEvents interface {
	Holding() <-chan struct{}
	Held() ([]store.Held, error)
	Amend([]store.Amendment) (completed int, err error)
}

// GuestOutcome is what became of the look-up for one arrival.
type GuestOutcome string

// The outcomes. The first three attach a guest.
const (
	GuestConfirmed GuestOutcome = "confirmed"
	GuestLikely    GuestOutcome = "likely"
	// GuestCached: confirmed for an earlier session of the same guest_id.
	GuestCached GuestOutcome = "cached"
	// GuestUnsure: likely, and that is not enough by the settings.
	GuestUnsure GuestOutcome = "unsure"
	// GuestAnother: the address is another connection's by now.
	GuestAnother GuestOutcome = "another"
	// GuestShared: another session that is online has the same address, so the
	// platform's answer may be about either.
	GuestShared GuestOutcome = "shared"
	// GuestNobody: the platform names nobody at the address.
	GuestNobody GuestOutcome = "nobody"
	// GuestNoAddress: the session has no IP address to ask by.
	GuestNoAddress GuestOutcome = "no address"
	// GuestUnanswered: no answer in time, or no budget to ask.
	GuestUnanswered GuestOutcome = "unanswered"
)

// GuestObserver is told what GuestLookup did, on its goroutine; it must not block.
type GuestObserver interface {
	// Requested is called after each request. Err is nil for a good answer.
	Requested(kind Kind, took time.Duration, err error)
	Identified(GuestOutcome)
}

// GuestLookup completes the arrivals that a store holds with their guests. Its
// exported fields are settings, to be set before Run. Run and Step are for one
// goroutine, another one than the poller's.
type GuestLookup struct {
	Platform GuestPlatform
	Store    HeldEvents
	Clock    Clock
	// Time is the platform's clock; nil takes the local clock for it.
	Time   PlatformClock
	Budget *Budget
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
	Observer  GuestObserver
	Logger    *slog.Logger

	known  guestCache
	rest   *rest     // while the platform refuses or fails
	until  time.Time // of rest
	asked  time.Time // when the last request went out
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
func (g *GuestLookup) Run(ctx context.Context) error {
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

func (g *GuestLookup) logger() *slog.Logger {
	if g.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return g.Logger
}

// Step sends one request at most and works in its answer. It returns after which
// time there is something to do again; a negative one means not before more is
// held.
func (g *GuestLookup) Step(ctx context.Context) (wait time.Duration, err error) {
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
			done = append(done, g.attach(h, guest, events.GuestConfirmed, GuestCached))
		case g.shared(c):
			done = append(done, g.release(h, GuestShared))
		case t != nil && g.Sightings.of(h.Event.Data.Session.ID) == crowded:
			done = append(done, g.release(h, GuestAnother))
		case t != nil && g.Sightings.of(h.Event.Data.Session.ID) == there:
			done = append(done, g.confirm(h, t.guest))
		case c.address == "":
			done = append(done, g.release(h, GuestNoAddress))
		case t != nil && t.next.After(now):
			if soonest.IsZero() || t.next.Before(soonest) {
				soonest = t.next
			}
		case at.Add(leastPatience).Before(h.Until):
			ask = append(ask, c)
		case t != nil:
			done = append(done, g.settleFor(h, t))
		default:
			done = append(done, g.release(h, GuestUnanswered))
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
	if len(ask) > 0 && at.Equal(g.Budget.free(now)) {
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
func (g *GuestLookup) next(now time.Time) time.Time {
	at := g.Budget.free(now)
	if g.until.After(at) {
		at = g.until
	}
	if g.Shared && !g.asked.IsZero() {
		_, limit := g.Budget.Used(now)
		if spaced := g.asked.Add(sharedPart * Window / time.Duration(limit)); spaced.After(at) {
			at = spaced
		}
	}
	return at
}

// address returns the address to ask by, empty where there is none.
func (g *GuestLookup) address(s *events.Session) string { return addressOf(s, g.Address) }

func (g *GuestLookup) shared(c candidate) bool {
	s := &c.Event.Data.Session
	return g.Sightings.shared(s.ID, s.GuestID, c.address)
}
