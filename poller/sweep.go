package poller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/platform"
)

// sweep goes over the account's online sessions: in turn, page by page, or where
// the order permits, to the page that is worth most.
type sweep struct {
	reading *reading // of the round under way; nil outside of one
	rounds  int      // made so far
	pages   int      // read in turn so far
	size    int      // records a page
	fixed   bool     // the platform has a page size of its own
	whole   bool     // the last page of a round was all of the list
	// pace is the time between two pages, smoothed, at when the last one was asked for.
	pace time.Duration
	at   time.Time // local clock
	// wanted is the share of records that belong to wanted locations, smoothed.
	wanted float64
}

// sweepOn asks for the page of the account's online sessions that brings most,
// or for the one in turn: until the list's order is established, and for a strategy
// that wants nothing else.
func (p *Poller) sweepOn(ctx context.Context, inTurn bool) error {
	inTurn = inTurn || !p.online.Established()
	s, c := &p.sweep, p.aim.choice
	if inTurn {
		if s.reading == nil {
			s.reading = newReading(p.Clock.Now(), s.rounds)
		}
		if s.fixed {
			s.reading.fixed = s.size
		}
		c = choice{window: s.reading.next(), turn: true}
	}
	p.looking.InTurn, p.looking.window = inTurn, c.window
	online := true
	return p.askSessions(ctx, platform.Query{Online: &online, Page: c.number, PerPage: c.size}, func(answer platform.Page, m moment, err error) error {
		if err != nil {
			return nil
		}
		return p.swept(ctx, answer, m, c, inTurn)
	})
}

// swept takes the page of a choice.
func (p *Poller) swept(ctx context.Context, answer platform.Page, m moment, c choice, inTurn bool) error {
	s, w := &p.sweep, c.window
	if size := sizeOf(answer, w); size != w.size && answer.More {
		// The platform has page sizes of its own: read them as they are.
		p.Logger.Warn("the platform ignores per_page", "asked", w.size, "got", size)
		s.size, s.fixed, s.reading = size, true, nil
		return nil
	}
	r := s.reading
	done := inTurn && r != nil && r.add(answer, m)
	if p.wide.Since.IsZero() {
		p.wide.Since = m.from
	}
	ev := evidence{moment: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: account, first: w.number == 1, last: ends(answer, w)}
	if err := p.take(ctx, ev); err != nil {
		return err
	}
	if !s.at.IsZero() {
		s.pace += (m.sent.Sub(s.at) - s.pace) / paceMemory
	}
	s.at = m.sent
	p.aim.surge.page()
	if answer.Records == 0 && w.number > 1 {
		p.beyond(w.start())
	} else {
		p.anchor(answer.Sessions, m, c)
		p.aim.bounded(w.start()+positions(answer, w), answer.More, m.came)
	}
	if ev.first && p.online.Direction == order.NewestFirst || ev.last && p.online.Direction == order.OldestFirst {
		p.aim.edge = m.sent
	}
	if n := len(answer.Sessions); n > 0 {
		s.wanted += 0.1 * (float64(len(p.wantedOf(answer.Sessions)))/float64(n) - s.wanted)
	}
	p.unfound(c.must, m.sent)
	if w.number == 1 {
		s.whole = ev.last
	}
	if !inTurn {
		s.reading = nil
		return nil
	}
	s.pages++
	if !done {
		return nil
	}
	s.reading = nil
	s.rounds++
	if err := p.finished(ctx, r, nil); err != nil {
		return err
	}
	if !p.wide.SeenAt.IsZero() {
		return nil
	}
	p.wide.SeenAt = r.from
	return p.remember(wideKey, p.wide)
}

// tend brings what is known of each location up to date: everything that came
// before at is known, and each location is as old as the session of it that was
// seen least lately.
func (p *Poller) tend(now, at time.Time) {
	for _, place := range p.estate.Places {
		place.learned.pass(now)
		place.lately = at
	}
	lately := func(e *entry) {
		if e.seen.Before(e.place.lately) {
			e.place.lately = e.seen
		}
	}
	for _, b := range p.roster.ring.blocks {
		for _, e := range b.entries {
			lately(e)
		}
	}
	for e := range p.roster.loose {
		lately(e)
	}
	for _, place := range p.estate.Places {
		if place.lately.After(place.SeenAt) {
			place.SeenAt = place.lately
		}
	}
}

// tending is the time between two times that this is done, for each session,
// since it walks over all of them.
const tending = 8 * time.Millisecond

// tendOften does that where sweeps are not made in rounds.
func (p *Poller) tendOften(now time.Time) {
	if now.Sub(p.tended) < time.Duration(len(p.roster.entries))*tending {
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
	e := &p.estate
	if !e.Ordered || e.Missed || e.Probing && p.probe.at.IsZero() {
		return time.Time{}
	}
	if e.Probing {
		return p.probe.at
	}
	if oldest := p.roster.oldest(now); oldest != nil && oldest.seen.Before(now) {
		// Nobody looks for arrivals but the sweep.
		return oldest.seen
	}
	return now
}

// wideKey names the tracking of the account as a whole: a location that turns up
// later is new, not found.
const wideKey = "account.tracking"

func (p *Poller) remember(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := p.Store.Put(key, b); err != nil {
		return fmt.Errorf("remembering %s: %w", key, err)
	}
	return nil
}

// recall reads what remember wrote; what cannot be read counts as never learned.
func (p *Poller) recall(key string, v any) error {
	b, err := p.Store.Get(key)
	if err != nil {
		return fmt.Errorf("recalling %s: %w", key, err)
	}
	if len(b) > 0 && json.Unmarshal(b, v) != nil {
		p.Logger.Warn("what was learned earlier cannot be read and is learned anew", "what", key)
	}
	return nil
}

// foresee fills in what the strategy decides on.
func (p *Poller) foresee(now time.Time) {
	e := &p.estate
	discovering := p.flying(Discover, "") || p.flying(Survey, "")
	e.DiscoveryDue, e.Surveying = p.discovery.due(now) && !discovering, p.discovery.surveying
	e.Reading, e.Sweeping = p.reading(), p.flying(Sweep, "")
	if e.DiscoveryDue && len(e.Places) > 0 && !e.Surveying {
		// Its pages alternate with other looks, and nothing waits for its budget.
		budget := p.Budgets[platform.Locations]
		e.DiscoveryDue = p.looking.Kind != Discover && !budget.Next(now).After(now) &&
			(budget != p.Budgets[platform.Sessions] || !p.discovery.again || e.Turn%discoverTurn == 0)
	}
	_, limit := p.Budgets[platform.Sessions].Used(now)
	e.Budget = float64(limit) / budget.Window.Seconds()
	e.Online = len(p.roster.entries)
	e.Ordered, e.Whole = p.online.Established(), p.sweep.whole && e.Online < wholeMost
	if !e.Ordered && now.Sub(p.disordered) > recheck {
		p.disordered, p.sweep.rounds, p.sweep.pages = now, 0, 0
		if p.online.Contradictions >= disorderly {
			p.online.Retry()
		}
	}
	e.Learning = p.wide.SeenAt.IsZero() || !e.Ordered && p.online.Contradictions < disorderly && (p.sweep.rounds < learning || p.sweep.pages < learningPages)
	e.Promising = !e.Ordered && p.online.Contradictions == 0
	e.Probing = e.Ordered && p.probe.possible(now)
	e.rates(now)
	e.ProbeAge = p.probe.age(now)
	e.Missed = e.Probing && len(p.probe.Gaps) > 0
	if p.flying(Probe, "") || p.flying(Backfill, "") {
		e.ProbeAge, e.Missed = 0, false // They share a cursor.
	}
	p.tendOften(now)
	p.overdue(now)
	p.weighMissing(now)
	e.Unsettled = p.unsettled()
	if e.Ordered {
		p.choosePage(now, e.Overdue)
		e.Due = p.aim.must != nil
		if e.SweepGain = p.aim.gain; e.Due {
			e.SweepGain = p.aim.most
		}
	}
	p.weighFigures(now)
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
