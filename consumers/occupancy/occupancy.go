// Package occupancy answers "who is where now" from the event stream alone: how
// many sessions, devices and guests are online at every location, who came and
// went lately, how long they stay, and how that looked over the last day.
//
// Data comes from the JetStream stream of guestflow events and goes three ways:
// into a key-value bucket (one JSON value a location), out over HTTP (JSON and
// server-sent events), and onto a web page that is embedded here. The package
// imports events, the NATS client, internal/group and the standard library, and nothing
// else of the project.
//
//   - Occupancy is the pure core: a fold over events in stream order. It has no
//     clock, no goroutine and no I/O, so the same prefix of a stream always gives
//     the same state.
//   - Service reads the stream into an Occupancy, keeps the bucket and the
//     checkpoint, and feeds the browsers.
//   - Service.Handler is the HTTP interface and the page.
package occupancy

import (
	"errors"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Limits bound what an Occupancy remembers. A zero field means its default.
type Limits struct {
	// History is how far back the online counts of each minute go. Default 24 h.
	History time.Duration
	// Stays bounds the age of the finished stays that dwell times are computed
	// from. Default 24 h. Besides, only the latest StaySample of a location count.
	Stays time.Duration
	// Ended is how long an ended session is remembered, so that an event that is
	// delivered again is recognised and a resumed one continues. It should exceed
	// the time for which a publisher may send again. Default 1 h.
	Ended time.Duration
	// Uncertain is how long a session whose end may have been among messages that are
	// missing counts as online without an event of its own. Default 1 h.
	Uncertain time.Duration
	// Zone is that of the hours of the week of which is known what is usual. Default UTC.
	Zone *time.Location
}

// StaySample is how many of a location's latest finished stays its dwell times
// rest on: they are exact for these.
const StaySample = 512

// aheadMost is how far a platform's clock may be ahead of the stream's server's. A later time
// than that is no clock's, and would move the windows of all accounts there.
const aheadMost = 24 * time.Hour

// recentWindow is the longest window of arrivals and departures.
const recentWindow = time.Hour

func (l Limits) withDefaults() Limits {
	or := func(d, standard time.Duration) time.Duration {
		if d <= 0 {
			return standard
		}
		return d
	}
	zone := l.Zone
	if zone == nil {
		zone = time.UTC
	}
	return Limits{Zone: zone, History: or(l.History, 24*time.Hour), Stays: or(l.Stays, 24*time.Hour), Ended: or(l.Ended, time.Hour), Uncertain: or(l.Uncertain, time.Hour)}
}

// Message is one event as the stream holds it.
type Message struct {
	Sequence uint64    // in the stream
	Stored   time.Time // by the stream's server
	Event    events.Event
}

// Counters say what the fold has met since the stream began.
type Counters struct {
	// Events were applied; the others of this struct are not part of it, Gaps
	// and Disordered aside.
	Events uint64 `json:"events"`
	// Duplicates were ignored: their revision was known already.
	Duplicates uint64 `json:"duplicates"`
	// Gaps are events before which at least one revision of their session is
	// missing. They were applied, since every event holds the whole session.
	Gaps uint64 `json:"gaps"`
	// Disordered are events whose kind cannot follow what was known, for instance
	// a second start. They were applied as well.
	Disordered uint64 `json:"disordered"`
	// Unreadable are messages that are no events, reported by Skip.
	Unreadable uint64 `json:"unreadable"`
	// Missing are messages that had left the stream before they were read: purged,
	// deleted or too old.
	Missing uint64 `json:"missing"`
	// Settled are sessions that were taken for gone, since their end may have been
	// missing and nothing was heard of them for Limits.Uncertain.
	Settled uint64 `json:"settled"`
}

// Occupancy is the state machine: who is online where, folded from the events of
// a stream in stream order. It is not safe for concurrent use.
type Occupancy struct {
	limits   Limits
	sequence uint64
	gap      uint64 // first sequence after the latest gap; zero when no session is uncertain
	observed int64  // latest Observed.At, Unix milliseconds
	counters Counters
	clock    clock
	delays   delays
	accounts map[string]*account
	changed  []*area
}

// account keeps what belongs to one platform account; ids of sessions and
// locations are unique only within it.
type account struct {
	name    string
	roster  roster
	ended   ended
	areas   map[string]*area
	moves   []move // of the last hour, in the order in which they became known
	total   *area
	devices spread
	guests  spread
}

// NewOccupancy returns the state before the first event of a stream.
func NewOccupancy(l Limits) *Occupancy {
	return &Occupancy{limits: l.withDefaults(), accounts: map[string]*account{}}
}

// online is the number of sessions in all accounts.
func (o *Occupancy) online() (n int) {
	for _, a := range o.accounts {
		n += a.roster.online
	}
	return n
}

// Sequence is that of the last message that was applied or skipped.
func (o *Occupancy) Sequence() uint64 { return o.sequence }

// Counters returns what the fold has met so far.
func (o *Occupancy) Counters() Counters { return o.counters }

// ObservedAt is the latest time, on the platform's clock, of which the state
// knows; zero before the first event.
func (o *Occupancy) ObservedAt() time.Time { return fromMillis(o.observed) }

// Skip moves on past a message that holds no event.
func (o *Occupancy) Skip(sequence uint64) {
	if sequence > o.sequence {
		o.sequence = sequence
		o.counters.Unreadable++
	}
}

// Apply folds one message in. A message whose sequence is not newer than the
// last one's is ignored, and so is an event whose revision is known.
func (o *Occupancy) Apply(m Message) {
	if m.Sequence <= o.sequence {
		return
	}
	o.sequence = m.Sequence
	e := &m.Event
	seen, stored := toMillis(e.Data.Observed.At), toMillis(m.Stored)
	sound := seen != 0 && (stored == 0 || seen-stored <= aheadMost.Milliseconds())
	if !sound {
		seen = stored
	}
	a := o.account(e.Account)
	a.ended.bury(o.observed - o.limits.Ended.Milliseconds())

	known, was := a.state(e.Data.Session.ID)
	_, err := known.Apply(*e)
	switch {
	case errors.Is(err, events.ErrStale):
		o.counters.Duplicates++
		return
	case errors.Is(err, events.ErrGap):
		o.counters.Gaps++
		o.suspect(was)
	case errors.Is(err, events.ErrOrder):
		o.counters.Disordered++
	}
	o.counters.Events++
	before := o.observed
	o.observed = max(o.observed, seen)
	if sound {
		o.clock.add(stored - seen)
	}
	at := min(nonzero(toMillis(e.Time), seen), seen) // nothing is seen before it happens
	if e.Kind == events.Started && !e.Data.Observed.Backfilled {
		o.delays.add(seen - at)
	}
	o.transit(a, was, e, at, seen)
	o.settle(before)
}

// transit moves one session from where it was to where e shows it.
func (o *Occupancy) transit(a *account, was session, e *events.Event, at, seen int64) {
	data := &e.Data.Session
	here := o.area(a, data, seen)
	if e.Data.Observed.Backfilled {
		here.past(toMillis(data.StartedAt))
		a.total.past(toMillis(data.StartedAt))
	}
	if was.row == nil {
		if t := a.ended.find(data.ID); t != nil {
			t.void = true
			at = max(at, t.endedAt) // a start that the platform dates before the end
		}
	}
	switch {
	case was.row == nil && data.Online:
		counted := e.Kind == events.Started || e.Kind == events.Resumed
		entered := at
		if !counted { // online before it was seen
			entered, at = nonzero(toMillis(data.StartedAt), at), seen
		}
		s := a.roster.add(was.after(e))
		s.enteredAt, s.cameAt, s.countedAt = entered, entered, at
		a.roster.fill(&s, e, o.sequence)
		here.count(s)
		if e.Kind == events.Discovered {
			at = entered // of one that was missed the curve begins with the look
		}
		o.enter(here, at, counted)
		o.enter(a.total, at, counted)
	case was.row == nil: // the end of a session of which nothing else is known
		o.depart(here, at, nonzero(toMillis(data.StartedAt), at))
		o.depart(a.total, at, nonzero(toMillis(data.StartedAt), at))
		a.remember(e, at, seen)
	case !data.Online:
		at = max(at, was.enteredAt, was.countedAt)
		from := a.roster.place(was)
		o.leave(from, at, was.enteredAt)
		o.leave(a.total, at, was.cameAt)
		a.remove(was)
		a.remember(e, at, seen)
		if from != here {
			o.touch(from)
		}
	case was.row.place != here.number:
		at = max(at, was.enteredAt, was.countedAt)
		from := a.roster.place(was)
		o.leave(from, at, was.enteredAt)
		from.forget(was)
		was.enteredAt, was.countedAt = at, at
		a.roster.fill(&was, e, o.sequence)
		here.count(was)
		o.enter(here, at, true)
		a.moved(from, here, at, o.observed-recentWindow.Milliseconds())
		o.touch(from)
	case was.mac() == data.DeviceMAC && was.guest() == data.GuestID: // nearly always
		a.roster.fill(&was, e, o.sequence)
	default:
		here.forget(was)
		a.roster.fill(&was, e, o.sequence)
		here.count(was)
	}
	here.sequence, here.seenAt = o.sequence, max(here.seenAt, seen)
	a.total.sequence, a.total.seenAt = o.sequence, max(a.total.seenAt, seen)
	o.touch(here)
}

func (o *Occupancy) account(name string) *account {
	a := o.accounts[name]
	if a == nil {
		a = newAccount(name)
		o.accounts[name] = a
	}
	return a
}

func newAccount(name string) *account {
	a := &account{
		name: name, roster: newRoster(), ended: newEnded(), areas: map[string]*area{}, total: newArea(name, "", 0),
		devices: newSpread(), guests: newSpread(),
	}
	a.total.of = a
	return a
}

// join makes a location one of the account.
func (a *account) join(l *area) {
	a.areas[l.id] = l
	a.roster.places = append(a.roster.places, l)
	l.of, l.number = a, int32(len(a.roster.places))
}

// remove takes a session out of those who are online.
func (a *account) remove(s session) {
	a.roster.place(s).forget(s)
	a.roster.remove(s)
}

// area returns the location of s, made when it is new.
func (o *Occupancy) area(a *account, s *events.Session, seen int64) *area {
	l := a.areas[s.LocationID]
	if l == nil {
		l = newArea(a.name, s.LocationID, seen)
		a.join(l)
		if a.total.since == 0 {
			a.total.since = seen
		}
	}
	if s.LocationName != "" {
		l.name = s.LocationName
	}
	return l
}

// state returns what is known of a session, as events.State.Apply wants it.
func (a *account) state(id string) (events.State, session) {
	if s := a.roster.find(id); s.row != nil {
		return events.State{Session: events.Session{ID: id, Online: true}, Revision: s.revision, Episode: s.episode}, s
	}
	if t := a.ended.find(id); t != nil {
		return events.State{Session: events.Session{ID: id}, Revision: t.revision, Episode: t.episode}, session{}
	}
	return events.State{}, session{}
}

// remember keeps what an ended session leaves.
func (a *account) remember(e *events.Event, at, seen int64) {
	d := &e.Data
	a.ended.add(tomb{id: d.Session.ID, revision: d.Revision, episode: d.Episode, endedAt: at, seenAt: seen})
}

// touch notes that a location changed, for Changed.
func (o *Occupancy) touch(l *area) {
	if !l.dirty {
		l.dirty = true
		o.changed = append(o.changed, l)
	}
}

// Changed returns the places that changed since the last call.
func (o *Occupancy) Changed() []Place {
	places := make([]Place, len(o.changed))
	for i, l := range o.changed {
		l.dirty = false
		places[i] = l.place()
	}
	o.changed = o.changed[:0]
	return places
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// nonzero returns v, or otherwise when v is zero.
func nonzero(v, otherwise int64) int64 {
	if v == 0 {
		return otherwise
	}
	return v
}
