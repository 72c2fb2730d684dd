package guest

import (
	"context"
	"errors"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// ask sends one request for as many as fit, and attaches what it tells.
func (g *Lookup) ask(ctx context.Context, all []candidate) error {
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
	ended, _ := g.Budget.TakeClaimed(now)
	if ended == nil {
		return nil // a look was faster
	}
	g.asked = now
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	guests, meta, err := g.Platform.Guests(bounded, ips)
	came := g.Clock.Now()
	ended(came, meta.Answered(err))
	g.Budget.Allowed(came, meta.Limit)
	if g.Observer != nil {
		g.Observer.LookedUp(came.Sub(now), err)
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
func (g *Lookup) good(now time.Time, err error) bool {
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
	refused := budget.Refuses(err)
	if g.rest == nil || g.rest.Refused != refused {
		g.rest = budget.NewBackoff(g.Clock, refused)
		g.logger().Warn("guests cannot be looked up; events go out without them", "error", err)
	}
	pause, limited := g.rest.Pause(err)
	g.until = now.Add(pause)
	if limited {
		g.Budget.Refused(now, pause)
	}
	return false
}

// expire counts those that went out while a request failed; the others are asked
// about again, or let go, by the next step.
func (g *Lookup) expire(asked map[string][]candidate, now time.Time) {
	for _, those := range asked {
		for _, c := range those {
			if !c.Until.After(now) {
				g.conclude(c.Seq, c.Event.Data.Session.ID, Unanswered)
			}
		}
	}
}

// judge decides on the arrivals at one address, given the platform's answer to a
// request that was sent and answered at two times.
func (g *Lookup) judge(those []candidate, said platform.Guest, sent, came time.Time) []store.Amendment {
	guest := events.Guest{Username: said.Username, Name: said.Name, Email: said.Email}
	var done []store.Amendment
	var fits []candidate
	for _, c := range those {
		if !c.Until.After(came) {
			done = append(done, g.release(c.Held, Unanswered))
			continue
		}
		if g.shared(c) {
			done = append(done, g.release(c.Held, Shared))
			continue
		}
		if guest == (events.Guest{}) {
			done = append(done, g.release(c.Held, Nobody))
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
			done = append(done, g.release(c.Held, Another))
			continue
		}
		if t == nil {
			t = &trial{session: c.Event.Data.Session.ID, next: sent.Add(secondLook)}
			g.trials[c.Seq] = t
			g.Sightings.want(c.Event.Data.Session.ID, c.address, came)
		} else {
			t.again = true
		}
		t.guest, t.connection, t.match = guest, began, m
		fits = append(fits, c)
	}
	for _, c := range fits {
		switch t := g.trials[c.Seq]; {
		case contested(fits, c):
			done = append(done, g.release(c.Held, Another))
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
func (g *Lookup) bounds(local time.Time) (earliest, latest time.Time) {
	if g.Time == nil {
		return local, local
	}
	return g.Time.Bounds(local)
}

// forget drops the trials of events that went out.
func (g *Lookup) forget(held []store.Held) {
	if g.trials == nil {
		g.trials = make(map[uint64]*trial)
	}
	for seq, t := range g.trials {
		if len(held) == 0 || seq < held[0].Seq {
			g.conclude(seq, t.session, Unsure)
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
func (g *Lookup) settleFor(h store.Held, t *trial) store.Amendment {
	if g.Likely {
		return g.attach(h, t.guest, events.GuestLikely, Likely)
	}
	return g.release(h, Unsure)
}

func (g *Lookup) confirm(h store.Held, guest events.Guest) store.Amendment {
	g.known.put(g.Clock, h.Event.Data.Session.GuestID, guest)
	return g.attach(h, guest, events.GuestConfirmed, Confirmed)
}

func (g *Lookup) attach(h store.Held, guest events.Guest, sure events.Sureness, outcome Outcome) store.Amendment {
	a := g.release(h, outcome)
	a.Guest, a.Sure = &guest, sure
	return a
}

func (g *Lookup) release(h store.Held, outcome Outcome) store.Amendment {
	g.conclude(h.Seq, h.Event.Data.Session.ID, outcome)
	return store.Amendment{Seq: h.Seq}
}

// conclude forgets an arrival and tells of its outcome.
func (g *Lookup) conclude(seq uint64, session string, outcome Outcome) {
	if g.trials[seq] != nil {
		delete(g.trials, seq)
		g.Sightings.drop(session)
	}
	if g.Observer != nil {
		g.Observer.Identified(outcome)
	}
}
