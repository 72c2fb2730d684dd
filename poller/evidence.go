package poller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
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
	// behind is how far behind the answer may be, and since the earliest moment, in the
	// rows' seconds, that it may tell of; anchored is that it shows somebody by the start
	// that is known. See weigh.
	weighed  bool
	behind   time.Duration
	since    float64
	anchored bool
}

// presence is that a session was online at a time.
type presence struct {
	of *entry
	at time.Time // local clock
}

// scope is what an answer is a page of, and with that what absence from it means.
type scope int

const (
	// ofNothing: absence from it means nothing.
	ofNothing scope = iota
	// ofAccount is the list of all online sessions.
	ofAccount
	// ofLocation is that of one location's.
	ofLocation
	// ofHistory is a list of ended sessions as well. Who ended stands in it still, so
	// absence from it proves nothing.
	ofHistory
)

// take drops what is stale in an answer, cancels what it contradicts, judges who
// is gone by it, compares, keeps back ends that wait for figures, commits, and brings
// everything that is known in step with what was committed.
func (k *ledger) take(ctx context.Context, ev evidence) error {
	start := k.Clock.Now()
	if err := k.weigh(&ev); err != nil {
		return err
	}
	shown := k.fresh(&ev)
	unread := ev.unread()
	if err := k.reconsider(ctx, together(shown, unread), ev.timing); err != nil {
		return err
	}
	sessions := k.wantedOf(shown)
	gone, reading, err := k.judge(&ev)
	if err != nil {
		return err
	}
	var unreadable error
	known := diff.Known{
		Expected: gone,
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
	changes := diff.Compare(known, diff.Snapshot{
		Sessions: sessions, From: ev.from, At: ev.at, History: ev.scope == ofHistory, Past: ev.past, Presumed: ev.presumed, Proof: ev.proof,
	}, k.Rules)
	compared := k.Clock.Now()
	if unreadable != nil {
		return unreadable
	}
	changes = k.awaitFigures(changes)
	if err := k.learnRoaming(changes); err != nil {
		return err
	}
	if err := k.commits.commit(ctx, changes, ev.sent, ev.marks...); err != nil {
		return fmt.Errorf("committing %d changes: %w", len(changes), err)
	}
	k.apply(changes, ev.timing)
	k.touch(together(sessions, unread), ev.timing)
	if err := k.saveLag(); err != nil {
		return err
	}
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
	k.report(&ev, changes, start, compared)
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
	e := k.roster.find(id)
	if e == nil || e.Seen.Before(k.begun) {
		return time.Time{}
	}
	earliest, _ := k.platformTime(e.Seen)
	return earliest.Add(-k.lagging(k.Clock.Now()))
}

// report tells of an answer that was taken, compared and committed from given times on.
func (s *Settings) report(ev *evidence, changes []events.Event, comparing, committing time.Time) {
	now := s.Clock.Now()
	for i := range changes {
		e := &changes[i]
		s.Logger.Debug("event", "location", e.Data.Session.LocationID, "session", e.Data.Session.ID, "kind", e.Kind, "revision", e.Data.Revision)
	}
	if s.Observer == nil {
		return
	}
	s.Observer.Looked(Report{
		Location: ev.location, At: now, Took: now.Sub(ev.sent), Committing: now.Sub(comparing), Comparing: committing.Sub(comparing),
		Pages: 1, Records: len(ev.sessions), Skipped: len(ev.skipped), Changes: changes,
	})
}

// weigh compares an answer with what is known of its sessions: how far behind it may be, and
// whether starts have changed. Of one that shows nobody by the start that is known, nobody
// can tell.
func (k *ledger) weigh(ev *evidence) error {
	if ev.weighed {
		return nil
	}
	fallen, changed, kept := 0, 0, 0
	for i := range ev.sessions {
		s := &ev.sessions[i]
		e := k.roster.find(s.ID)
		if e == nil || !s.Online {
			continue
		}
		if e.fallen(s) {
			fallen++
		}
		switch {
		case s.StartedAt.IsZero() || e.Start.IsZero():
		case s.StartedAt.Equal(e.Start):
			kept++
		default:
			changed++
		}
	}
	ev.behind = max(leastLag, k.lagging(ev.sent))
	if fallen > 1 {
		ev.behind = mostLag
	}
	ev.weighed, ev.since, ev.anchored = true, k.roster.rows.Seconds(ev.sent.Add(-ev.behind)), kept > 0
	if ev.scope == ofHistory && !slices.ContainsFunc(ev.sessions, func(s events.Session) bool { return s.Online }) {
		ev.anchored = true // It shows nobody online where somebody should be.
	}
	if changed < leastShifted || changed <= kept {
		return nil
	}
	return k.shift()
}

// fresh drops the sessions of an answer of which one is known already that may be newer,
// or is by what it shows.
func (k *ledger) fresh(ev *evidence) []events.Session {
	sent := k.roster.rows.Seconds(ev.sent)
	stale := func(s events.Session) bool {
		parted, ok := k.roster.parted[s.ID]
		e := k.roster.find(s.ID)
		if e != nil && k.shownAt(e) > ev.since && e.fallen(&s) {
			k.suspect(e, ev.timing)
			return true
		}
		since := ev.since
		if k.pending.ends[s.ID] != nil {
			since = sent // Taking back what was not published does no harm.
		}
		return e != nil && e.shown > sent || ok && s.Online && parted > since || e == nil && s.Online && k.endedBefore(s.ID, ev)
	}
	if !slices.ContainsFunc(ev.sessions, stale) {
		return ev.sessions
	}
	return slices.DeleteFunc(slices.Clone(ev.sessions), stale)
}

// endedBefore reports whether the last process told of a session's end since the earliest
// moment that an answer may tell of.
func (k *ledger) endedBefore(id string, ev *evidence) bool {
	if ev.since >= k.roster.rows.Seconds(k.begun) {
		return false
	}
	s, ok, err := k.Store.State(id) // an error shows again where it is compared
	return err == nil && ok && !s.Session.Online && s.SeenAt.After(ev.from.Add(-ev.behind))
}

// fallen reports whether a record shows lower figures than the entry's.
func (e *entry) fallen(s *events.Session) bool {
	lower := func(was, is events.Bytes) bool {
		return was.Known() && is.Known() && was.Value-is.Value > was.Error+is.Error
	}
	return s.Online && (lower(e.figures.downloaded, s.Downloaded) || lower(e.figures.uploaded, s.Uploaded))
}

// wantedOf drops the sessions of locations that are not configured.
func (k *account) wantedOf(sessions []events.Session) []events.Session {
	if len(k.Locations) == 0 {
		return sessions
	}
	var wanted []events.Session
	for i := range sessions {
		location := k.watched.byID[sessions[i].LocationID]
		if location != nil && (!location.leaving || k.roster.find(sessions[i].ID) != nil) {
			wanted = append(wanted, sessions[i])
		}
	}
	return wanted
}

// tracking of a session's location: its own, or that of the whole account.
func (k *account) tracking(s *events.Session) diff.Tracking {
	if location := k.watched.byID[s.LocationID]; location != nil && !location.tracking.Since.IsZero() {
		return location.trackingOf(s)
	}
	t := k.wide
	if hides := func(record platform.Skip) bool { return record.MayHide(s) }; len(k.unread) > mostVeiled || slices.ContainsFunc(k.unread, hides) {
		t.SeenAt = time.Time{} // It may have been there.
	}
	return t
}
