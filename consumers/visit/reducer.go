package visit

import (
	"cmp"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// Message is one session event as its stream holds it.
type Message struct {
	Sequence uint64
	Stored   time.Time // by the stream's server
	Event    events.Event
}

// Output is one visit event, and what caused it.
type Output struct {
	Event visits.Event
	// Input is the sequence of the last session event that was applied.
	Input uint64
	// Clock is the time of the Tick that caused it; zero where a session event did.
	Clock time.Time
	// Answer is that to Reducer.Answer which caused it; nil where none did.
	Answer *Answer
}

// Reducer folds session events, in stream order, into visits. It is not safe for
// concurrent use.
type Reducer struct {
	rules    Rules
	groups   grouping
	sequence uint64
	made     uint64 // visits
	open     int    // of them not over
	present  int    // of these with a session online
	accounts map[string]*account
	clock    time.Time // of the Tick under way
	answer   *Answer   // under way
	seen     int64     // by the event under way
	out      []Output
}

// NewReducer returns the state before the first event of a stream.
func NewReducer(r Rules) *Reducer {
	r = r.withDefaults()
	return &Reducer{rules: r, groups: r.grouping(), accounts: map[string]*account{}}
}

// Sequence is that of the last message that was applied or skipped.
func (r *Reducer) Sequence() uint64 { return r.sequence }

// Open counts the visits that are not over, and those of them with a session online.
func (r *Reducer) Open() (open, present int) { return r.open, r.present }

// Skip moves on past a message that holds no event.
func (r *Reducer) Skip(sequence uint64) { r.sequence = max(r.sequence, sequence) }

// aheadMost is how far a platform's clock may be ahead of the stream's server's. A later time
// than that is no clock's, and would hold up the account's visits until it comes.
const aheadMost = 24 * time.Hour

// seenAt is the platform's time of an event that the server stored at a time.
func seenAt(e *events.Event, stored time.Time) time.Time {
	at := e.Data.Observed.At
	if at.IsZero() || !stored.IsZero() && at.Sub(stored) > aheadMost {
		return stored
	}
	return at
}

// Apply folds one message in and returns the events that it makes certain, valid until
// the next call. A message whose sequence is not newer than the last one's is ignored.
func (r *Reducer) Apply(m Message) []Output {
	r.out, r.clock, r.answer = r.out[:0], time.Time{}, nil
	if m.Sequence <= r.sequence {
		return nil
	}
	r.sequence = m.Sequence
	e := &m.Event
	a := r.accounts[e.Account]
	if a == nil {
		a = newAccount(e.Account)
		r.accounts[e.Account] = a
	}
	seen := toMillis(seenAt(e, m.Stored))
	r.seen = seen
	if late := r.rules.Lateness.Milliseconds(); a.watermark > 0 && seen-a.watermark > late {
		a.gap = m.Sequence
	}
	if a.since == 0 {
		a.since = seen
	}
	r.meet(a, e, seen)
	r.take(a, e, seen)
	r.advance(a, seen)
	return r.out
}

// Tick decides, at a time on the account's clock at which every event up to then has been
// applied, what only time makes certain. It changes nothing else: the same state and time
// always give the same events.
func (r *Reducer) Tick(accountName string, at time.Time) []Output {
	r.out, r.clock, r.answer = r.out[:0], at.UTC(), nil
	a := r.accounts[accountName]
	if a == nil {
		return nil
	}
	if now := toMillis(at); now >= a.hold {
		r.settle(a, now)
	}
	return r.out
}

// Due reports whether a Tick at that time would decide anything.
func (r *Reducer) Due(accountName string, at time.Time) bool {
	a := r.accounts[accountName]
	now := toMillis(at)
	return a != nil && now >= a.hold && len(a.queue) > 0 && a.queue[0].due <= now-r.rules.Lateness.Milliseconds()
}

// advance moves the account's time on. After a silence, what was silent is given the
// lateness to show itself before anything is decided on the ground that it did not.
func (r *Reducer) advance(a *account, seen int64) {
	late := r.rules.Lateness.Milliseconds()
	if before := a.watermark; seen > before {
		if before > 0 && seen-before > late {
			if seen >= a.hold {
				r.settle(a, before)
			}
			a.hold = seen + late
		}
		a.watermark = seen
	}
	if a.watermark >= a.hold {
		r.settle(a, a.watermark)
	}
}

// take folds one event in.
func (r *Reducer) take(a *account, e *events.Event, seen int64) {
	s := &e.Data.Session
	k := sessionKey(s.ID)
	v := a.sessions[k]
	began := a.backfill[k]
	switch {
	case v == nil && began == nil && s.Online && e.Data.Observed.Backfilled:
		kept := *e // until its end, which follows
		a.backfill[k] = &kept
	case v == nil && began != nil && s.Online: // it lives after all
		delete(a.backfill, k)
		r.join(a, k, e, toMillis(began.Time), seen, fromOutside)
	case v == nil && s.Online:
		r.join(a, k, e, arrived(e), seen, fromOutside)
	case v == nil:
		delete(a.backfill, k)
		r.whole(a, k, cmp.Or(began, e), e, seen)
	case !s.Online:
		r.grow(v, e)
		end := e.Data.Observed.End
		r.leave(a, k, v, toMillis(e.Time), toMillis(e.Data.Observed.NotYetAt), end)
	default:
		r.change(a, k, v, e, seen)
	}
}

// arrived is when the session of an event came online, as far as known.
func arrived(e *events.Event) int64 {
	at := toMillis(e.Time)
	if began := toMillis(e.Data.Session.StartedAt); began != 0 && e.Kind != events.Started && e.Kind != events.Resumed {
		return began
	}
	return at
}

// find returns the visit that a session belongs to by guest and then by device; nil where
// there is none.
func (a *account) find(p *place, s *events.Session) *open {
	if s.GuestID != "" {
		if v := a.index[guestKey(p.key(), s.GuestID)]; v != nil {
			return v
		}
	}
	if s.DeviceMAC == "" {
		return nil
	}
	v := a.index[deviceKey(p.key(), s.DeviceMAC)]
	if v != nil && s.GuestID != "" && v.guest != "" { // somebody else's device before
		return nil
	}
	return v
}

// origin says where a session that joins a visit was before.
type origin bool

const (
	fromOutside origin = false // not online
	fromVisit   origin = true  // in another visit: what it moved there is not this one's
)

// join adds a session that is online to the guest's visit, or begins one.
func (r *Reducer) join(a *account, k key, e *events.Event, at, seen int64, from origin) {
	s := &e.Data.Session
	at = cmp.Or(min(at, seen), seen)
	p := a.location(r.groups, s).place
	v := a.find(p, s)
	if v != nil && v.online == 0 && at > v.ended+r.rules.Gap.Milliseconds() {
		r.finish(a, v)
		v = nil
	}
	fresh := v == nil
	if fresh {
		arrival := visits.Seen
		if from == fromOutside && e.Kind != events.Started && e.Kind != events.Resumed {
			arrival = visits.Discovered
		}
		v = r.begin(a, e, at, arrival)
	}
	if v.online++; v.online == 1 {
		r.present++
	}
	a.sessions[k] = v
	r.add(a, v, k, e, at, from)
	if fresh {
		r.publishStart(a, v, e)
	}
	r.reschedule(a, v)
}

// begin makes a visit that has no session yet.
func (r *Reducer) begin(a *account, e *events.Event, at int64, arrival visits.Arrival) *open {
	r.made++
	r.open++
	l := a.location(r.groups, &e.Data.Session)
	return &open{
		id: keyOf("visit", a.name, l.place.key(), e.ID), ordinal: r.made, place: l.place, at: l,
		started: at, certain: at, arrival: byte(slices.Index(arrivals, arrival)), days: -1,
	}
}

// add counts a session in that the visit did not have, or not online.
func (r *Reducer) add(a *account, v *open, k key, e *events.Event, at int64, from origin) {
	s := &e.Data.Session
	v.started = min(v.started, at)
	v.moved(a.location(r.groups, s))
	r.name(a, v, s)
	if v.more == nil || !slices.Contains(v.more.sessions, k) {
		v.sessions++
	}
	if e.Kind == events.Resumed || from == fromVisit {
		r.grow(v, e)
	} else {
		v.down += max(0, s.Downloaded.Value)
		v.up += max(0, s.Uploaded.Value)
	}
}

// name notes who the visit is of, and lets its later sessions find it.
func (r *Reducer) name(a *account, v *open, s *events.Session) {
	if s.GuestID != "" && v.guest == "" {
		v.guest = s.GuestID
		if !v.past {
			a.index[guestKey(v.place.key(), s.GuestID)] = v
		}
		if r.recall(a, v); v.revision > 0 && v.first != 0 {
			r.publishCount(a, v)
		}
	}
	v.unnamed = v.unnamed || s.GuestID == ""
	if s.DeviceMAC == "" {
		return
	}
	if v.device == "" {
		v.device = s.DeviceMAC
	} else if v.device != s.DeviceMAC {
		if x := v.extra(); !slices.Contains(x.devices, s.DeviceMAC) {
			x.devices = append(x.devices, s.DeviceMAC)
		}
	}
	if !v.past {
		a.index[deviceKey(v.place.key(), s.DeviceMAC)] = v
	}
}

// grow adds what an event says that its session has moved. A counter that began anew is
// no traffic.
func (r *Reducer) grow(v *open, e *events.Event) {
	if c := e.Data.Change; c != nil {
		v.down += max(0, c.DownloadedBytes)
		v.up += max(0, c.UploadedBytes)
	}
}

// change applies an event of a session that is and stays online.
func (r *Reducer) change(a *account, k key, v *open, e *events.Event, seen int64) {
	s := &e.Data.Session
	l := a.location(r.groups, s)
	other := l.place != v.place || s.GuestID != "" && v.guest != "" && s.GuestID != v.guest
	if !other && s.GuestID != "" && v.guest == "" {
		w := a.index[guestKey(l.place.key(), s.GuestID)]
		other = w != nil && w != v // the guest is here already, with another device
	}
	if !other {
		r.grow(v, e)
		v.moved(l)
		if s.GuestID != "" && v.guest == "" || !v.has(s.DeviceMAC) {
			r.name(a, v, s)
		}
		return
	}
	at := cmp.Or(toMillis(e.Time), seen)
	r.leave(a, k, v, at, toMillis(e.Data.Observed.NotYetAt), events.EndInferred)
	r.join(a, k, e, at, seen, fromVisit)
}

// leave takes a session out of its visit.
func (r *Reducer) leave(a *account, k key, v *open, at, notYet int64, end events.End) {
	delete(a.sessions, k)
	if v.online--; v.online == 0 {
		r.present--
	}
	r.gone(v, k, at, notYet, end)
	r.reschedule(a, v)
}

// gone notes the end of one of the visit's sessions.
func (r *Reducer) gone(v *open, k key, at, notYet int64, end events.End) {
	if x := v.extra(); !slices.Contains(x.sessions, k) {
		x.sessions = append(x.sessions, k)
	}
	at = max(at, v.started)
	if at >= v.ended {
		v.ended, v.end = at, byte(max(0, slices.Index(ends, end)))
	}
	if end == events.EndReported {
		notYet = at
	}
	v.certain = max(v.certain, min(notYet, at))
}

// whole takes a session that is known from beginning to end, and was never seen online.
func (r *Reducer) whole(a *account, k key, began, ended *events.Event, seen int64) {
	s := &ended.Data.Session
	to := cmp.Or(toMillis(ended.Time), seen)
	from := cmp.Or(toMillis(began.Time), to)
	if began == ended {
		from = cmp.Or(toMillis(s.StartedAt), to)
	}
	from = min(from, to)
	gap := r.rules.Gap.Milliseconds()
	p := a.location(r.groups, s).place
	v, past := a.find(p, s), false
	if v != nil && !v.near(from, to, gap) {
		if past = to+gap < v.started; !past { // the guest was back after the gap
			r.finish(a, v)
		}
		v = nil
	}
	// Over for so long that no session of the present belongs to it.
	past = past || v == nil && to+gap <= seen-r.rules.Lateness.Milliseconds()
	if past {
		v = a.remembered(p, s, from, to, gap)
	}
	fresh := v == nil
	if fresh {
		v = r.begin(a, began, from, visits.Backfilled)
		v.past = past
	}
	r.name(a, v, s)
	if fresh && past {
		a.remember(v)
	}
	v.started = min(v.started, from)
	v.moved(a.location(r.groups, s))
	v.sessions++
	v.down += max(0, s.Downloaded.Value)
	v.up += max(0, s.Uploaded.Value)
	r.gone(v, k, to, toMillis(ended.Data.Observed.NotYetAt), ended.Data.Observed.End)
	if fresh {
		r.publishStart(a, v, began)
	}
	r.reschedule(a, v)
	if v.past { // the history is read bit by bit: more of the visit may follow
		a.schedule(v, max(v.due, seen))
	}
}

// reschedule publishes the stays that are certain already, and notes when the visit is
// to be decided on next.
func (r *Reducer) reschedule(a *account, v *open) {
	if v.online == 0 {
		r.stays(a, v, v.certain)
		a.schedule(v, v.ended+r.rules.Gap.Milliseconds())
		return
	}
	if next := int(v.stayed); next < len(r.rules.Stays) {
		a.schedule(v, v.started+r.rules.Stays[next].Milliseconds())
		return
	}
	a.schedule(v, 0)
}

// settle decides what has become certain at a time of the account.
func (r *Reducer) settle(a *account, now int64) {
	limit := now - r.rules.Lateness.Milliseconds()
	for len(a.queue) > 0 && a.queue[0].due <= limit {
		v := a.queue[0]
		if v.over {
			r.lapse(a, v)
			continue
		}
		if v.online == 0 {
			r.finish(a, v)
			continue
		}
		r.stays(a, v, limit)
		r.reschedule(a, v)
	}
}

// stays publishes the thresholds up to which the guest was there.
func (r *Reducer) stays(a *account, v *open, until int64) {
	for int(v.stayed) < len(r.rules.Stays) {
		threshold := r.rules.Stays[v.stayed]
		if v.started+threshold.Milliseconds() > until {
			return
		}
		v.stayed++
		r.publishStay(a, v, threshold)
	}
}

// finish ends a visit for good.
func (r *Reducer) finish(a *account, v *open) {
	r.open--
	a.schedule(v, 0)
	r.stays(a, v, v.certain)
	r.publishEnd(a, v)
	a.answered(v)
	r.remember(a, v)
	if v.past {
		a.forget(v)
		return
	}
	drop := func(k short) {
		if a.index[k] == v {
			delete(a.index, k)
		}
	}
	if v.guest != "" {
		drop(guestKey(v.place.key(), v.guest))
	}
	if v.device != "" {
		drop(deviceKey(v.place.key(), v.device))
	}
	if v.more != nil {
		for _, d := range v.more.devices {
			drop(deviceKey(v.place.key(), d))
		}
	}
}
