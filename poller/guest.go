package poller

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
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
		case at.Before(h.Until):
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
func (g *GuestLookup) address(s *events.Session) string {
	text := s.DeviceIP
	if g.Address != nil {
		text = g.Address(s)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// ask sends one request for as many as fit, and attaches what it tells.
func (g *GuestLookup) ask(ctx context.Context, all []candidate) error {
	var ips []string
	asked := make(map[string][]candidate)
	now := g.Clock.Now()
	patience := time.Duration(0) // nobody waits for the answer any longer
	for _, c := range all {
		if asked[c.address] == nil {
			if len(ips) == platform.MaxIPs {
				continue
			}
			ips = append(ips, c.address)
		}
		asked[c.address] = append(asked[c.address], c)
		patience = max(patience, c.Until.Sub(now))
	}
	answered, _ := g.Budget.TakeClaimed(now)
	if answered == nil {
		return nil // a look was faster
	}
	g.asked = now
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	guests, meta, err := g.Platform.Guests(bounded, ips)
	came := g.Clock.Now()
	answered(came)
	g.Budget.Allowed(came, meta.Limit)
	if g.Observer != nil {
		g.Observer.Requested(Identify, came.Sub(now), err)
	}
	if ctx.Err() != nil {
		return nil
	}
	if !g.good(came, err) {
		g.expire(asked, came)
		return nil
	}
	named := make(map[string]platform.Guest, len(guests))
	for _, guest := range guests {
		named[guest.IP] = guest
	}
	var done []store.Amendment
	for _, ip := range ips {
		done = append(done, g.judge(asked[ip], named[ip], now, came)...)
	}
	_, err = g.Store.Amend(done)
	return err
}

// good takes an error into account and reports whether there is an answer. Errors
// other than a 429 rest the look-ups alone, since the budget may be the looks' too.
func (g *GuestLookup) good(now time.Time, err error) bool {
	var fault *platform.Error
	if errors.As(err, &fault) && fault.Kind == platform.NotFound {
		err = nil // nobody is at the address
	}
	if err == nil {
		if g.rest != nil {
			g.logger().Info("guests are looked up again")
		}
		g.rest = nil
		return true
	}
	refused := refuses(err)
	if g.rest == nil || g.rest.refused != refused {
		g.rest = newRest(g.Clock, refused)
		g.logger().Warn("guests cannot be looked up; events go out without them", "error", err)
	}
	pause, limited := g.rest.pause(err)
	g.until = now.Add(pause)
	if limited {
		g.Budget.Refused(now, pause)
	}
	return false
}

// expire counts those that went out while a request failed; the others are asked
// about again, or let go, by the next step.
func (g *GuestLookup) expire(asked map[string][]candidate, now time.Time) {
	for _, those := range asked {
		for _, c := range those {
			if !c.Until.After(now) {
				g.release(c.Held, GuestUnanswered)
			}
		}
	}
}

// judge decides on the arrivals at one address, given the platform's answer to a
// request that was sent and answered at two times.
func (g *GuestLookup) judge(those []candidate, said platform.Guest, sent, came time.Time) []store.Amendment {
	guest := events.Guest{Username: said.Username, Name: said.Name, Email: said.Email}
	var done []store.Amendment
	var fits []candidate
	for _, c := range those {
		if !c.Until.After(came) {
			done = append(done, g.release(c.Held, GuestUnanswered))
			continue
		}
		if guest == (events.Guest{}) {
			done = append(done, g.release(c.Held, GuestNobody))
			continue
		}
		began, same := connectionOf(said.Duration, sent, came), true
		t := g.trials[c.Seq]
		if t != nil {
			began, same = began.and(t.connection)
			same = same && t.guest == guest
		}
		m := began.matches(&c.Held, g.bounds)
		if !same || m == another {
			done = append(done, g.release(c.Held, GuestAnother))
			continue
		}
		if t == nil {
			t = &trial{next: sent.Add(secondLook)}
			g.trials[c.Seq] = t
			g.Sightings.want(c.Event.Data.Session.ID, c.address, came, g.address)
		} else {
			t.again = true
		}
		t.guest, t.connection, t.match = guest, began, m
		fits = append(fits, c)
	}
	for _, c := range fits {
		switch t := g.trials[c.Seq]; {
		case contested(fits, c):
			done = append(done, g.release(c.Held, GuestAnother))
		case t.match == proven:
			done = append(done, g.confirm(c.Held, guest))
		case t.match == younger || t.again || !t.next.Before(c.Until):
			done = append(done, g.settleFor(c.Held, t))
		}
		// Else it stays held for more.
	}
	return done
}

// bounds are those of the platform's clock.
func (g *GuestLookup) bounds(local time.Time) (earliest, latest time.Time) {
	if g.Time == nil {
		return local, local
	}
	return g.Time.Bounds(local)
}

// forget drops the trials of events that went out.
func (g *GuestLookup) forget(held []store.Held) {
	if g.trials == nil || len(held) == 0 {
		g.trials = make(map[uint64]*trial)
	}
	for seq := range g.trials {
		if seq < held[0].Seq {
			delete(g.trials, seq)
		}
	}
}

// contested reports whether the answer for c's address fits an arrival of another
// guest as well: then nobody can say whose it is.
func contested(fits []candidate, c candidate) bool {
	for _, o := range fits {
		if o.Event.Data.Session.ID != c.Event.Data.Session.ID &&
			(o.Event.Data.Session.GuestID == "" || o.Event.Data.Session.GuestID != c.Event.Data.Session.GuestID) {
			return true
		}
	}
	return false
}

// settleFor decides on a trial that has no time for a second look.
func (g *GuestLookup) settleFor(h store.Held, t *trial) store.Amendment {
	if g.Likely {
		return g.attach(h, t.guest, events.GuestLikely, GuestLikely)
	}
	return g.release(h, GuestUnsure)
}

func (g *GuestLookup) confirm(h store.Held, guest events.Guest) store.Amendment {
	g.known.put(g.Clock, h.Event.Data.Session.GuestID, guest)
	return g.attach(h, guest, events.GuestConfirmed, GuestConfirmed)
}

func (g *GuestLookup) attach(h store.Held, guest events.Guest, sure events.Sureness, outcome GuestOutcome) store.Amendment {
	a := g.release(h, outcome)
	a.Guest, a.Sure = &guest, sure
	return a
}

func (g *GuestLookup) release(h store.Held, outcome GuestOutcome) store.Amendment {
	if g.trials[h.Seq] != nil {
		delete(g.trials, h.Seq)
		g.Sightings.drop(h.Event.Data.Session.ID)
	}
	if g.Observer != nil {
		g.Observer.Identified(outcome)
	}
	return store.Amendment{Seq: h.Seq}
}
