package poller

import (
	"context"
	"fmt"
	"iter"
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
	timing
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
	ofNothing scope = iota
	// account is the list of all online sessions.
	ofAccount
	// location is that of one location's.
	ofLocation
	// history is a list of ended sessions as well. Who ended stands in it still, so
	// absence from it proves nothing.
	ofHistory
)

// askSessions sends one request for sessions.
func (p *Poller) askSessions(ctx context.Context, q platform.Query, then func(platform.Page, timing, error) error) error {
	var answer platform.Page
	request := func() (m platform.Meta, err error) {
		answer, err = p.Platform.Sessions(ctx, q)
		return answer.Meta, err
	}
	return p.requests.ask(ctx, platform.Sessions, request, func(m timing, err error) error {
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
	if err := k.reconsider(ctx, together(shown, unread), ev.timing); err != nil {
		return err
	}
	gone, reading, err := k.judge(&ev)
	if err != nil {
		return err
	}
	var unreadable error
	known := diff.Known{
		Find: func(id string) (events.State, bool) {
			s, ok, err := k.Store.State(id)
			if err != nil {
				unreadable = fmt.Errorf("looking up session %s: %w", id, err)
			}
			return s, ok
		},
		Tracking: k.tracking,
		SeenAt:   k.seenAt,
	}
	for _, id := range gone {
		switch s, ok := known.Find(id); {
		case !ok || !s.Session.Online:
			k.roster.remove(id)
		case !mayHide(ev.skipped, &s.Session):
			known.Expected = append(known.Expected, s)
		}
	}
	sessions := k.wantedOf(shown)
	changes := diff.Compare(known, diff.Snapshot{
		Sessions: sessions, From: ev.from, At: ev.at, History: ev.scope == ofHistory, Past: ev.past, Presumed: ev.presumed, Proof: ev.proof,
	}, k.Rules)
	if unreadable != nil {
		return unreadable
	}
	if err := k.learnRoaming(changes); err != nil {
		return err
	}
	changes = k.awaitFigures(changes)
	if err := k.commits.commit(ctx, changes, ev.sent, ev.marks...); err != nil {
		return fmt.Errorf("committing %d changes: %w", len(changes), err)
	}
	k.apply(changes, ev.timing, together(sessions, unread))
	k.attend(&ev)
	k.unsettle(&ev, changes)
	if !ev.past.From.IsZero() {
		k.history.told(changes)
	}
	if err := k.notePositions(reading, &ev); err != nil {
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
	if ev.scope == ofHistory {
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

// together returns both; hardly any page has records that cannot be read.
func together(read, unread []events.Session) []events.Session {
	if len(unread) == 0 {
		return read
	}
	return slices.Concat(read, unread)
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
	var proven iter.Seq[*entry]
	switch ev.scope {
	case ofLocation:
		reading = k.locationLists.Read(k.roster.page(ev))
		if reading.Contradicted {
			k.roster.disorder(ofLocation)
		}
		proven = k.provenAt(ev.location, reading)
	case ofAccount:
		reading = k.accountList.Read(k.roster.page(ev))
		if err := k.learnOrder(reading); err != nil {
			return nil, reading, err
		}
		proven = k.roster.provenBy(reading)
	default:
		slices.Sort(gone)
		return gone, reading, nil
	}
	for e := range proven {
		switch {
		case !absent(e):
		case ev.scope == ofLocation && k.roaming:
			k.missing.add(e.ID) // It may have moved.
		default:
			gone = append(gone, e.ID)
		}
	}
	slices.Sort(gone)
	return gone, reading, nil
}

// mayHide reports whether a record that could not be read may be a session's.
func mayHide(skipped []platform.Skip, s *events.Session) bool {
	return slices.ContainsFunc(skipped, func(skip platform.Skip) bool { return skip.MayHide(s) })
}

// learnOrder keeps rows and probe in step with what a page says of the order of the
// account's list.
func (k *ledger) learnOrder(reading order.Reading) error {
	d, now := k.accountList.Direction, k.Clock.Now()
	switch {
	case reading.Contradicted:
		if k.accountList.Contradictions == 1 {
			k.Logger.Warn("the list is not sorted by start: until it is, only whole lists prove that a session is gone")
		}
		k.roster.disorder(ofAccount)
		if err := k.rememberOrder(""); err != nil {
			return err
		}
		k.history.probe = probe{Frontier: k.history.probe.Frontier, Gaps: reorder(k.history.probe.Gaps)}
		return k.remember(displacedKey, []string{})
	case d != "" && k.roster.rows.NewestFirst != (d == order.NewestFirst):
		k.roster.turn(d == order.NewestFirst)
	}
	if !k.accountList.Established() {
		return nil
	}
	if k.history.probe.Direction != d && !now.Before(k.history.probe.faultyTill) {
		k.Logger.Info("the list's order is known: arrivals are read at its end", "order", string(d))
		k.history.probe = probe{Direction: d, Frontier: k.history.probe.Frontier, Gaps: reorder(k.history.probe.Gaps)}
		k.history.list.Expect(d)
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

// reconsider takes back what is held against sessions that an answer shows online:
// they never ended, unless they began anew, and then they had ended before.
func (k *ledger) reconsider(ctx context.Context, shown []events.Session, m timing) error {
	if len(k.pending.ends) == 0 {
		return nil
	}
	var ended []string
	for i := range shown {
		s := &shown[i]
		h := k.pending.ends[s.ID]
		if h == nil || !s.Online {
			continue
		}
		was := &h.end.Data.Session
		if !s.StartedAt.IsZero() && !was.StartedAt.IsZero() && !s.StartedAt.Equal(was.StartedAt) {
			ended = append(ended, s.ID)
			continue
		}
		delete(k.pending.ends, s.ID)
		delete(k.roster.parted, s.ID)
		k.checks.returned(s.ID)
		k.roster.add(s.ID, k.location(was.LocationID, was.LocationName), was.StartedAt, m)
	}
	return k.release(ctx, ended)
}

// seenAt is when a session was last seen, on the platform's clock; zero where that
// was before this process began.
func (k *ledger) seenAt(id string) time.Time {
	if h := k.pending.ends[id]; h != nil {
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

// apply keeps the roster and the learned rates in step with what was committed,
// and with the sessions that were shown.
func (k *ledger) apply(changes []events.Event, m timing, shown []events.Session) {
	for i := range changes {
		e := &changes[i]
		s := &e.Data.Session
		switch {
		case e.Kind.Arrival():
			location := k.location(s.LocationID, s.LocationName)
			k.roster.add(s.ID, location, s.StartedAt, m)
			if e.Kind != events.Discovered && !e.Data.Observed.Backfilled {
				k.rates().Started(&location.Location, k.Clock.Now())
			}
			if e.Kind == events.Resumed {
				k.checks.returned(s.ID)
			}
		case e.Kind == events.Ended:
			if k.Sightings != nil {
				k.Sightings.Gone(s.ID)
			}
			k.part(s.ID, m.came)
			if entry := k.roster.entries[s.ID]; entry != nil {
				k.roster.track.Ended(&entry.Row, m.sent, k.Clock.Now())
				k.checks.departed(entry, m, e.Data.Observed.Proof)
				k.roster.remove(s.ID)
			}
		case e.Kind == events.Updated && e.Data.Previous != nil && e.Data.Previous.LocationID != nil:
			k.roster.move(s.ID, k.location(s.LocationID, s.LocationName))
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
	if ev.scope != ofHistory {
		k.checks.audit(ev.sessions, ev.timing)
	}
	k.checks.locate(ev.sessions)
	for _, present := range ev.present {
		if e := present.of; k.roster.entries[e.ID] == e {
			k.roster.touch(e, e.Start, timing{sent: present.at, came: ev.came})
		}
	}
}

// report tells of an answer that was taken.
func (s *Settings) report(ev *evidence, changes []events.Event, committing time.Time) {
	now := s.Clock.Now()
	for i := range changes {
		e := &changes[i]
		s.Logger.Debug("event", "location", e.Data.Session.LocationID, "session", e.Data.Session.ID, "kind", e.Kind, "revision", e.Data.Revision)
	}
	if s.Observer == nil {
		return
	}
	s.Observer.Looked(Report{
		Location: ev.location, At: now, Took: now.Sub(ev.sent), Committing: now.Sub(committing),
		Pages: 1, Records: len(ev.sessions), Skipped: len(ev.skipped), Changes: changes,
	})
}
