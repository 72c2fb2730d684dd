package diff

import (
	"cmp"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Snapshot is what one list showed.
type Snapshot struct {
	// Sessions in the order of the list; an id may repeat, the last one counts.
	// A session that is not Online is the platform's report of its end.
	Sessions []events.Session
	// From is when the first page was asked for, At when the last one had come;
	// both on the platform's clock. What the list shows was so in between.
	From, At time.Time
	// Presumed: the absence of those who are Expected is no proof that they are gone,
	// only ground to presume it; see events.EndPresumed.
	Presumed bool
	// Proof of the absence of those who are Expected; empty means a list.
	Proof events.Proof
	// History is true for a list that shows ended sessions as well: an ended
	// session that was never seen online is then published as both, backfilled.
	History bool
	// Past are the starts of sessions that a History tells of as well though they ended
	// before their location was watched. The zero Span is none.
	Past Span
}

// MostBehind is how far behind its request a snapshot may be: until so long after an end,
// one that showed the session online may have been left unheeded.
const MostBehind = 2 * time.Minute

// Span is a time from From on and before To; the zero To is no end, the zero From
// nothing at all.
type Span struct{ From, To time.Time }

// Contains reports whether t lies within the span.
func (s Span) Contains(t time.Time) bool {
	return !s.From.IsZero() && !t.Before(s.From) && (s.To.IsZero() || t.Before(s.To))
}

// Tracking says since when a location is watched.
type Tracking struct {
	// Since is when its first look began; zero means never.
	Since time.Time
	// SeenAt is when its last complete look began; zero means that there was none
	// yet, so whatever it shows may have been there before.
	SeenAt time.Time
}

// before reports whether a session that began at start, zero where that is not
// known, was there before the location was watched. The platform tells starts in
// whole seconds.
func (t Tracking) before(start time.Time) bool {
	if start.IsZero() || t.Since.IsZero() {
		return t.SeenAt.IsZero()
	}
	return start.Before(t.Since.Truncate(time.Second))
}

// Known is what was known before a snapshot.
type Known struct {
	// Expected lists the sessions whose absence from the snapshot means that they are
	// gone. Whoever else it does not show stays as they are.
	Expected []events.State
	// Find returns what is known of a session, online or ended. Nil knows nothing.
	Find func(id string) (events.State, bool)
	// Tracking of the location of a session: its SeenAt is when the last look began that
	// would have shown that one. Nil means that no location is tracked yet.
	Tracking func(s *events.Session) Tracking
	// SeenAt is when a session was last seen online; the zero time means that it is not
	// known, and then only its last event tells. Nil goes by its location's Tracking.
	SeenAt func(id string) time.Time
}

// Rules are the settings of Compare.
type Rules struct {
	// Account is written into the events.
	Account string
	// TrafficMinBytes is how far a byte figure must be from the published one to
	// be published again; zero or one means any change.
	TrafficMinBytes int64
}

// Compare returns the events of what snap changes in what is known, in the order in
// which they are to be published. Applying them to the known states always gives
// the new ones, and comparing the same snapshot with those changes nothing further.
func Compare(known Known, snap Snapshot, rules Rules) []events.Event {
	c := comparison{snap: snap, rules: rules, known: known}
	last := make(map[string]int, len(snap.Sessions))
	for i := range snap.Sessions {
		last[snap.Sessions[i].ID] = i
	}
	for i := range snap.Sessions {
		if shown := &snap.Sessions[i]; last[shown.ID] == i {
			c.seen(c.find(shown.ID), shown)
		}
	}
	for i := range known.Expected {
		if _, shown := last[known.Expected[i].Session.ID]; !shown {
			c.missing(known.Expected[i])
		}
	}
	for i := range c.changes {
		c.changes[i] = c.changes[i].Sealed()
	}
	return c.changes
}

type comparison struct {
	known   Known
	snap    Snapshot
	rules   Rules
	changes []events.Event
}

func (c *comparison) tracking(s *events.Session) Tracking {
	if c.known.Tracking == nil {
		return Tracking{}
	}
	return c.known.Tracking(s)
}

// find returns a state without figures for a session that is not known.
func (c *comparison) find(id string) events.State {
	if c.known.Find != nil {
		if state, ok := c.known.Find(id); ok {
			return state
		}
	}
	return events.State{Session: events.Session{DurationSeconds: events.UnknownSeconds, Downloaded: events.UnknownBytes, Uploaded: events.UnknownBytes}}
}

// seen compares one record with what is known of its session.
func (c *comparison) seen(old events.State, shown *events.Session) {
	now := complete(*shown, &old.Session)
	switch {
	case !old.Tracked():
		c.arrived(now)
	case !old.Session.Online && !now.Online:
		// Known as ended, and still so.
	case !old.Session.Online:
		c.resumed(old, now)
	case !now.Online:
		c.reported(old, now)
	default:
		c.changed(old, now)
	}
}

func (c *comparison) arrived(s events.Session) {
	tracking := c.tracking(&s)
	kind, notYet := events.Started, tracking.SeenAt
	if tracking.before(s.StartedAt) {
		kind = events.Discovered
	}
	if !s.StartedAt.IsZero() && s.StartedAt.Before(notYet) {
		notYet = s.StartedAt
	}
	if s.Online {
		c.publish(events.State{}, kind, s, notYet, func(*events.Data) {})
		return
	}
	// Nobody saw it online. In a history it is a session to backfill. If it began
	// before its location was watched, it is only where it was asked for and had ended
	// by then: the stream has told of all others.
	if !c.snap.History || tracking.Since.IsZero() || s.StartedAt.IsZero() {
		return
	}
	if tracking.before(s.StartedAt) && !(c.snap.Past.Contains(s.StartedAt) && !s.EndedAt.IsZero() && s.EndedAt.Before(tracking.Since)) {
		return
	}
	begun := s
	begun.Online, begun.EndedAt = true, time.Time{}
	// It began with nothing, unless the platform tells no figure at all.
	if s.DurationSeconds != events.UnknownSeconds {
		begun.DurationSeconds = 0
	}
	for _, figure := range []*events.Bytes{&begun.Downloaded, &begun.Uploaded} {
		if figure.Known() {
			*figure = events.Bytes{}
		}
	}
	state := c.publish(events.State{}, events.Started, begun, notYet, func(d *events.Data) { d.Observed.Backfilled = true })
	c.end(state, s, ending{events.EndReported, events.ProofRecord}, time.Time{}, true)
}

func (c *comparison) resumed(old events.State, now events.Session) {
	notYet := c.tracking(&now).SeenAt
	if notYet.Before(old.SeenAt.Add(MostBehind)) {
		notYet = old.SeenAt.Add(-longestLook) // what showed the end may be as old
	}
	c.publish(old, events.Resumed, now, notYet, func(d *events.Data) {
		d.Episode = old.Episode + 1
		d.Previous = now.Replaced(&old.Session)
		d.Change = change(old.Session, now)
	})
}

func (c *comparison) reported(old events.State, now events.Session) {
	c.end(old, now, ending{events.EndReported, events.ProofRecord}, c.seenAt(old), false)
}

// changed publishes the attributes and the traffic that differ, each as an event
// of its own, so that every event changes one thing.
func (c *comparison) changed(old events.State, now events.Session) {
	attributes := now
	attributes.Downloaded, attributes.Uploaded = old.Session.Downloaded, old.Session.Uploaded
	attributes.DurationSeconds = old.Session.DurationSeconds
	var previous *events.Previous
	if attributes != old.Session { // Replaced is exact, but allocates.
		previous = attributes.Replaced(&old.Session)
	}
	moved := c.worth(old.Session.Downloaded, now.Downloaded) || c.worth(old.Session.Uploaded, now.Uploaded)
	if previous == nil && !moved {
		return
	}
	from := c.seenAt(old)
	if previous != nil {
		old = c.publish(old, events.Updated, attributes, from, func(d *events.Data) { d.Previous = previous })
	}
	if moved {
		c.publish(old, events.Traffic, now, from, func(d *events.Data) {
			d.Previous = now.Replaced(&old.Session)
			d.Change = change(old.Session, now)
		})
	}
}

// worth reports whether a figure moved far enough to be published.
func (c *comparison) worth(old, now events.Bytes) bool {
	delta := now.Value - old.Value
	if delta < 0 {
		delta = -delta
	}
	return delta >= max(1, c.rules.TrafficMinBytes)
}

// missing ends a session that is gone: no record reports its end, so its figures
// are the last ones published, and its time is bounded.
func (c *comparison) missing(old events.State) {
	if !old.Session.Online || old.SeenAt.After(c.snap.From) && old.SeenAt.Sub(c.snap.At) < latestAnswer {
		// It ended before, or another look saw it since this one began, so its
		// page may have been read before it came online.
		return
	}
	last := old.Session
	last.Online = false
	end := ending{events.EndInferred, cmp.Or(c.snap.Proof, events.ProofList)}
	if c.snap.Presumed {
		end = ending{events.EndPresumed, ""}
	}
	c.end(old, last, end, c.seenAt(old), false)
}

// latestAnswer is more than any look takes: what was seen so long after one was told by a
// clock of the platform that has been set back since.
const latestAnswer = time.Hour

// ending is how sure an end is, and by what.
type ending struct {
	end   events.End
	proof events.Proof
}

func (c *comparison) end(old events.State, now events.Session, end ending, from time.Time, backfilled bool) {
	c.publish(old, events.Ended, now, from, func(d *events.Data) {
		d.Observed.End, d.Observed.Proof = end.end, end.proof
		d.Observed.Backfilled = backfilled
		d.Previous = now.Replaced(&old.Session)
		d.Change = change(old.Session, now)
	})
}

// seenAt is the last time at which a session was certainly as known: the last
// complete look showed it, unless it began later. One that begins after what is compared is
// told by another clock, or zone.
func (c *comparison) seenAt(old events.State) time.Time {
	at := c.tracking(&old.Session).SeenAt
	if c.known.SeenAt != nil {
		if at = c.known.SeenAt(old.Session.ID); at.IsZero() {
			at = old.SeenAt.Add(-longestLook)
		}
	}
	if start := old.Session.StartedAt; at.Before(start) && !start.After(c.snap.At) {
		at = start
	}
	return at
}

// longestLook is how long before its answer came the platform may have read what
// an event tells.
const longestLook = 15 * time.Second

// publish appends the event of kind that leads from old to now, and returns the
// state after it.
func (c *comparison) publish(old events.State, kind events.Kind, now events.Session, notYet time.Time, with func(*events.Data)) events.State {
	if n := len(c.changes); n == cap(c.changes) {
		// An event is large. Few are changes, mostly, or else nearly all are new.
		more := min(4, len(c.snap.Sessions))
		if n > 0 {
			more = max(n, len(c.snap.Sessions)-n)
		}
		c.changes = slices.Grow(c.changes, more)
	}
	// Where it is collected, lest it be allocated by itself for with to see.
	c.changes = append(c.changes, events.Event{
		Account: c.rules.Account,
		Kind:    kind,
		Time:    c.snap.At,
		Data: events.Data{
			Revision: old.Revision + 1,
			Episode:  old.Episode,
			Session:  now,
			Observed: events.Observed{
				At:       c.snap.At,
				NotYetAt: notYet,
				Rounding: events.Rounding{DownloadedBytes: now.Downloaded.Error, UploadedBytes: now.Uploaded.Error},
			},
		},
	})
	e := &c.changes[len(c.changes)-1]
	with(&e.Data)
	switch {
	case (kind == events.Started || kind == events.Discovered) && !now.StartedAt.IsZero():
		e.Time = now.StartedAt
	case kind == events.Ended && e.Data.Observed.End == events.EndReported && !now.EndedAt.IsZero():
		e.Time = now.EndedAt
	}
	// A look can miss what the platform dates before it; then its own time bounds.
	for _, t := range []time.Time{e.Time, c.snap.At} {
		if e.Data.Observed.NotYetAt.After(t) {
			e.Data.Observed.NotYetAt = t
		}
	}
	return events.StateOf(*e)
}

// complete returns what a record shows, with what is known already wherever the
// record is silent: an empty field of a record is a gap in the record, not news.
func complete(shown events.Session, old *events.Session) events.Session {
	name := shown.LocationName
	shown.FillFrom(old)
	if shown.LocationID != old.LocationID {
		shown.LocationName = name // What is known is the name of the location that it left.
	}
	if shown.Online {
		shown.EndedAt = time.Time{}
	}
	if shown.DurationSeconds == events.UnknownSeconds {
		shown.DurationSeconds = old.DurationSeconds
	}
	shown.Downloaded = figure(old.Downloaded, shown.Downloaded)
	shown.Uploaded = figure(old.Uploaded, shown.Uploaded)
	return shown
}

// figure returns the figure to go on from: the old one where the record has none,
// or where the new one is lower by no more than rounding explains.
func figure(old, shown events.Bytes) events.Bytes {
	if !shown.Known() {
		return old
	}
	if shown.Value < old.Value && old.Value-shown.Value <= old.Error+shown.Error {
		return old
	}
	return shown
}

func change(old, now events.Session) *events.Change {
	down, up := now.Downloaded.Value-old.Downloaded.Value, now.Uploaded.Value-old.Uploaded.Value
	if down == 0 && up == 0 {
		return nil
	}
	return &events.Change{DownloadedBytes: down, UploadedBytes: up, Reset: down < 0 || up < 0}
}
