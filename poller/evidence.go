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
	// proof is by what they are; empty is a list.
	proof events.Proof
	// present are sessions that the look-up by address shows to have been online.
	present []presence
	// past are the starts of sessions of the history that are told of though they ended
	// before tracking began.
	past diff.Span
	// marks are committed with what the answer shows.
	marks []store.LocationMark
}

// presence is that a session was online at a time.
type presence struct {
	of *entry
	at time.Time // local clock
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
	return p.requests.ask(ctx, platform.Sessions, request, func(m moment, err error) error {
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
func (k *ledger) take(ctx context.Context, ev evidence) error {
	start := k.Clock.Now()
	shown := k.fresh(ev.sessions, ev.sent)
	unread := ev.unread()
	if err := k.reconsider(ctx, slices.Concat(shown, unread), ev.moment); err != nil {
		return err
	}
	gone, reading, err := k.judge(&ev)
	if err != nil {
		return err
	}
	ids := slices.Clone(gone)
	for i := range shown {
		ids = append(ids, shown[i].ID)
	}
	states, err := k.Store.Find(ids)
	if err != nil {
		return fmt.Errorf("looking up %d sessions: %w", len(ids), err)
	}
	known := diff.Known{
		Find:     func(id string) (events.State, bool) { s, ok := states[id]; return s, ok },
		Tracking: k.tracking,
		SeenAt:   k.seenAt,
	}
	for _, id := range gone {
		switch s, ok := states[id]; {
		case !ok || !s.Session.Online:
			k.roster.remove(id)
		case !mayHide(ev.skipped, &s.Session):
			known.Expected = append(known.Expected, s)
		}
	}
	sessions := k.wantedOf(shown)
	changes := diff.Compare(known, diff.Snapshot{
		Sessions: sessions, From: ev.from, At: ev.at, History: ev.scope == history, Past: ev.past, Presumed: ev.presumed, Proof: ev.proof,
	}, k.Rules)
	if err := k.learnRoaming(changes); err != nil {
		return err
	}
	changes = k.hold(changes)
	if err := k.commit(ctx, changes, ev.sent, ev.marks...); err != nil {
		return fmt.Errorf("committing %d changes: %w", len(changes), err)
	}
	k.apply(changes, ev.moment, slices.Concat(sessions, unread))
	k.attend(&ev)
	k.unsettle(&ev, changes)
	if !ev.past.From.IsZero() {
		k.toldOfPast(changes)
	}
	if err := k.settlePlaces(reading, &ev); err != nil {
		return err
	}
	if k.Sightings != nil {
		k.Sightings.Show(sessions, ev.sent)
	}
	k.report(&ev, changes, start)
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
func (k *ledger) judge(ev *evidence) (gone []string, reading order.Reading, err error) {
	on := make(map[string]bool, len(ev.sessions))
	for i := range ev.sessions {
		on[ev.sessions[i].ID] = true
	}
	for i := range ev.skipped {
		on[ev.skipped[i].ID] = true
	}
	sent := k.roster.rows.Seconds(ev.sent)
	absent := func(e *entry) bool { return !on[e.ID] && e.shown <= sent }
	for _, id := range ev.missing {
		if e := k.roster.entries[id]; e == nil && !on[id] || e != nil && absent(e) {
			gone = append(gone, id)
		}
	}
	switch ev.scope {
	case location:
		reading = k.venues.Read(k.roster.page(ev))
		if reading.Contradicted {
			k.roster.disorder(location)
		}
		for e := range k.roster.at(k.places.byID[ev.location]) {
			switch {
			case !absent(e) || !reading.Whole && (!k.keepsPlace(e) || !reading.Proves(e.Start)):
			case k.roaming:
				k.miss(e.ID) // It may have moved.
			default:
				gone = append(gone, e.ID)
			}
		}
	case account:
		reading = k.online.Read(k.roster.page(ev))
		if err := k.learnOrder(reading); err != nil {
			return nil, reading, err
		}
		for e := range k.roster.provenBy(reading) {
			if absent(e) {
				gone = append(gone, e.ID)
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
// either list has shown it in its place, and neither out of it.
func (k *ledger) keepsPlace(e *entry) bool {
	inAccount, inLocation := e.in[account], e.in[location]
	return k.startsPlace() && !inAccount.displaced && !inLocation.displaced && (inAccount.placed || inLocation.placed)
}

// startsPlace reports whether starts may say where sessions stand in a location's
// list: never while the account's list contradicts that order.
func (k *ledger) startsPlace() bool { return k.online.Established() || k.online.Contradictions == 0 }

// learnOrder keeps ring and probe in step with what a page says of the order of the
// account's list.
func (k *ledger) learnOrder(reading order.Reading) error {
	d, now := k.online.Direction, k.Clock.Now()
	switch {
	case reading.Contradicted:
		if k.online.Contradictions == 1 {
			k.Logger.Warn("the list is not sorted by start: until it is, only whole lists prove that a session is gone")
		}
		k.roster.disorder(account)
		if err := k.rememberOrder(""); err != nil {
			return err
		}
		k.probe = probe{Frontier: k.probe.Frontier, Gaps: reorder(k.probe.Gaps)}
		return k.remember(displacedKey, []string{})
	case d != "" && k.roster.rows.NewestFirst != (d == order.NewestFirst):
		k.roster.turn(d == order.NewestFirst)
	}
	if !k.online.Established() {
		return nil
	}
	if k.probe.Direction != d && !now.Before(k.probe.faultyTill) {
		k.Logger.Info("the list's order is known: arrivals are read at its end", "order", string(d))
		k.probe = probe{Direction: d, Frontier: k.probe.Frontier, Gaps: reorder(k.probe.Gaps)}
		k.past.Expect(d)
	}
	return k.rememberOrder(d)
}

// orderKey names the order of the account's list, so that the next process expects it.
const orderKey = "account.order"

// rememberOrder remembers it where it is another one than before.
func (k *ledger) rememberOrder(d order.Direction) error {
	if k.remembered == d {
		return nil
	}
	k.remembered = d
	return k.remember(orderKey, d)
}

// settlePlaces notes which sessions of a page stood in their place in its list.
func (k *ledger) settlePlaces(reading order.Reading, ev *evidence) error {
	if reading.Contradicted || ev.scope != account && ev.scope != location {
		return nil
	}
	news := false
	for _, id := range reading.Displaced {
		e := k.roster.entries[id]
		switch {
		case e == nil || e.Start.IsZero() || e.in[ev.scope].displaced:
		case ev.scope == account:
			k.roster.displace(e)
			news = true
		default:
			e.in[location].displaced = true
		}
	}
	for i := range ev.sessions {
		if e := k.roster.entries[ev.sessions[i].ID]; e != nil {
			in := &e.in[ev.scope]
			in.placed = !in.displaced && (in.placed || !slices.Contains(reading.Doubtful, e.ID))
			in.writes = e.writes
		}
	}
	if !news {
		return nil
	}
	var displaced []string
	for e := range k.roster.loose {
		if e.in[account].displaced {
			displaced = append(displaced, e.ID)
		}
	}
	slices.Sort(displaced)
	return k.remember(displacedKey, displaced)
}

// reconsider takes back what is held against sessions that an answer shows online:
// they never ended, unless they began anew, and then they had ended before.
func (k *ledger) reconsider(ctx context.Context, shown []events.Session, m moment) error {
	if len(k.held) == 0 {
		return nil
	}
	var ended []string
	for i := range shown {
		s := &shown[i]
		h := k.held[s.ID]
		if h == nil || !s.Online {
			continue
		}
		was := &h.end.Data.Session
		if !s.StartedAt.IsZero() && !was.StartedAt.IsZero() && !s.StartedAt.Equal(was.StartedAt) {
			ended = append(ended, s.ID)
			continue
		}
		delete(k.held, s.ID)
		delete(k.roster.parted, s.ID)
		k.returned(s.ID)
		k.roster.add(s.ID, k.place(was.LocationID, was.LocationName), was.StartedAt, m)
	}
	return k.release(ctx, ended)
}

// wantedOf drops the sessions of locations that are not configured.
func (k *ledger) wantedOf(sessions []events.Session) []events.Session {
	if len(k.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		place := k.places.byID[sessions[i].LocationID]
		if place != nil && (!place.leaving || k.roster.entries[sessions[i].ID] != nil) {
			wanted = append(wanted, sessions[i])
		}
	}
	return wanted
}

// tracking of a location: its own, or that of the whole account.
func (k *ledger) tracking(location string) diff.Tracking {
	t := k.wide
	if place, ok := k.places.byID[location]; ok && !place.tracking.Since.IsZero() {
		t = place.tracking
	}
	return t
}

// seenAt is when a session was last seen, on the platform's clock; zero where that
// was before this process began.
func (k *ledger) seenAt(id string) time.Time {
	if h := k.held[id]; h != nil {
		return h.end.Data.Observed.NotYetAt
	}
	e := k.roster.entries[id]
	if e == nil || e.Seen.Before(k.begun) {
		return time.Time{}
	}
	if k.Time == nil {
		return e.Seen.UTC()
	}
	earliest, _ := k.Time.Bounds(e.Seen)
	return earliest
}

// fresh drops the sessions of which an answer is known already that may be newer
// than one whose request was sent at a time.
func (k *ledger) fresh(sessions []events.Session, sent time.Time) []events.Session {
	since := k.roster.rows.Seconds(sent)
	stale := func(s events.Session) bool {
		parted, ok := k.roster.parted[s.ID]
		e := k.roster.entries[s.ID]
		return e != nil && e.shown > since || ok && s.Online && parted > since
	}
	if !slices.ContainsFunc(sessions, stale) {
		return sessions
	}
	return slices.DeleteFunc(slices.Clone(sessions), stale)
}

// part remembers that a session had ended by a time, while answers may come that
// still show it.
func (k *ledger) part(id string, came time.Time) {
	if len(k.requests.flights)+len(k.places.read) == 0 {
		clear(k.roster.parted)
		return
	}
	k.roster.parted[id] = k.roster.rows.Seconds(came)
}

// apply keeps the roster and the learned rates in step with what was committed,
// and with the sessions that were shown.
func (k *ledger) apply(changes []events.Event, m moment, shown []events.Session) {
	for i := range changes {
		e := &changes[i]
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			place := k.place(s.LocationID, s.LocationName)
			k.roster.add(s.ID, place, s.StartedAt, m)
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				k.rates().Started(&place.Location, k.Clock.Now())
			}
			if e.Kind == events.Resumed {
				k.returned(s.ID)
			}
		case e.Kind == events.Ended:
			if k.Sightings != nil {
				k.Sightings.Gone(s.ID)
			}
			k.part(s.ID, m.came)
			if entry := k.roster.entries[s.ID]; entry != nil {
				k.roster.track.Ended(&entry.Row, m.sent, k.Clock.Now())
				k.departed(entry, m, e.Data.Observed.Proof)
				k.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			k.roster.move(s.ID, k.place(s.LocationID, s.LocationName))
		}
	}
	for i := range shown {
		if e := k.roster.entries[shown[i].ID]; e != nil && shown[i].Online {
			k.roster.touch(e, shown[i].StartedAt, m)
			e.read(&shown[i])
		}
	}
}

// attend notes what an answer says of who is at which address, and of who is online by
// that.
func (k *ledger) attend(ev *evidence) {
	if ev.scope != history {
		k.audit(ev.sessions, ev.moment)
	}
	k.locate(ev.sessions)
	for _, present := range ev.present {
		if e := present.of; k.roster.entries[e.ID] == e {
			k.roster.touch(e, e.Start, moment{sent: present.at, came: ev.came})
		}
	}
}

// report tells of an answer that was taken.
func (k *ledger) report(ev *evidence, changes []events.Event, committing time.Time) {
	now := k.Clock.Now()
	for i := range changes {
		e := &changes[i]
		k.Logger.Debug("event", "location", e.Data.Session.LocationID, "session", e.Data.Session.ID, "kind", e.Kind, "revision", e.Data.Revision)
	}
	if k.Observer == nil {
		return
	}
	k.Observer.Looked(Report{
		Location: ev.location, At: now, Took: now.Sub(ev.sent), Committing: now.Sub(committing),
		Pages: 1, Records: len(ev.sessions), Skipped: len(ev.skipped), Changes: changes,
	})
}
