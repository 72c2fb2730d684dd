package poller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
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
		return then(answer, m, err)
	})
}

// workIn judges a page of a list of the whole account and commits what it shows.
// A page that is not whole, and one that contradicts the order, ends nothing but
// what it reports.
func (p *Poller) workIn(ctx context.Context, pg page, whole, history bool) error {
	start := p.Clock.Now()
	fresh := p.fresh(pg.sessions, pg.sent)
	if err := p.yield(ctx, fresh); err != nil {
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
	for i := range fresh {
		ids = append(ids, fresh[i].ID)
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
	sessions := p.wantedOf(fresh)
	delta := diff.Compare(known, diff.Snapshot{Sessions: sessions, From: pg.from, At: pg.at, Proof: diff.Atomic, History: history}, p.Rules)
	if err := p.learnRoaming(delta); err != nil {
		return err
	}
	delta = p.hold(delta)
	if err := p.commit(ctx, delta, pg.sent); err != nil {
		return fmt.Errorf("committing %d changes of a page: %w", len(delta.Changes), err)
	}
	p.apply(delta, pg.moment, sessions)
	p.Sightings.show(sessions, pg.sent)
	p.roster.place(pg)
	if pg.first && p.probe.Direction == newestFirst || pg.last && p.probe.Direction == oldestFirst {
		p.aim.edge = pg.sent
	}
	if len(fresh) > 0 {
		p.sweep.wanted += 0.1 * (float64(len(sessions))/float64(len(fresh)) - p.sweep.wanted)
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
	if len(p.flights)+len(p.listings) == 0 {
		clear(p.parted)
		return
	}
	p.parted[id] = p.roster.seconds(came)
}

// apply keeps the roster and the learned rates in step with what was committed,
// and with the sessions that were shown.
func (p *Poller) apply(delta diff.Delta, m moment, shown []events.Session) {
	sent := m.sent
	for i := range delta.Changes {
		e := &delta.Changes[i].Event
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			place := p.place(s.LocationID, s.LocationName)
			p.roster.add(s.ID, place, s.StartedAt, m)
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				p.learn(place, counts{Starts: 1})
			}
		case e.Kind == events.Ended:
			p.Sightings.Gone(s.ID)
			p.part(s.ID, m.came)
			if entry := p.roster.entries[s.ID]; entry != nil {
				p.ended(entry, sent)
				p.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			p.roster.move(s.ID, p.place(s.LocationID, s.LocationName))
		}
	}
	for i := range shown {
		p.roster.touch(shown[i].ID, m)
	}
}
