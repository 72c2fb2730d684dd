package poller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// pendingEnd is a proven end that waits for the platform's own record of it: true
// end, duration and totals. It is in memory only: after a crash its session is
// found missing again.
type pendingEnd struct {
	end   events.Event // as it goes out if no record comes
	since time.Time    // local clock
	askAt time.Time    // local clock: not before
	asked int
}

// pendingEnds are the proven ends that wait for their final figures.
type pendingEnds struct {
	*Settings
	ends map[string]*pendingEnd // by session
}

// Final figures. A request for them competes with the others, so that they are
// read where the budget has little better to do.
const (
	// mostAsked is how often one end is asked about, askAgain the pause between:
	// a platform may write its record a little late.
	mostAsked = 2
	askAgain  = 3 * time.Second
	// wholeWait is how long an end waits at most where one page is all of the list:
	// nothing else would delay it there.
	wholeWait = 2 * time.Second
)

// awaitFigures takes the inferred ends out of the changes that are worth asking about, and
// those that wait already. The roster forgets them as if they were
// committed.
func (k *ledger) awaitFigures(changes []events.Event) []events.Event {
	now := k.Clock.Now()
	worth := k.FiguresWait > 0 && k.planned.Price > 0 && k.planned.Price < plan.FiguresWorth
	ready, waiting := k.pending.sort(changes, worth, now)
	k.apply(waiting, timing{sent: now, came: now})
	return ready
}

// sort tells the changes to commit now, which take the place of all, from the ends that
// begin to wait.
func (p *pendingEnds) sort(changes []events.Event, worth bool, now time.Time) (ready, waiting []events.Event) {
	ready = changes[:0]
	for i := range changes {
		e := &changes[i]
		s := &e.Data.Session
		known := p.ends[s.ID] != nil
		switch {
		case e.Kind != events.Ended:
			ready = append(ready, *e)
		case e.Data.Observed.End == events.EndReported:
			delete(p.ends, s.ID)
			ready = append(ready, *e)
		case known:
		case worth && queryOfGuest(s) != (platform.Query{}):
			p.ends[s.ID] = &pendingEnd{end: *e, since: now}
			waiting = append(waiting, *e)
		default:
			ready = append(ready, *e)
		}
	}
	return ready, waiting
}

// release publishes ends that wait without the platform's figures.
func (k *ledger) release(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var ends []events.Event
	for _, id := range ids {
		if h := k.pending.ends[id]; h != nil {
			ends = append(ends, h.end)
			delete(k.pending.ends, id)
		}
	}
	start := k.Clock.Now()
	if err := k.commits.commit(ctx, ends, start); err != nil {
		return fmt.Errorf("committing %d ends without final figures: %w", len(ends), err)
	}
	k.report(&evidence{timing: timing{sent: start}}, ends, start, start)
	return nil
}

// overdue returns the ends whose wait is over.
func (p *pendingEnds) overdue(now time.Time, whole bool) (due []string) {
	wait := p.FiguresWait
	if whole {
		wait = min(wait, wholeWait)
	}
	for id, h := range p.ends {
		if now.Sub(h.since) >= wait || h.asked >= mostAsked {
			due = append(due, id)
		}
	}
	slices.Sort(due)
	return due
}

// next returns which end to ask about, empty for none, and what that
// would bring: besides the figures the end itself, which has waited for them.
func (p *pendingEnds) next(now time.Time) (id string, gain float64) {
	for other, h := range p.ends {
		g := plan.FiguresWorth + now.Sub(h.since).Seconds()
		if now.Before(h.askAt) || g < gain {
			continue
		}
		// Of those that have waited equally long any will do, as long as it is the same
		// one each time.
		if g > gain || other < id {
			id, gain = other, g
		}
	}
	return id, gain
}

// figures asks for the sessions of the guest whose session has ended, since the
// day on which it began.
func (p *Poller) figures(ctx context.Context, id string) error {
	h := p.pending.ends[id]
	if h == nil {
		return nil
	}
	query := queryOfGuest(&h.end.Data.Session)
	if started := h.end.Data.Session.StartedAt; !started.IsZero() {
		// The filter's documentation says "after" the day.
		query.StartDate = started.UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	}
	h.askAt = p.Clock.Now().Add(p.FiguresWait)
	return p.askSessions(ctx, query, func(answer platform.Page, m timing, err error) error {
		h.asked++
		h.askAt = p.Clock.Now().Add(askAgain)
		if err != nil {
			return nil
		}
		return p.take(ctx, evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: ofHistory})
	})
}

// queryOfGuest asks for the sessions of a session's guest, whose list fits one
// page as a rule; the zero Query where the record names no guest.
func queryOfGuest(s *events.Session) platform.Query {
	switch {
	case s.GuestID != "":
		return platform.Query{GuestID: s.GuestID, PerPage: plan.MaxPerPage, Page: 1}
	case s.YasID != "":
		return platform.Query{YasID: s.YasID, PerPage: plan.MaxPerPage, Page: 1}
	case len(s.DeviceMAC) == len("14:2d:27:e7:40:2b"): // and no pseudonym
		return platform.Query{DeviceMAC: s.DeviceMAC, PerPage: plan.MaxPerPage, Page: 1}
	}
	return platform.Query{}
}
