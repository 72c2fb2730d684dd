package poller

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/poller/platform"
)

// sweep goes over the account's online sessions page by page, again and again.
// Each page is worked in as it comes: waiting for the last one would double the
// delay of most ends.
//
// Pages do not overlap here, as they do in a listing: what falls into the gap
// between two of them is neither proven nor disproven, and has its turn in the
// next round. That costs less than reading records twice.
type sweep struct {
	began time.Time // local clock: when the round began
	from  time.Time // platform's clock: when it did
	going bool      // a round is under way
	whole bool      // its pages were all read, one after another, and none had a skipped record
	next  int       // number of the page that follows in turn, counted from 0
	size  int       // records a page
	tail  bool      // the ring's last session is the last page's last
	fixed bool      // the platform has a page size of its own
	// wanted is the share of records that belong to wanted locations, smoothed.
	wanted float64
}

// sweepOn asks for the page of the account's online sessions that brings most,
// or for the one in turn: until the list's order is established, and for who
// wants nothing else.
func (p *Poller) sweepOn(ctx context.Context, inTurn bool) error {
	inTurn = inTurn || !p.roster.established()
	c := p.aim.choice
	if inTurn {
		c = choice{window: window{p.sweep.next + 1, p.sweep.size}, turn: true}
	}
	p.looking.InTurn, p.looking.window = inTurn, c.window
	online := true
	return p.askSessions(ctx, platform.Query{Online: &online, Page: c.number, PerPage: c.size}, func(answer platform.Page, m moment, err error) error {
		if err != nil {
			return nil
		}
		return p.sweptOver(ctx, answer, m, c, inTurn)
	})
}

// sweptOver works in the page of a choice.
func (p *Poller) sweptOver(ctx context.Context, answer platform.Page, m moment, c choice, inTurn bool) error {
	s, w := &p.sweep, c.window
	p.note("", answer)
	if size := sizeOf(answer, w); size != w.size && answer.More {
		// The platform has page sizes of its own: read them as they are.
		p.Logger.Warn("the platform ignores per_page", "asked", w.size, "got", size)
		s.size, s.fixed, s.going, s.next, s.tail = size, true, false, 0, false
		return nil
	}
	if inTurn && !s.going {
		s.began, s.from, s.going, s.whole = m.sent, m.from, true, true
	}
	whole := len(answer.Skipped) == 0
	pg := page{
		moment: m, sessions: answer.Sessions, first: w.number == 1, last: !answer.More && answer.Records > 0,
		follows: inTurn && s.tail,
	}
	if err := p.workIn(ctx, pg, whole, false); err != nil {
		return err
	}
	p.aim.surge.page()
	if answer.Records == 0 && w.number > 1 {
		p.beyond(w.start())
	} else {
		p.anchor(pg, c)
		p.aim.bounded(w.start()+positions(answer, w), answer.More, m.came)
	}
	p.unfound(c.must, m.sent)
	p.learnDirection(answer.Sessions)
	if !inTurn {
		s.going, s.next, s.tail = false, 0, false
		return nil
	}
	s.whole = s.whole && whole
	s.next++
	last := p.roster.ring.last()
	s.tail = len(answer.Sessions) > 0 && last != nil && last.id == answer.Sessions[len(answer.Sessions)-1].ID
	if !answer.More || answer.Records == 0 || s.next >= maxPages {
		return p.swept()
	}
	return nil
}

// swept ends a round: every location was looked at, each as long ago as the
// session of it that was seen least lately.
func (p *Poller) swept() error {
	s := &p.sweep
	now := p.Clock.Now()
	p.roster.complete = p.roster.complete || s.whole
	p.tended = now
	p.tend(now, s.began)
	s.going, s.next, s.tail = false, 0, false
	if !s.whole || !p.wide.Since.IsZero() {
		return nil
	}
	p.wide = diff.Tracking{Since: s.from, SeenAt: s.from}
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
	at := now
	if e.Probing {
		at = p.probe.at
	}
	if oldest := p.roster.oldest(now); oldest != nil && !e.Probing && oldest.seen.Before(at) {
		// Arrivals may stand anywhere.
		at = oldest.seen
	}
	return at
}

// overdue queues for verification the sessions that no page showed or proved gone
// in the time that two rounds and more take: they stood in the gap between two pages each
// time, or their place in the list was never seen.
func (p *Poller) overdue(now time.Time) {
	if !p.roster.established() || len(p.estate.Missing) > 0 {
		return
	}
	const most = 10
	pages := float64(len(p.roster.entries)) / MaxPerPage
	limit := max(time.Duration((2.4*pages/p.estate.Budget+10)*float64(time.Second)), p.estate.Overdue*5/4)
	if p.estate.Missed {
		limit *= 2 // reading what was missed slows the rounds
	}
	var late []*entry
	t := p.roster.seconds(now)
	before := t - limit.Seconds()
	for _, b := range p.roster.ring.blocks {
		if b.refresh(t); b.oldest.at < before {
			late = append(late, b.oldest)
		}
	}
	for e := range p.roster.loose {
		// The sweep has been by, and no page is read for what has no place.
		if age := now.Sub(e.seen); age > limit || p.estate.Overdue > 0 && age > p.estate.Overdue*3/4 {
			late = append(late, e)
		}
	}
	// First where one page of a location's list answers for most, then those that
	// were not seen for longest.
	for _, e := range late {
		e.place.missing = 0
	}
	for _, e := range late {
		if e.place.Cost() == 1 && !p.roaming {
			e.place.missing++
		}
	}
	slices.SortFunc(late, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.place.missing, a.place.missing), a.seen.Compare(b.seen), cmp.Compare(a.id, b.id))
	})
	for _, e := range late[:min(most, len(late))] {
		p.miss(e.id)
	}
}

// unfound gives up on the session that a page was asked for and did not show, nor
// prove gone: its place in the list is not what the ring has. It is asked about.
func (p *Poller) unfound(e *entry, sent time.Time) {
	if e == nil || e.block == nil || !e.seen.Before(sent) {
		return
	}
	if e.sought++; e.sought < mostSought {
		return
	}
	p.roster.unlink(e)
	e.sought = 0
	p.miss(e.id)
}

// mostSought is how many pages are asked for around a session that they do not
// show.
const mostSought = 2

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
	e.Reading = p.reading()
	if e.DiscoveryDue && len(e.Places) > 0 && !e.Surveying {
		// Its pages alternate with other looks, and nothing waits for its budget.
		budget := p.Budgets[platform.Locations]
		e.DiscoveryDue = p.looking.Kind != Discover && !budget.Next(now).After(now) &&
			(budget != p.Budgets[platform.Sessions] || !p.discovery.again || e.Turn%discoverTurn == 0)
	}
	_, limit := p.Budgets[platform.Sessions].Used(now)
	e.Budget = float64(limit) / Window.Seconds()
	e.Online = len(p.roster.entries)
	e.Ordered = p.roster.established()
	if !e.Ordered && p.roster.contradictions >= disorderly && now.Sub(p.disordered) > recheck {
		p.disordered = now
		p.roster.contradictions, p.roster.needed = disorderly-1, establishing
	}
	e.Learning = !e.Ordered && p.roster.contradictions < disorderly
	e.Probing = e.Ordered && p.probe.possible(now)
	e.rates(now)
	e.ProbeAge = p.probe.age(now)
	e.Missed = e.Probing && len(p.probe.Gaps) > 0
	if p.flying(Probe, "") || p.flying(Backfill, "") {
		e.ProbeAge, e.Missed = 0, false // They share a cursor.
	}
	p.tendOften(now)
	p.overdue(now)
	if e.Ordered {
		p.choosePage(now, e.Overdue)
		e.Due = p.aim.must != nil
		if e.SweepGain = p.aim.gain; e.Due {
			e.SweepGain = p.aim.most
		}
	}
	p.weighFigures(now)
}

// discoverTurn is how many looks there are to a page of /locations that is read
// again, where both spend the same budget.
const discoverTurn = 10

// disorderly is how many contradictions in a row make the list count as without
// order, recheck how long until that is tried again.
const (
	disorderly = 4
	recheck    = 30 * time.Minute
)
