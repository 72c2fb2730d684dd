package poller

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// past is the history from before tracking began, which is read on request beside
// everything else. Sessions that had ended by then are published as backfilled.
type past struct {
	// From is the start from which on it is asked for; zero is never.
	From time.Time
	// Done is the start from which on it was told of; zero is nothing yet.
	Done time.Time
	// Reached is the start that was reached last, on the way from the newer to the older
	// ones or the other way round.
	Reached time.Time
	// Sessions counts those told of.
	Sessions int
	// Cursor of the page to read next.
	Cursor gap
}

const (
	// pastKey names what is remembered of it. An old cursor is safe: what was told of
	// is known for days.
	pastKey = "account.past"
	// defaultPastTurn is how many looks there are to one at the past.
	defaultPastTurn = 10
	// pastOverlap is how many records its pages share: more than other pages, since
	// nothing else shows whom equal starts hide at their borders.
	pastOverlap = 10
)

// PastStatus says how far the history from before tracking began was read.
type PastStatus struct {
	// From is the start from which on it was asked for, Done that from which on it was
	// told of. Zero is never.
	From, Done time.Time
	// Reached is how far the reading under way has come; zero where none is.
	Reached time.Time
	// Sessions counts those told of.
	Sessions int
	// Waits says why nothing is read at the moment; empty where something is.
	Waits string
}

// Backfill asks for the history of sessions that began at a time or later and ended
// before tracking began. It is read at low priority, one request in Settings.PastTurn, and goes on
// where it was after a restart. Asking again for what was told of already does nothing;
// an earlier time adds to it. It may be called from any goroutine, and takes effect
// with the next request. A time that is not in the past is an error.
func (p *Poller) Backfill(since time.Time) error {
	if now := p.Clock.Now(); since.IsZero() || !since.Before(now) {
		return fmt.Errorf("a backfill since %s: use a time in the past", since.Format(time.RFC3339))
	}
	p.board.ask(since.UTC())
	return nil
}

// askedBack takes what Backfill asked for.
func (p *Poller) askedBack() error {
	since := p.board.asked()
	h := &p.history.backfill
	if since.IsZero() || !h.Done.IsZero() && !since.Before(h.Done) || !h.From.IsZero() && !since.Before(h.From) {
		return nil
	}
	h.From, h.Reached, h.Cursor = since, time.Time{}, gap{}
	p.Logger.Info("the history from before tracking began is read beside the rest", "since", since)
	return p.remember(pastKey, h)
}

// open reports whether something is left to read.
func (h *past) open() bool { return !h.From.IsZero() && (h.Done.IsZero() || h.From.Before(h.Done)) }

// pastDue reports whether the next request goes into it.
func (p *Poller) pastDue() bool {
	return p.history.backfill.open() && p.history.waits() == "" && p.view.Turn%cmp.Or(p.PastTurn, defaultPastTurn) == 0 && !p.requests.asking(plan.Past, "")
}

// waits says why the past cannot be read now.
func (r *historyReader) waits() string {
	switch {
	case !r.backfill.open():
		return ""
	case r.wide.Since.IsZero():
		return "tracking has not begun"
	case r.probe.Direction == "":
		return "the order of the history is not known"
	case len(r.probe.Gaps) > 0:
		return "what was missed lately comes first"
	}
	return ""
}

// readPast reads the next page of it.
func (p *Poller) readPast(ctx context.Context) error {
	h, g := &p.history.backfill, &p.history.backfill.Cursor
	span := diff.Span{From: h.From, To: h.Done}
	if p.history.probe.Direction == order.OldestFirst {
		if g.Date == "" {
			g.Date, g.Page = dayBefore(h.From), 1
		}
		query := platform.Query{StartDate: g.Date, Page: g.Page, PerPage: plan.MaxPerPage}
		return p.askPast(ctx, query, span, func(answer platform.Page, _ timing) error {
			_, newest := startsOf(answer.Sessions)
			g.Page++
			return p.history.cameTo(answer, newest, !answer.More || newest.After(p.wide.Since))
		})
	}
	w := p.windowFrom(g.Covered, pastOverlap)
	return p.askPast(ctx, platform.Query{Page: w.Number, PerPage: w.Size}, span, func(answer platform.Page, _ timing) error {
		oldest, _ := startsOf(answer.Sessions)
		g.Covered = w.Start() + positions(answer, w)
		return p.history.cameTo(answer, oldest, !answer.More || answer.Records == 0 || !oldest.IsZero() && oldest.Before(h.From.Add(-frontierSlack)))
	})
}

// cameTo goes on from a page that reaches to a start.
func (r *historyReader) cameTo(answer platform.Page, start time.Time, done bool) error {
	h := &r.backfill
	if !start.IsZero() {
		h.Reached = start
	}
	if done {
		h.Done, h.Reached, h.Cursor = h.From, time.Time{}, gap{}
		r.Logger.Info("the history from before tracking began is complete", "since", h.From, "sessions", h.Sessions)
	} else if r.Clock.Now().Sub(r.savedAt) < probeSaving {
		return nil
	}
	r.savedAt = r.Clock.Now()
	return r.remember(pastKey, h)
}

func (r *historyReader) status() PastStatus {
	h := &r.backfill
	return PastStatus{From: h.From, Done: h.Done, Reached: h.Reached, Sessions: h.Sessions, Waits: r.waits()}
}

// toldOfPast counts the sessions of the past that were committed.
func (r *historyReader) told(changes []events.Event) {
	for i := range changes {
		if changes[i].Kind == events.Ended {
			r.backfill.Sessions++
		}
	}
}
