package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// commit writes the delta of a look that began at a time, in one transaction. While the outbox is full it waits:
// what was seen is kept until there is room, and nothing more is asked for.
func (p *Poller) commit(ctx context.Context, delta diff.Delta, began time.Time, marks ...store.LocationMark) error {
	c := store.Commit{Cleared: delta.Cleared, Locations: marks, SeenFrom: began}
	for _, change := range delta.Changes {
		c.Changes = append(c.Changes, store.Change{State: change.State, Event: change.Event})
		if change.Event.Kind == events.Ended {
			c.Cleared = append(c.Cleared, change.State.Session.ID)
		}
	}
	for _, s := range delta.Suspects {
		c.Suspects = append(c.Suspects, store.Suspect(s))
	}
	for {
		err := p.Store.Commit(c)
		if !errors.Is(err, store.ErrOutboxFull) {
			if err == nil && p.full != nil {
				p.Logger.Info("the outbox takes events again, polling goes on")
				p.full = nil
			}
			return err
		}
		if p.full == nil {
			p.Logger.Error("the outbox is full, polling pauses until NATS takes events again", "error", err)
		}
		p.full = err
		p.publishStatus(p.Clock.Now())
		if err := p.Clock.Sleep(ctx, fullPause); err != nil {
			return err
		}
	}
}

// fullPause is the time between two tries to commit while the outbox is full.
const fullPause = time.Second

const roamingKey = "platform.roaming"

// learnRoaming notes when a session id turns up in another location: from then
// on a location's list no longer proves an end, and missing sessions are
// verified.
func (p *Poller) learnRoaming(delta diff.Delta) error {
	if p.roaming {
		return nil
	}
	for _, c := range delta.Changes {
		previous := c.Event.Data.Previous
		if previous == nil || previous.LocationID == nil {
			continue
		}
		p.roaming = true
		p.Logger.Warn("a session moved to another location under its id: from now on each missing session is verified before it counts as ended",
			"session", c.State.Session.ID, "from", *previous.LocationID, "to", c.State.Session.LocationID)
		return p.remember(roamingKey, true)
	}
	return nil
}

// distrust queues for verification what a list failed to show but cannot prove
// gone: its pages do not join, or sessions are known to move.
func (p *Poller) distrust(expected []events.State, l *listing) {
	snap := l.snapshot()
	if !l.exhausted() {
		return
	}
	for i := range snap.Sessions {
		delete(p.unproven, snap.Sessions[i].ID)
	}
	if snap.Proof != diff.Partial && !p.roaming {
		return
	}
	for _, id := range diff.Missing(expected, snap) {
		p.unproven[id]++
		// A list without order hides a part of the live sessions each time: two
		// in a row are worth a request.
		if at := p.unproven[id]; at == 2 || (at == 1 && snap.Proof != diff.Partial) {
			p.miss(id)
		}
	}
}

// miss queues a session for verification, unless it turns up before that.
func (p *Poller) miss(id string) {
	if p.flying(Verify, id) {
		return
	}
	if e := p.roster.entries[id]; e != nil {
		e.missed = p.Clock.Now()
	}
	if !slices.Contains(p.estate.Missing, id) {
		p.estate.Missing = append(p.estate.Missing, id)
	}
}

// verify asks for the online sessions of a missing session's guest: one page, so
// absence from it is proof. Where several are missing at a location whose list is
// one page, it asks for that.
func (p *Poller) verify(ctx context.Context, id string) error {
	p.estate.Missing = slices.DeleteFunc(p.estate.Missing, func(missing string) bool { return missing == id })
	delete(p.unproven, id)
	state, err := p.stateOf(id)
	if err != nil {
		return err
	}
	e := p.roster.entries[id]
	if !state.Session.Online || p.held[id] != nil || e != nil && !e.missed.IsZero() && !e.seen.Before(e.missed) {
		return nil
	}
	if e != nil && e.place.missing > 1 && !e.place.asking && !p.roaming && e.place.Cost() == 1 {
		e.place.missing = 0
		return p.list(ctx, e.place.ID)
	}
	query := queryOfGuest(&state.Session)
	if query == (platform.Query{}) {
		// Nothing to ask by; only an atomic list can prove its end.
		return nil
	}
	online := true
	query.Online = &online
	return p.askSessions(ctx, query, func(answer platform.Page, m moment, err error) error {
		if err != nil {
			p.miss(id)
			return nil
		}
		return p.verified(ctx, id, answer, m)
	})
}

// stateOf returns what is known of a session; the zero State knows nothing.
func (p *Poller) stateOf(id string) (events.State, error) {
	found, err := p.Store.Find([]string{id})
	if err != nil {
		return events.State{}, fmt.Errorf("session %s: reading its state: %w", id, err)
	}
	return found[id], nil
}

// verified works in the answer of a verification.
func (p *Poller) verified(ctx context.Context, id string, page platform.Page, m moment) error {
	began := p.Clock.Now()
	state, err := p.stateOf(id)
	if err != nil {
		return err
	}
	p.note(state.Session.LocationID, page)
	sessions := p.fresh(page.Sessions, m.sent)
	if err := p.yield(ctx, sessions); err != nil {
		return err
	}
	snap := diff.Snapshot{Sessions: sessions, From: m.from, At: m.at, Proof: diff.Atomic}
	if page.More || len(page.Skipped) > 0 {
		snap.Proof = diff.Partial
	}
	roaming := p.roaming
	p.roaming = false // The list is not a location's.
	delta, err := p.compare(p.unheld(p.before([]events.State{state}, m.sent)), nil, snap)
	p.roaming = p.roaming || roaming
	if err != nil {
		return err
	}
	delta = p.hold(delta)
	if err := p.commit(ctx, delta, m.sent); err != nil {
		return fmt.Errorf("session %s: committing its verification: %w", id, err)
	}
	p.apply(delta, m, sessions)
	p.Sightings.show(page.Sessions, m.sent)
	if place := p.places[state.Session.LocationID]; place != nil {
		p.report(place, &listing{began: m.sent, pages: 1, sessions: page.Sessions}, snap, delta, began)
	}
	return nil
}

func (p *Poller) report(place *Place, l *listing, snap diff.Snapshot, delta diff.Delta, committing time.Time) {
	now := p.Clock.Now()
	for _, c := range delta.Changes {
		p.Logger.Debug("event", "location", c.State.Session.LocationID, "session", c.State.Session.ID, "kind", c.Event.Kind, "revision", c.State.Revision)
	}
	p.Logger.Debug("looked", "location", place.ID, "pages", l.pages, "records", len(snap.Sessions), "online", place.Online, "changes", len(delta.Changes))
	if p.Observer == nil {
		return
	}
	p.Observer.Looked(Report{
		Location: place.ID, At: now, Took: now.Sub(l.began), Committing: now.Sub(committing),
		Pages: l.pages, Records: len(snap.Sessions), Skipped: l.skipped, Proof: snap.Proof, Changes: delta.Changes,
	})
}

// reportPage reports a page of the account's list, one report for each location
// in which something changed.
func (p *Poller) reportPage(pg page, delta diff.Delta, start time.Time) {
	if p.Observer == nil {
		return
	}
	now := p.Clock.Now()
	p.Observer.Looked(Report{
		At: now, Took: now.Sub(pg.sent), Committing: now.Sub(start), Pages: 1, Records: len(pg.sessions),
		Proof: diff.Atomic, Changes: delta.Changes,
	})
}

// nameIn returns the location's name as the list's records give it.
func nameIn(sessions []events.Session, place *Place) string {
	for i := range sessions {
		if s := &sessions[i]; s.LocationID == place.ID && s.LocationName != "" {
			return s.LocationName
		}
	}
	return place.Name
}
