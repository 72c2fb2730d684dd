package poller

import (
	"context"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// sweep goes over the account's online sessions: in turn, page by page, or where
// the order permits, to the page that is worth most.
type sweep struct {
	reading *reading // of the round under way; nil outside of one
	rounds  int      // made so far
	pages   int      // read in turn so far
	whole   bool     // the last page of a round was all of the list
	// pace is the time between two pages, smoothed, at when the last one was asked for.
	pace time.Duration
	at   time.Time // local clock
}

// sweepOn asks for the page of the account's online sessions that brings most,
// or for the one in turn: until the list's order is established, and for a strategy
// that wants nothing else.
func (p *Poller) sweepOn(ctx context.Context, look plan.Look) error {
	s, t := &p.sweep, p.roster.track
	if look.InTurn = look.InTurn || !p.accountList.Established(); look.InTurn {
		if s.reading == nil {
			s.reading = newReading(p.Clock.Now(), s.rounds)
		}
		if t.Fixed {
			s.reading.fixed = t.Size
		}
		look.Page, look.For, look.Follows = s.reading.next(), nil, true
	}
	p.requests.looking = look
	online := true
	return p.askSessions(ctx, platform.Query{Online: &online, Page: look.Page.Number, PerPage: look.Page.Size}, func(answer platform.Page, m timing, err error) error {
		if err != nil {
			return nil
		}
		return p.swept(ctx, look, answer, m)
	})
}

// swept takes the page that a look was for.
func (p *Poller) swept(ctx context.Context, look plan.Look, answer platform.Page, m timing) error {
	s, t, w := &p.sweep, p.roster.track, look.Page
	if size := sizeOf(answer, w); size != w.Size && answer.More {
		// The platform has page sizes of its own: read them as they are.
		p.Logger.Warn("the platform ignores per_page", "asked", w.Size, "got", size)
		t.Size, t.Fixed, s.reading = size, true, nil
		p.watched.sized(size)
		if p.wide.Since.IsZero() {
			p.wide.Since = m.from
		}
		// Who is on it is online. Who is not may be anywhere.
		return p.take(ctx, evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped})
	}
	r := s.reading
	done := look.InTurn && r != nil && r.add(answer, m)
	if p.wide.Since.IsZero() {
		p.wide.Since = m.from
	}
	ev := evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: ofAccount, first: w.Number == 1, last: ends(answer, w)}
	if err := p.take(ctx, ev); err != nil {
		return err
	}
	if !s.at.IsZero() {
		s.pace += (m.sent.Sub(s.at) - s.pace) / paceMemory
	}
	s.at = m.sent
	t.Found(p.roster.rowsOf(answer.Sessions), w, positions(answer, w), answer.More, look.Follows, m.came)
	if ev.first && p.accountList.Direction == order.NewestFirst || ev.last && p.accountList.Direction == order.OldestFirst {
		t.Edge(m.sent)
	}
	p.missing.unfound(p.roster.entry(look.For), m.sent)
	if w.Number == 1 {
		s.whole = ev.last
	}
	if !look.InTurn {
		s.reading = nil
		return nil
	}
	s.pages++
	if !done {
		return nil
	}
	s.reading = nil
	s.rounds++
	if r.repeats {
		p.odd(repeating, "location", "")
	}
	if err := p.finished(ctx, r, nil); err != nil {
		return err
	}
	if !p.wide.SeenAt.IsZero() {
		return nil
	}
	p.wide.SeenAt, p.unread = r.from, r.unread
	return p.remember(wideKey, p.wide)
}

// tending is the time between two times that this is done, for each session,
// since it walks over all of them.
const tending = 8 * time.Millisecond

// tendOften does that where sweeps are not made in rounds.
func (p *Poller) tendOften(now time.Time) {
	if now.Sub(p.tended) < time.Duration(p.roster.len())*tending {
		return
	}
	if at := p.certain(now); !at.IsZero() {
		p.tended = now
		p.tend(now, at)
	}
}

// certain is when everything that came before was known in all of the account:
// arrivals, and what became of each session. Zero means that it is only known
// location by location.
func (p *Poller) certain(now time.Time) time.Time {
	v := &p.view
	if !v.Ordered || v.Missed || v.Probing && p.history.probe.at.IsZero() {
		return time.Time{}
	}
	if v.Probing {
		return p.history.probe.at
	}
	if oldest := p.roster.oldest(now); oldest != nil && oldest.Seen.Before(now) {
		// Nobody looks for arrivals but the sweep.
		return oldest.Seen
	}
	return now
}

// foresee fills in what the strategy decides on.
func (p *Poller) foresee(now time.Time) {
	v, q := &p.view, p.requests
	discovering := q.asking(plan.Discover, "") || q.asking(plan.Survey, "")
	v.DiscoveryDue, v.Surveying = p.discovery.due(now) && !discovering, p.discovery.surveying
	v.Locations, v.Reading, v.Sweeping = p.watched.plan, p.watched.reading(), q.asking(plan.Sweep, "")
	if v.DiscoveryDue && len(v.Locations) > 0 && !v.Surveying {
		// Its pages alternate with other looks, and nothing waits for its budget.
		limit := p.Budgets[platform.Locations]
		v.DiscoveryDue = q.looking.Kind != plan.Discover && !limit.Next(now).After(now) &&
			(limit != p.Budgets[platform.Sessions] || !p.discovery.again || v.Turn%discoverTurn == 0)
	}
	_, limit := p.Budgets[platform.Sessions].Used(now)
	v.Budget = float64(limit) / budget.Window.Seconds()
	v.Online = p.roster.len()
	v.Ordered, v.Whole = p.accountList.Established(), p.sweep.whole && v.Online < wholeMost
	p.whole = v.Whole
	if !v.Ordered && now.Sub(p.disordered) > recheck {
		p.disordered, p.sweep.rounds, p.sweep.pages = now, 0, 0
		if p.accountList.Contradictions >= disorderly {
			p.accountList.Retry()
		}
	}
	v.Learning = p.wide.SeenAt.IsZero() || !v.Ordered && p.accountList.Contradictions < disorderly && (p.sweep.rounds < learning || p.sweep.pages < learningPages)
	v.Promising = !v.Ordered && p.accountList.Contradictions == 0
	v.Probing = v.Ordered && p.history.probe.possible(now)
	v.Rates, v.Track = p.rates(), p.roster.track
	v.Rates.Pass(now, v.Online)
	v.ProbeAge = p.history.probe.age(now)
	v.Missed = v.Probing && len(p.history.probe.Gaps) > 0
	if q.asking(plan.Probe, "") || q.asking(plan.Backfill, "") {
		v.ProbeAge, v.Missed = 0, false // They share a cursor.
	}
	p.tendOften(now)
	p.departures.survey(now, p.checks.tells)
	v.Departures, v.DeparturesGain = nil, 0
	if v.Probing {
		v.Departures, v.DeparturesGain = p.departures.next(now)
	}
	v.Followed = p.departures.follows
	p.missing.overdue(now, v, p.planned.Overdue, p.sweep.pace)
	p.missing.weigh(now)
	v.Missing, v.Sooner, v.Unsettled = p.missing.ids, p.missing.sooner, p.watched.unsettled()
	v.Asked = q.pagesAsked(v.Asked[:0])
	v.Placed = p.roster.placed
	v.Figures, v.FiguresGain = p.pending.next(now)
	p.checks.weigh(now, v)
}

// paceMemory is over how many pages the pace is smoothed.
const paceMemory = 30

// discoverTurn is how many looks there are to a page of /locations that is read
// again, where both spend the same budget.
const discoverTurn = 10

// disorderly is how many contradictions in a row make the list count as without
// order, learning how many rounds without enough evidence do, of so many pages at
// least, recheck how long until that is tried again. Below wholeMost sessions, the list probably fits one page.
const (
	disorderly    = 4
	learning      = 2
	learningPages = 40
	recheck       = 30 * time.Minute
	wholeMost     = 95
)
