package poller

import (
	"context"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

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
	if err := p.learnRoaming(delta); err != nil {
		return err
	}
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
	if pg.first && p.probe.Direction == newestFirst || pg.last && p.probe.Direction == oldestFirst {
		p.aim.edge = pg.sent
	}
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
			p.roster.add(s.ID, place, s.StartedAt, sent)
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				p.learn(place, counts{Starts: 1})
			}
		case e.Kind == events.Ended:
			if entry := p.roster.entries[s.ID]; entry != nil {
				p.ended(entry, sent)
				p.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			p.roster.move(s.ID, p.place(s.LocationID, s.LocationName))
		}
	}
}
