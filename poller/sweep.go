package poller

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
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
	back  bool      // the round goes from the last page to the first
	next  int       // number of the page that follows in turn, counted from 0
	size  int       // records a page
	more  bool      // the last page was not the list's last
	last  []string  // ids on the last page, in order
	tail  bool      // the ring's last session is the last page's last
	// stretches sum up the pages as of the time measured.
	stretches []stretch
	measured  time.Time
	// wanted is the share of records that belong to wanted locations, smoothed.
	wanted float64
}

// stretch sums up the sessions of one page: their rates of change, and these
// times when each was last seen. So its gain at any time costs no walk over them.
type stretch struct{ rate, seen, seen2 float64 }

func (x *stretch) add(rate, seen float64) {
	x.rate += rate
	x.seen += rate * seen
	x.seen2 += rate * seen * seen
}

// gain is the expected number of changes times how long they have waited, in
// seconds, at a time in seconds since the same beginning.
func (x *stretch) gain(now float64) float64 {
	return max(0, now*now*x.rate-2*now*x.seen+x.seen2) / 2
}

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
	if number < len(s.stretches) {
		x := &s.stretches[number]
		t := sent.Sub(p.begun).Seconds()
		*x = stretch{rate: x.rate, seen: x.rate * t, seen2: x.rate * t * t}
	}
	whole := len(answer.Skipped) == 0
	pg := page{
		sessions: answer.Sessions, sent: sent, first: number == 0, last: !answer.More && answer.Records > 0,
		follows: s.tail && !s.back && number == s.next,
	}
	if err := p.workIn(ctx, pg, whole, false, from, at); err != nil {
		return err
	}
	s.whole = s.whole && whole && number == s.next
	s.next, s.more = number+s.step(), answer.More
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
	}
	p.certify(s.began)
	p.roster.complete = p.roster.complete || s.whole
	p.overdue(now)
	s.back = p.roster.established() && p.probe.Direction == oldestFirst
	s.going, s.next, s.last, s.tail = false, s.start(len(p.roster.entries)), nil, false
	if !s.whole || !p.wide.Since.IsZero() {
		return nil
	}
	p.wide = diff.Tracking{Since: s.from, SeenAt: s.from}
	return p.remember(wideKey, p.wide)
}

// certify moves the time at which each location was last certain on: everything
// that came before at is known, and each location is as old as the session of it
// that was seen least lately.
func (p *Poller) certify(at time.Time) {
	for _, place := range p.estate.Places {
		place.lately = at
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
}

// certifying is how often that is done where probes show all arrivals; it walks
// over all sessions. Without probes it takes a whole sweep.
const certifying = 5 * time.Second

// overdue queues for verification the sessions that no page showed or proved gone
// in the time that two rounds and more take: they stood in the gap between two pages each
// time, or their place in the list was never seen.
func (p *Poller) overdue(now time.Time) {
	if !p.roster.established() || len(p.estate.Missing) > 0 {
		return
	}
	const most = 10
	pages := float64(len(p.roster.entries)) / MaxPerPage
	limit := time.Duration((2.4*pages/p.estate.Budget + 10) * float64(time.Second))
	if p.estate.Missed {
		limit *= 2 // reading what was missed slows the rounds
	}
	for id, e := range p.roster.entries {
		if now.Sub(e.seen) > limit {
			p.estate.Missing = append(p.estate.Missing, id)
		}
	}
	// Those that were not seen for longest come first.
	slices.SortFunc(p.estate.Missing, func(a, b string) int {
		return cmp.Or(p.roster.entries[a].seen.Compare(p.roster.entries[b].seen), cmp.Compare(a, b))
	})
	p.estate.Missing = p.estate.Missing[:min(most, len(p.estate.Missing))]
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
func (p *Poller) workIn(ctx context.Context, pg page, whole, history bool, from, at time.Time) error {
	start := p.Clock.Now()
	if err := p.yield(ctx, pg.sessions); err != nil {
		return err
	}
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
	delta = p.hold(delta)
	if err := p.commit(ctx, delta, pg.sent); err != nil {
		return fmt.Errorf("committing %d changes of a page: %w", len(delta.Changes), err)
	}
	p.apply(delta, pg.sent)
	for i := range sessions {
		p.roster.touch(sessions[i].ID, pg.sent)
	}
	p.Sightings.show(sessions, pg.sent)
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

// seenAt is when a session was last seen, on the platform's clock. Where that was
// before this process began it is not known, and long ago: its start is then the
// only sure bound.
func (p *Poller) seenAt(id string) time.Time {
	if h := p.held[id]; h != nil {
		return h.change.Event.Data.Observed.NotYetAt
	}
	e := p.roster.entries[id]
	if e == nil || e.seen.Before(p.begun) {
		return time.Unix(0, 0)
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
				p.estate.learned.ends++
				p.roster.remove(s.ID)
			}
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
	e.Missed = e.Probing && len(p.probe.Gaps) > 0
	if e.Probing && !e.Missed && now.Sub(p.certified) >= certifying && !p.probe.at.IsZero() {
		p.certified = now
		p.certify(p.probe.at)
	}
	_, e.SweepGain = p.aim(now)
	p.weighFigures(now)
}

// disorderly is how many contradictions in a row make the list count as without
// order, recheck how long until that is tried again.
const (
	disorderly = 4
	recheck    = 30 * time.Minute
)

// measure sums up the pages of the list, as the roster has them. It walks over
// all sessions, so it is done the less often the more there are.
func (p *Poller) measure(now time.Time) {
	s, n := &p.sweep, len(p.roster.entries)
	if now.Sub(s.measured) < time.Duration(n)*measuring {
		return
	}
	s.measured = now
	s.stretches = s.stretches[:0]
	arrivals := 0.0
	if !p.estate.Probing {
		arrivals = p.estate.arrivals / max(1, float64(n))
	}
	// Where a session stands is how many before it are online still, as far as
	// can be expected.
	position, room := 0.0, max(1, float64(s.size)*s.wanted)
	for e := p.roster.root.next; e != &p.roster.root; e = e.next {
		hazard := e.place.learned.hazard(p.estate.Hazard)
		for int(position/room) >= len(s.stretches) {
			s.stretches = append(s.stretches, stretch{})
		}
		position += math.Exp(-hazard * now.Sub(e.seen).Seconds())
		s.stretches[len(s.stretches)-1].add(hazard+arrivals, e.seen.Sub(p.begun).Seconds())
	}
}

// measuring is the time between two measurements for each session.
const measuring = 500 * time.Microsecond

// aim returns the page, counted from 0, that the sweep should read next, and its
// gain: the one in turn, unless another look has made it worth little and a page
// elsewhere is worth twice as much.
func (p *Poller) aim(now time.Time) (number int, gain float64) {
	s := &p.sweep
	if !p.roster.established() {
		return max(0, s.next), 0
	}
	p.measure(now)
	t := now.Sub(p.begun).Seconds()
	if len(s.stretches) == 0 {
		idle := now.Sub(s.began).Seconds()
		return 0, (p.estate.arrivals + p.estate.Hazard) * idle * idle / 2
	}
	most := 0.0
	for i := range s.stretches {
		if g := s.stretches[i].gain(t); g > most {
			number, most = i, g
		}
	}
	next := s.next
	if s.going && s.more && next >= len(s.stretches) {
		// The list is longer than known: sessions arrived that no page showed yet.
		return next, s.stretches[len(s.stretches)-1].gain(t) + s.stretches[0].gain(t)
	}
	if next >= len(s.stretches) || next < 0 {
		next = s.start(len(p.roster.entries))
	}
	if next = min(next, len(s.stretches)-1); s.stretches[next].gain(t) >= most/8 {
		number = next
	}
	return number, s.stretches[number].gain(t)
}
