package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Violation is one way in which a stream can differ from the truth.
type Violation string

// The violations that a Checker finds.
const (
	// Lost: a session was served as online, and the stream does not have it (or
	// has it as ended since before).
	Lost Violation = "lost"
	// EndMissing: the session is gone, enough complete looks have shown so, and
	// the stream still has it online.
	EndMissing Violation = "end missing"
	// Stale: the stream has it online with a location, IP or profile that it had no
	// more when it was last served.
	Stale Violation = "stale"
	// DuplicateID: an event id occurs twice.
	DuplicateID Violation = "duplicate id"
	// DuplicateRevision: two events of one session share a revision.
	DuplicateRevision Violation = "duplicate revision"
	// OutOfOrder: a revision is missing or late, or the kind cannot follow.
	OutOfOrder Violation = "out of order"
	// FalseEnd: ended, when the session was online.
	FalseEnd Violation = "false end"
	// FalseResume: resumed, when the session had never left.
	FalseResume Violation = "false resume"
	// WrongFigures: bytes further from the truth than their rounding error, or
	// an error larger than two decimals make.
	WrongFigures Violation = "wrong figures"
	// WrongTime: it did not happen between NotYetAt and At.
	WrongTime Violation = "wrong time"
	// WrongAttribute: location, IP or profile that the session did not have.
	WrongAttribute Violation = "wrong attribute"
	// WrongGuest: an event names somebody else than the session's guest.
	WrongGuest Violation = "wrong guest"
	// Unknown: a session that never was.
	Unknown Violation = "unknown session"
)

// Interval is a stretch of time, both ends included.
type Interval struct{ From, To time.Time }

// Checker compares a stream with the truth. Its zero value is strict: one
// process that was never killed, on a good clock and network.
type Checker struct {
	// Kills are the times in which what was served may not have been committed:
	// from some seconds before each kill until the next process runs.
	Kills []Interval
	// Until is when the stream was read, less the time that it lags: what was
	// served later does not count. Zero counts everything.
	Until time.Time
	// Slack is how far the poller's estimate of the platform's clock may be off:
	// 2 s.
	Slack time.Duration
	// Lag is how old data may be when they arrive, that is, the longest request:
	// 5 s.
	Lag time.Duration
	// Passes is how many complete looks at its place may pass before an end must
	// be in the stream: 3.
	Passes int
	// LooseFigures leaves byte figures unjudged, where records were damaged.
	LooseFigures bool
	// Presumed takes ends at their word that are presumed, and the returns after them.
	Presumed bool
	// IgnoreIP is set when addresses are hashed or dropped.
	IgnoreIP bool
}

// Finding is one violation.
type Finding struct {
	Violation
	Session, Event string // Event may be empty
	Text           string
}

func (f Finding) String() string {
	s := string(f.Violation) + ": session " + f.Session
	if f.Event != "" {
		s += ", event " + f.Event
	}
	return s + ": " + f.Text
}

// samplesEach is how many findings of each violation a Report keeps.
const samplesEach = 5

// Report is what a Checker found.
type Report struct {
	// Events in the stream, Sessions that the truth knows, Served of them in a
	// list that counts, Passes over a place that were complete, Ends that had to
	// be in the stream.
	Events, Sessions, Served, Passes, Ends int
	// Counts of the violations; empty when all is well.
	Counts map[Violation]int
	// Samples are the first five of each.
	Samples []Finding
}

// OK reports whether there was no violation.
func (r *Report) OK() bool { return len(r.Counts) == 0 }

// String is a report for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events, %d sessions, %d served, %d passes, %d ends due: ", r.Events, r.Sessions, r.Served, r.Passes, r.Ends)
	if r.OK() {
		b.WriteString("no violation")
		return b.String()
	}
	kinds := make([]string, 0, len(r.Counts))
	for v, n := range r.Counts {
		kinds = append(kinds, fmt.Sprintf("%d × %s", n, v))
	}
	slices.Sort(kinds)
	b.WriteString(strings.Join(kinds, ", "))
	for _, f := range r.Samples {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

func (r *Report) add(v Violation, session, event, format string, args ...any) {
	if r.Counts == nil {
		r.Counts = make(map[Violation]int)
	}
	if r.Counts[v]++; r.Counts[v] <= samplesEach {
		r.Samples = append(r.Samples, Finding{v, session, event, fmt.Sprintf(format, args...)})
	}
}

// followed is what the stream has said of one session so far.
type followed struct {
	state    events.State
	counted  time.Time // Observed.At of the last event with byte figures of its own
	arrived  time.Time // when the last event that brought it online saw it so
	presumed bool      // the last end was
	revision map[int64]bool
}

// Check compares the stream, in its order, with the truth.
func (c Checker) Check(truth []Truth, stream []events.Event) *Report {
	c.Slack = cmp.Or(c.Slack, 2*time.Second)
	c.Lag = cmp.Or(c.Lag, 5*time.Second)
	c.Passes = cmp.Or(c.Passes, 3)
	r := &Report{Events: len(stream)}
	lives := livesOf(truth)
	r.Sessions = len(lives)
	ids := make(map[string]bool, len(stream))
	sessions := make(map[string]*followed)
	for i := range stream {
		e := &stream[i]
		id := e.Data.Session.ID
		if ids[e.ID] {
			r.add(DuplicateID, id, e.ID, "%s at revision %d, number %d of the stream", e.Kind, e.Data.Revision, i+1)
			continue
		}
		ids[e.ID] = true
		f := sessions[id]
		if f == nil {
			f = &followed{revision: make(map[int64]bool)}
			sessions[id] = f
		}
		if !f.follow(r, e) {
			continue
		}
		if l := lives[id]; l == nil {
			r.add(Unknown, id, e.ID, "%s", e.Kind)
		} else {
			c.checkEvent(r, l, e, f)
		}
		if e.Kind == events.Ended {
			f.presumed = e.Data.Observed.End == events.EndPresumed
		}
		if e.Kind != events.Updated { // which repeats the figures before it
			f.counted = e.Data.Observed.At
		}
		if e.Kind.Arrival() {
			f.arrived = e.Data.Observed.At
			if e.Data.Observed.Backfilled {
				f.arrived = e.Time
			}
		}
	}
	c.checkServed(r, truth, lives, sessions)
	c.checkEnds(r, truth, lives, sessions)
	return r
}

// follow applies e; false when it is not new.
func (f *followed) follow(r *Report, e *events.Event) bool {
	d := &e.Data
	if f.revision[d.Revision] {
		r.add(DuplicateRevision, d.Session.ID, e.ID, "revision %d again, as %s", d.Revision, e.Kind)
		return false
	}
	f.revision[d.Revision] = true
	next, err := f.state.Apply(*e)
	if err != nil {
		r.add(OutOfOrder, d.Session.ID, e.ID, "%v", err)
		if errors.Is(err, events.ErrStale) {
			return false
		}
		next = events.StateOf(*e)
	}
	f.state = next
	return true
}

// checkEvent compares one event with the life of its session, and with what the
// stream has said of it before.
func (c *Checker) checkEvent(r *Report, l *life, e *events.Event, f *followed) {
	d, o := &e.Data, &e.Data.Observed
	id := d.Session.ID
	upTo := o.At.Add(c.Slack)
	seen := o.At.Add(-c.Lag - c.Slack) // the earliest time of the data
	last := seen                       // the same, of what the event may have kept from the one before
	if before := f.counted.Add(-c.Lag - c.Slack); !f.counted.IsZero() && before.Before(last) {
		last = before
	}
	window := fmt.Sprintf("between %v and %v", stamp(o.NotYetAt), stamp(o.At))
	notYet := o.NotYetAt
	if !notYet.IsZero() {
		notYet = notYet.Add(-c.Slack)
	}
	if g, is := d.Guest, l.told[0].Username; g != nil && g.Username != is {
		r.add(WrongGuest, id, e.ID, "%s names %s (%s), but the guest is %s", e.Kind, g.Username, o.Guest, is)
	}
	from := seen
	switch e.Kind {
	case events.Discovered, events.Started:
		if !l.came(notYet, upTo, 0) {
			r.add(WrongTime, id, e.ID, "%s %s, but it came %s", e.Kind, window, l)
		}
		if o.Backfilled {
			from = l.spans[0].on
		}
		c.checkAttributes(r, l, e, from, upTo, nil)
	case events.Resumed:
		if !(c.Presumed && f.presumed) && !l.came(notYet, upTo, 1) {
			v := WrongTime
			if !l.came(time.Time{}, upTo, 1) {
				v = FalseResume
			}
			r.add(v, id, e.ID, "resumed %s, but it came %s", window, l)
		}
		c.checkAttributes(r, l, e, from, upTo, nil)
	case events.Ended:
		off := l.left(f.arrived.Add(-c.Lag-c.Slack), upTo)
		switch {
		case c.Presumed && o.End == events.EndPresumed:
		case off.IsZero():
			r.add(FalseEnd, id, e.ID, "ended %s, but it came %s", window, l)
		case l.left(notYet, upTo).IsZero():
			r.add(WrongTime, id, e.ID, "ended %s, but it came %s", window, l)
		}
		if from = last; o.End == events.EndReported {
			from = off
		}
	case events.Updated:
		from = last
		if d.Previous == nil {
			r.add(WrongAttribute, id, e.ID, "updated, and nothing is said to have changed")
		} else {
			c.checkAttributes(r, l, e, seen, upTo, d.Previous)
		}
	}
	c.checkFigures(r, l, e, from, upTo)
}

func (c *Checker) checkFigures(r *Report, l *life, e *events.Event, from, to time.Time) {
	s := &e.Data.Session
	lowDown, lowUp := l.figures(from)
	highDown, highUp := l.figures(to)
	for _, b := range []struct {
		name      string
		b         events.Bytes
		low, high int64
	}{{"downloaded", s.Downloaded, lowDown, highDown}, {"uploaded", s.Uploaded, lowUp, highUp}} {
		switch {
		case c.LooseFigures, !b.b.Known(): // the record does not tell
		case b.b.Value < b.low-b.b.Error || b.b.Value > b.high+b.b.Error:
			r.add(WrongFigures, s.ID, e.ID, "%s at %v: %s %d ± %d, truth %d to %d", e.Kind, stamp(e.Data.Observed.At), b.name, b.b.Value, b.b.Error, b.low, b.high)
		case b.b.Error > b.b.Value/100+16 || b.b.Error < 0: // a whole last digit, where figures may be cut
			r.add(WrongFigures, s.ID, e.ID, "%s: %s %d ± %d: two decimals are more exact", e.Kind, b.name, b.b.Value, b.b.Error)
		}
	}
}

// checkAttributes compares location, IP and profile; of those that an update did
// not change, nothing is said.
func (c *Checker) checkAttributes(r *Report, l *life, e *events.Event, from, to time.Time, changed *events.Previous) {
	s := &e.Data.Session
	for _, a := range []struct {
		name, value string
		skip        bool
		of          func(*Truth) string
	}{
		{"location", s.LocationID, changed != nil && changed.LocationID == nil, func(t *Truth) string { return t.Location }},
		{"IP", s.DeviceIP, c.IgnoreIP || changed != nil && changed.DeviceIP == nil, func(t *Truth) string { return t.IP }},
		{"profile", s.ServiceProfile, changed != nil && changed.ServiceProfile == nil, func(t *Truth) string { return t.Profile }},
	} {
		if !a.skip && !l.had(from, to, a.value, a.of) {
			r.add(WrongAttribute, s.ID, e.ID, "%s at %v: %s %q, which it did not have then", e.Kind, stamp(e.Data.Observed.At), a.name, a.value)
		}
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
