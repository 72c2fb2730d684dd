package poller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// heldEnd is a proven end that waits for the platform's own record of it: true
// end, duration and totals. It is in memory only: after a crash its session is
// found missing again.
type heldEnd struct {
	end   events.Event // as it goes out if no record comes
	since time.Time    // local clock
	askAt time.Time    // local clock: not before
	asked int
}

// Final figures. A request for them competes with the others, so that they are
// read where the budget has little better to do.
const (
	// figuresWorth is what an end with the platform's figures is worth: as much
	// as learning of a change that many seconds sooner.
	figuresWorth = 0.9
	// mostAsked is how often one end is asked about, askAgain the pause between:
	// a platform may write its record a little late.
	mostAsked = 2
	askAgain  = 3 * time.Second
	// wholeWait is how long an end waits at most where one page is all of the list:
	// nothing else would delay it there.
	wholeWait = 2 * time.Second
)

// hold takes the inferred ends out of the changes that are worth asking about, and
// those that are held already. The roster forgets them as if they were
// committed.
func (p *Poller) hold(changes []events.Event) []events.Event {
	now := p.Clock.Now()
	worth := p.FiguresWait > 0 && p.estate.Price > 0 && p.estate.Price < figuresWorth
	var kept, held []events.Event
	for _, e := range changes {
		s := &e.Data.Session
		known := p.held[s.ID] != nil
		switch {
		case e.Kind != events.Ended:
			kept = append(kept, e)
		case e.Data.Observed.End == events.EndReported:
			delete(p.held, s.ID)
			kept = append(kept, e)
		case known:
		case worth && queryOfGuest(s) != (platform.Query{}):
			p.held[s.ID] = &heldEnd{end: e, since: now}
			held = append(held, e)
		default:
			kept = append(kept, e)
		}
	}
	p.apply(held, moment{sent: now, came: now}, nil)
	return kept
}

// release publishes held ends without the platform's figures.
func (p *Poller) release(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var ends []events.Event
	for _, id := range ids {
		if h := p.held[id]; h != nil {
			ends = append(ends, h.end)
			delete(p.held, id)
		}
	}
	start := p.Clock.Now()
	if err := p.commit(ctx, ends, start); err != nil {
		return fmt.Errorf("committing %d ends without final figures: %w", len(ends), err)
	}
	p.report(&evidence{moment: moment{sent: start}}, ends, start)
	return nil
}

// letGo publishes the ends whose wait is over.
func (p *Poller) letGo(ctx context.Context, now time.Time) error {
	var due []string
	wait := p.FiguresWait
	if p.estate.Whole {
		wait = min(wait, wholeWait)
	}
	for id, h := range p.held {
		if now.Sub(h.since) >= wait || h.asked >= mostAsked {
			due = append(due, id)
		}
	}
	slices.Sort(due)
	return p.release(ctx, due)
}

// weighFigures tells the strategy which held end to ask about, and what that
// would bring: besides the figures the end itself, which has waited for them.
func (p *Poller) weighFigures(now time.Time) {
	e := &p.estate
	e.Figures, e.FiguresGain = "", 0
	for id, h := range p.held {
		gain := figuresWorth + now.Sub(h.since).Seconds()
		if now.Before(h.askAt) || gain < e.FiguresGain {
			continue
		}
		// Of those that have waited equally long any will do, as long as it is the same
		// one each time.
		if gain > e.FiguresGain || id < e.Figures {
			e.Figures, e.FiguresGain = id, gain
		}
	}
}

// figures asks for the sessions of the guest whose session has ended, since the
// day on which it began.
func (p *Poller) figures(ctx context.Context, id string) error {
	h := p.held[id]
	if h == nil {
		return nil
	}
	query := queryOfGuest(&h.end.Data.Session)
	if started := h.end.Data.Session.StartedAt; !started.IsZero() {
		// The filter's documentation says "after" the day.
		query.StartDate = started.UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	}
	h.askAt = p.Clock.Now().Add(p.FiguresWait)
	return p.askSessions(ctx, query, func(answer platform.Page, m moment, err error) error {
		h.asked++
		h.askAt = p.Clock.Now().Add(askAgain)
		if err != nil {
			return nil
		}
		return p.take(ctx, evidence{moment: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: history})
	})
}

// queryOfGuest asks for the sessions of a session's guest, whose list fits one
// page as a rule; the zero Query where the record names no guest.
func queryOfGuest(s *events.Session) platform.Query {
	switch {
	case s.GuestID != "":
		return platform.Query{GuestID: s.GuestID, PerPage: MaxPerPage, Page: 1}
	case s.YasID != "":
		return platform.Query{YasID: s.YasID, PerPage: MaxPerPage, Page: 1}
	case len(s.DeviceMAC) == len("14:2d:27:e7:40:2b"): // and no pseudonym
		return platform.Query{DeviceMAC: s.DeviceMAC, PerPage: MaxPerPage, Page: 1}
	}
	return platform.Query{}
}
