package poller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
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
	back  bool      // the round goes from the last page to the first
	next  int       // number of the page that follows in turn, counted from 0
	size  int       // records a page
	last  []string  // ids on the last page, in order
	tail  bool      // the ring's last session is the last page's last
	// wanted is the share of records that belong to wanted locations, smoothed.
	wanted float64
}

// choices is how many of the pages behind the last one are weighed against each
// other: one that a probe or a look at a location has just shown is passed over.
const choices = 3

// sweepOn asks for the page of the account's online sessions that brings most.
func (p *Poller) sweepOn(ctx context.Context) error {
	s := &p.sweep
	number, _ := p.aim(p.Clock.Now())
	if s.going && (number < s.next) != s.back && number != s.next {
		if err := p.swept(); err != nil {
			return err
		}
	}
	began := p.Clock.Now()
	online := true
	answer, from, at, sent, err := p.askSessions(ctx, platform.Query{Online: &online, Page: number + 1, PerPage: s.size})
	if err != nil {
		return ctx.Err()
	}
	p.note("", answer)
	if !s.going {
		s.began, s.from, s.going, s.whole = began, from, true, number == 0 && !s.back
	}
	if size := sizeOf(answer, window{number + 1, s.size}); size != s.size && answer.More {
		// The platform has page sizes of its own: read them as they are.
		p.Logger.Warn("the platform ignores per_page", "asked", s.size, "got", size)
		s.size, s.going, s.next, s.last, s.tail = size, false, 0, nil, false
		s.back = false
		return nil
	}
	whole := len(answer.Skipped) == 0
	pg := page{
		sessions: answer.Sessions, sent: sent, first: number == 0, last: !answer.More && answer.Records > 0,
		follows: s.tail && !s.back && number == s.next,
	}
	if err := p.workIn(pg, whole, false, from, at); err != nil {
		return err
	}
	s.whole = s.whole && whole && number == s.next
	s.next = number + s.step()
	s.last = s.last[:0]
	for i := range answer.Sessions {
		s.last = append(s.last, answer.Sessions[i].ID)
	}
	s.tail = len(s.last) > 0 && p.roster.root.prev.id == s.last[len(s.last)-1]
	p.learnDirection(answer.Sessions)
	if s.back && number == 0 || !s.back && (!answer.More || answer.Records == 0 || number >= maxPages) {
		return p.swept()
	}
	return nil
}

// step is what the number of the next page differs by.
func (s *sweep) step() int {
	if s.back {
		return -1
	}
	return 1
}

// start is the page that a round begins with, given how many sessions the list
// has.
func (s *sweep) start(sessions int) int {
	if s.back {
		return max(0, (sessions-1)/s.size)
	}
	return 0
}

// swept ends a round: every location was looked at, each as long ago as the
// session of it that was seen least lately.
func (p *Poller) swept() error {
	s := &p.sweep
	now := p.Clock.Now()
	for _, place := range p.estate.Places {
		place.learned.pass(now, place.Online)
		place.lately = s.began
	}
	for _, e := range p.roster.entries {
		if e.seen.Before(e.place.lately) {
			e.place.lately = e.seen
		}
	}
	for _, place := range p.estate.Places {
		if place.lately.After(place.SeenAt) {
			place.SeenAt = place.lately
		}
	}
	p.overdue(now)
	s.back = p.roster.established() && p.probe.Direction == oldestFirst
	s.going, s.next, s.last, s.tail = false, s.start(len(p.roster.entries)), nil, false
	if !s.whole || !p.wide.Since.IsZero() {
		return nil
	}
	p.wide = diff.Tracking{Since: s.from, SeenAt: s.from}
	return p.remember(wideKey, p.wide)
}

// overdue queues for verification the sessions that no page of the last two
// rounds showed or proved gone: they stood in the gap between two pages each
// time, or their place in the list was never seen.
func (p *Poller) overdue(now time.Time) {
	if !p.roster.established() || len(p.estate.Missing) > 0 {
		return
	}
	const most = 10
	limit := 2*now.Sub(p.sweep.began) + 10*time.Second
	for id, e := range p.roster.entries {
		if now.Sub(e.seen) > limit {
			p.estate.Missing = append(p.estate.Missing, id)
			if len(p.estate.Missing) == most {
				return
			}
		}
	}
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

// askSessions sends one request for sessions.
func (p *Poller) askSessions(ctx context.Context, q platform.Query) (answer platform.Page, from, at, sent time.Time, err error) {
	sent = p.Clock.Now()
	from, at, err = p.ask(ctx, platform.Sessions, func() (m platform.Meta, err error) {
		answer, err = p.Platform.Sessions(ctx, q)
		return answer.Meta, err
	})
	return answer, from, at, sent, err
}

// workIn judges a page of a list of the whole account and commits what it shows.
// A page that is not whole, and one that contradicts the order, ends nothing but
// what it reports.
func (p *Poller) workIn(pg page, whole, history bool, from, at time.Time) error {
	start := p.Clock.Now()
	j := p.roster.judge(pg)
	if j.contradicted {
		p.Logger.Warn("the list's order changed: absence from a page proves nothing until it is learned anew", "contradictions", p.roster.contradictions)
	}
	ids := j.absent
	if !whole {
		ids = nil
	}
	absent := len(ids)
	for i := range pg.sessions {
		ids = append(ids, pg.sessions[i].ID)
	}
	states, err := p.Store.Find(ids)
	if err != nil {
		return fmt.Errorf("looking up %d sessions: %w", len(ids), err)
	}
	expected := make([]events.State, 0, absent)
	for _, id := range ids[:absent] {
		if s, ok := states[id]; ok && s.Session.Online {
			expected = append(expected, s)
		} else {
			p.roster.remove(id)
		}
	}
	known := diff.Known{
		Expected: expected,
		Find:     func(id string) (events.State, bool) { s, ok := states[id]; return s, ok },
		Tracking: p.tracking,
		SeenAt:   p.seenAt,
	}
	sessions := p.wantedOf(pg.sessions)
	delta := diff.Compare(known, diff.Snapshot{Sessions: sessions, From: from, At: at, Proof: diff.Atomic, History: history}, p.Rules)
	if err := p.commit(delta); err != nil {
		if errors.Is(err, store.ErrOutboxFull) {
			return nil
		}
		return fmt.Errorf("committing %d changes of a page: %w", len(delta.Changes), err)
	}
	p.apply(delta, pg.sent)
	for i := range sessions {
		p.roster.touch(sessions[i].ID, pg.sent)
	}
	p.roster.place(pg)
	if len(pg.sessions) > 0 {
		p.sweep.wanted += 0.1 * (float64(len(sessions))/float64(len(pg.sessions)) - p.sweep.wanted)
	}
	p.reportPage(pg, delta, start)
	return nil
}

// wantedOf drops the sessions of locations that are not configured.
func (p *Poller) wantedOf(sessions []events.Session) []events.Session {
	if len(p.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		if p.places[sessions[i].LocationID] != nil {
			wanted = append(wanted, sessions[i])
		}
	}
	return wanted
}

// tracking of a location: its own, or that of the whole account.
func (p *Poller) tracking(location string) diff.Tracking {
	t := p.wide
	if place, ok := p.places[location]; ok && !place.tracking.Since.IsZero() {
		t = place.tracking
	}
	return t
}

// seenAt is when a session was last seen, on the platform's clock; zero when
// that was before this process began.
func (p *Poller) seenAt(id string) time.Time {
	e := p.roster.entries[id]
	if e == nil || e.seen.Before(p.begun) {
		return time.Time{}
	}
	if p.Time == nil {
		return e.seen.UTC()
	}
	earliest, _ := p.Time.Bounds(e.seen)
	return earliest
}

// apply keeps the roster and the learned rates in step with what was committed.
func (p *Poller) apply(delta diff.Delta, sent time.Time) {
	for i := range delta.Changes {
		e := &delta.Changes[i].Event
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			place := p.place(s.LocationID, s.LocationName)
			p.roster.add(s.ID, place, sent)
			if e.Kind != events.Discovered {
				place.learned.starts++
				p.estate.learned.starts++
			}
		case e.Kind == events.Ended:
			if entry := p.roster.entries[s.ID]; entry != nil {
				entry.place.learned.ends++
			}
			p.estate.learned.ends++
			p.roster.remove(s.ID)
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			p.roster.move(s.ID, p.place(s.LocationID, s.LocationName))
		}
	}
}

// foresee fills in what the strategy decides on.
func (p *Poller) foresee(now time.Time) {
	e := &p.estate
	e.DiscoveryDue, e.Surveying = p.discovery.due(now), p.discovery.surveying
	e.Hazard = e.learned.hazard(1 / typicalStay.Seconds())
	_, limit := p.Budgets[platform.Sessions].Used(now)
	e.Budget = float64(limit) / Window.Seconds()
	e.Ordered = p.roster.established()
	if !e.Ordered && p.roster.contradictions >= disorderly && now.Sub(p.disordered) > recheck {
		p.disordered = now
		p.roster.contradictions, p.roster.needed = disorderly-1, establishing
	}
	e.Learning = !e.Ordered && p.roster.contradictions < disorderly
	e.Probing = e.Ordered && p.probe.possible(now)
	e.learned.pass(now, len(p.roster.entries))
	e.arrivals = e.learned.arrivals(len(p.roster.entries), e.Hazard)
	if e.Probing {
		age := p.probe.age(now).Seconds()
		e.ProbeGain = e.arrivals * age * age / 2
	}
	_, e.SweepGain = p.aim(now)
}

// disorderly is how many contradictions in a row make the list count as without
// order, recheck how long until that is tried again.
const (
	disorderly = 4
	recheck    = 30 * time.Minute
)

// aim returns the page, counted from 0, that the sweep should read next, and its
// gain: the expected number of ends among its sessions times how long they have
// waited, in seconds; without probes that of arrivals as well.
func (p *Poller) aim(now time.Time) (number int, gain float64) {
	s, r := &p.sweep, p.roster
	if !r.established() {
		return s.next, 0
	}
	at := p.cursor()
	arrivals := 0.0
	if !p.estate.Probing {
		arrivals = p.estate.arrivals / max(1, float64(len(r.entries)))
	}
	room := max(1, int(float64(s.size)*s.wanted))
	var gains [choices]float64
	var pages [choices]int
	at = s.after(at)
	candidate := s.next
	for i := range choices {
		if at == &r.root {
			at, candidate = s.after(at), s.start(len(r.entries))
		}
		for n := 0; at != &r.root && n < room; n++ {
			age := now.Sub(at.seen).Seconds()
			gains[i] += (at.place.learned.hazard(p.estate.Hazard) + arrivals) * age * age / 2
			at = s.after(at)
		}
		pages[i] = max(0, candidate)
		candidate += s.step()
	}
	// In turn, but for pages that another look has made worth little.
	most := slices.Max(gains[:])
	for i := range choices {
		if gains[i] >= most/2 {
			number, gain = pages[i], gains[i]
			break
		}
	}
	if len(r.entries) == 0 {
		age := now.Sub(s.began).Seconds()
		gain = (p.estate.arrivals + p.estate.Hazard) * age * age / 2
	}
	return number, gain
}

// cursor is the last session, in the direction of the round, of the last page
// that was read; the sentinel before the first one.
func (p *Poller) cursor() *entry {
	ids := p.sweep.last
	for i := range ids {
		id := ids[i]
		if !p.sweep.back {
			id = ids[len(ids)-1-i]
		}
		if e := p.roster.entries[id]; e != nil && e.key != 0 {
			return e
		}
	}
	return &p.roster.root
}

// after is what follows an entry in the direction of the round.
func (s *sweep) after(e *entry) *entry {
	if s.back {
		return e.prev
	}
	return e.next
}
