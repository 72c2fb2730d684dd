package poller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// evidence is what one answer says. Every kind of look only asks, and hands its
// answer on as evidence; take is the one door from there to what is stored and
// published.
type evidence struct {
	moment
	sessions []events.Session
	skipped  []platform.Skip
	scope    scope
	location string // of a location's list
	// first and last say that the answer begins or ends its list.
	first, last bool
	// missing are ids of sessions that the answer shows if they are online, whatever
	// its order.
	missing []string
	// presumed: they are not proven gone; see presume.
	presumed bool
	// past are the starts of sessions of the history that are told of though they ended
	// before tracking began.
	past diff.Span
	// marks are committed with what the answer shows.
	marks []store.LocationMark
}

// scope is what an answer is a page of, and with that what absence from it means.
type scope int

const (
	// nobody: absence from it means nothing.
	nobody scope = iota
	// account is the list of all online sessions.
	account
	// location is that of one location's.
	location
	// history is a list of ended sessions as well. Who ended stands in it still, so
	// absence from it proves nothing.
	history
)

// askSessions sends one request for sessions.
func (p *Poller) askSessions(ctx context.Context, q platform.Query, then func(platform.Page, moment, error) error) error {
	var answer platform.Page
	request := func() (m platform.Meta, err error) {
		answer, err = p.Platform.Sessions(ctx, q)
		return answer.Meta, err
	}
	return p.ask(ctx, platform.Sessions, request, func(m moment, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			p.note(q.LocationID, answer)
		}
		return then(answer, m, err)
	})
}

// take drops what is stale in an answer, cancels what it contradicts, judges who
// is gone by it, compares, holds ends that wait for figures, commits, and keeps
// everything that is known in step with what was committed.
func (p *Poller) take(ctx context.Context, ev evidence) error {
	start := p.Clock.Now()
	shown := p.fresh(ev.sessions, ev.sent)
	unread := ev.unread()
	if err := p.reconsider(ctx, slices.Concat(shown, unread), ev.moment); err != nil {
		return err
	}
	gone, reading, err := p.judge(&ev)
	if err != nil {
		return err
	}
	ids := slices.Clone(gone)
	for i := range shown {
		ids = append(ids, shown[i].ID)
	}
	states, err := p.Store.Find(ids)
	if err != nil {
		return fmt.Errorf("looking up %d sessions: %w", len(ids), err)
	}
	known := diff.Known{
		Find:     func(id string) (events.State, bool) { s, ok := states[id]; return s, ok },
		Tracking: p.tracking,
		SeenAt:   p.seenAt,
	}
	for _, id := range gone {
		switch s, ok := states[id]; {
		case !ok || !s.Session.Online:
			p.roster.remove(id)
		case !mayHide(ev.skipped, &s.Session):
			known.Expected = append(known.Expected, s)
		}
	}
	sessions := p.wantedOf(shown)
	changes := diff.Compare(known, diff.Snapshot{
		Sessions: sessions, From: ev.from, At: ev.at, History: ev.scope == history, Past: ev.past, Presumed: ev.presumed,
	}, p.Rules)
	if err := p.learnRoaming(changes); err != nil {
		return err
	}
	changes = p.hold(changes)
	if err := p.commit(ctx, changes, ev.sent, ev.marks...); err != nil {
		return fmt.Errorf("committing %d changes: %w", len(changes), err)
	}
	p.apply(changes, ev.moment, slices.Concat(sessions, unread))
	p.unsettle(&ev, changes)
	if !ev.past.From.IsZero() {
		p.toldOfPast(changes)
	}
	if err := p.settlePlaces(reading, &ev); err != nil {
		return err
	}
	if p.Sightings != nil {
		p.Sightings.Show(sessions, ev.sent)
	}
	p.report(&ev, changes, start)
	return nil
}

// unread returns what records with an id tell that could not be read otherwise: that
// their sessions are online, where the answer is about these alone.
func (ev *evidence) unread() []events.Session {
	if ev.scope == history {
		return nil
	}
	var sessions []events.Session
	for i := range ev.skipped {
		if s := &ev.skipped[i]; s.ID != "" {
			sessions = append(sessions, events.Session{
				ID: s.ID, StartedAt: s.StartedAt, Online: true, Downloaded: events.UnknownBytes, Uploaded: events.UnknownBytes,
			})
		}
	}
	return sessions
}

// judge says which sessions an answer proves gone.
func (p *Poller) judge(ev *evidence) (gone []string, reading order.Reading, err error) {
	on := make(map[string]bool, len(ev.sessions))
	for i := range ev.sessions {
		on[ev.sessions[i].ID] = true
	}
	for i := range ev.skipped {
		on[ev.skipped[i].ID] = true
	}
	sent := p.roster.seconds(ev.sent)
	absent := func(e *entry) bool { return !on[e.id] && e.shown <= sent }
	for _, id := range ev.missing {
		if e := p.roster.entries[id]; e == nil && !on[id] || e != nil && absent(e) {
			gone = append(gone, id)
		}
	}
	switch ev.scope {
	case location:
		reading = p.venues.Read(p.roster.page(ev))
		if reading.Contradicted {
			p.roster.disorder(location)
		}
		for e := range p.roster.at(p.places[ev.location]) {
			switch {
			case !absent(e) || !reading.Whole && (!p.keepsPlace(e) || !reading.Proves(e.since)):
			case p.roaming:
				p.miss(e.id) // It may have moved.
			default:
				gone = append(gone, e.id)
			}
		}
	case account:
		reading = p.online.Read(p.roster.page(ev))
		if err := p.learnOrder(reading); err != nil {
			return nil, reading, err
		}
		for e := range p.roster.provenBy(reading) {
			if absent(e) {
				gone = append(gone, e.id)
			}
		}
	}
	slices.Sort(gone)
	return gone, reading, nil
}

// mayHide reports whether a record that could not be read may be a session's.
func mayHide(skipped []platform.Skip, s *events.Session) bool {
	return slices.ContainsFunc(skipped, func(skip platform.Skip) bool { return skip.MayHide(s) })
}

// keepsPlace reports whether a page of a location may judge a session by its start:
// either list has shown it in its place, and neither out of it; and never while the
// account's list contradicts that order.
func (p *Poller) keepsPlace(e *entry) bool {
	inAccount, inLocation := e.in[account], e.in[location]
	return !inAccount.displaced && !inLocation.displaced && (inAccount.placed || inLocation.placed) &&
		(p.online.Established() || p.online.Contradictions == 0)
}

// learnOrder keeps ring and probe in step with what a page says of the order of the
// account's list.
func (p *Poller) learnOrder(reading order.Reading) error {
	d, now := p.online.Direction, p.Clock.Now()
	switch {
	case reading.Contradicted:
		if p.online.Contradictions == 1 {
			p.Logger.Warn("the list is not sorted by start: until it is, only whole lists prove that a session is gone")
		}
		p.roster.disorder(account)
		if err := p.rememberOrder(""); err != nil {
			return err
		}
		p.probe = probe{Frontier: p.probe.Frontier, Gaps: reorder(p.probe.Gaps)}
		return p.remember(displacedKey, []string{})
	case d != "" && p.roster.ring.direction != d:
		p.roster.turn(d)
	}
	if !p.online.Established() {
		return nil
	}
	if p.probe.Direction != d && !now.Before(p.probe.faultyTill) {
		p.Logger.Info("the list's order is known: arrivals are read at its end", "order", string(d))
		p.probe = probe{Direction: d, Frontier: p.probe.Frontier, Gaps: reorder(p.probe.Gaps)}
		p.past.Expect(d)
	}
	return p.rememberOrder(d)
}

// orderKey names the order of the account's list, so that the next process expects it.
const orderKey = "account.order"

// rememberOrder remembers it where it is another one than before.
func (p *Poller) rememberOrder(d order.Direction) error {
	if p.remembered == d {
		return nil
	}
	p.remembered = d
	return p.remember(orderKey, d)
}

// settlePlaces notes which sessions of a page stood in their place in its list.
func (p *Poller) settlePlaces(reading order.Reading, ev *evidence) error {
	if reading.Contradicted || ev.scope != account && ev.scope != location {
		return nil
	}
	news := false
	for _, id := range reading.Displaced {
		e := p.roster.entries[id]
		switch {
		case e == nil || e.since.IsZero() || e.in[ev.scope].displaced:
		case ev.scope == account:
			p.roster.displace(e)
			news = true
		default:
			e.in[location].displaced = true
		}
	}
	for i := range ev.sessions {
		if e := p.roster.entries[ev.sessions[i].ID]; e != nil {
			in := &e.in[ev.scope]
			in.placed = !in.displaced && (in.placed || !slices.Contains(reading.Doubtful, e.id))
			in.writes = e.writes
		}
	}
	if !news {
		return nil
	}
	var displaced []string
	for e := range p.roster.loose {
		if e.in[account].displaced {
			displaced = append(displaced, e.id)
		}
	}
	slices.Sort(displaced)
	return p.remember(displacedKey, displaced)
}

// reconsider takes back what is held against sessions that an answer shows online:
// they never ended, unless they began anew, and then they had ended before.
func (p *Poller) reconsider(ctx context.Context, shown []events.Session, m moment) error {
	if len(p.held) == 0 {
		return nil
	}
	var ended []string
	for i := range shown {
		s := &shown[i]
		h := p.held[s.ID]
		if h == nil || !s.Online {
			continue
		}
		was := &h.end.Data.Session
		if !s.StartedAt.IsZero() && !was.StartedAt.IsZero() && !s.StartedAt.Equal(was.StartedAt) {
			ended = append(ended, s.ID)
			continue
		}
		delete(p.held, s.ID)
		delete(p.parted, s.ID)
		p.roster.add(s.ID, p.place(was.LocationID, was.LocationName), was.StartedAt, m)
	}
	return p.release(ctx, ended)
}

// wantedOf drops the sessions of locations that are not configured.
func (p *Poller) wantedOf(sessions []events.Session) []events.Session {
	if len(p.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		place := p.places[sessions[i].LocationID]
		if place != nil && (!place.leaving || p.roster.entries[sessions[i].ID] != nil) {
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

// seenAt is when a session was last seen, on the platform's clock; zero where that
// was before this process began.
func (p *Poller) seenAt(id string) time.Time {
	if h := p.held[id]; h != nil {
		return h.end.Data.Observed.NotYetAt
	}
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

// fresh drops the sessions of which an answer is known already that may be newer
// than one whose request was sent at a time.
func (p *Poller) fresh(sessions []events.Session, sent time.Time) []events.Session {
	since := p.roster.seconds(sent)
	stale := func(s events.Session) bool {
		parted, ok := p.parted[s.ID]
		e := p.roster.entries[s.ID]
		return e != nil && e.shown > since || ok && s.Online && parted > since
	}
	if !slices.ContainsFunc(sessions, stale) {
		return sessions
	}
	return slices.DeleteFunc(slices.Clone(sessions), stale)
}

// part remembers that a session had ended by a time, while answers may come that
// still show it.
func (p *Poller) part(id string, came time.Time) {
	if len(p.flights)+len(p.readings) == 0 {
		clear(p.parted)
		return
	}
	p.parted[id] = p.roster.seconds(came)
}

// apply keeps the roster and the learned rates in step with what was committed,
// and with the sessions that were shown.
func (p *Poller) apply(changes []events.Event, m moment, shown []events.Session) {
	for i := range changes {
		e := &changes[i]
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			place := p.place(s.LocationID, s.LocationName)
			p.roster.add(s.ID, place, s.StartedAt, m)
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				p.learn(place, counts{Starts: 1})
			}
		case e.Kind == events.Ended:
			if p.Sightings != nil {
				p.Sightings.Gone(s.ID)
			}
			p.part(s.ID, m.came)
			if entry := p.roster.entries[s.ID]; entry != nil {
				p.ended(entry, m.sent)
				p.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			p.roster.move(s.ID, p.place(s.LocationID, s.LocationName))
		}
	}
	for i := range shown {
		if e := p.roster.entries[shown[i].ID]; e != nil && shown[i].Online {
			p.roster.touch(e, shown[i].StartedAt, m)
			e.read(&shown[i])
		}
	}
}

// report tells of an answer that was taken.
func (p *Poller) report(ev *evidence, changes []events.Event, committing time.Time) {
	now := p.Clock.Now()
	for i := range changes {
		e := &changes[i]
		p.Logger.Debug("event", "location", e.Data.Session.LocationID, "session", e.Data.Session.ID, "kind", e.Kind, "revision", e.Data.Revision)
	}
	if p.Observer == nil {
		return
	}
	p.Observer.Looked(Report{
		Location: ev.location, At: now, Took: now.Sub(ev.sent), Committing: now.Sub(committing),
		Pages: 1, Records: len(ev.sessions), Skipped: len(ev.skipped), Changes: changes,
	})
}
