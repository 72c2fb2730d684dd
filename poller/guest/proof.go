package guest

import (
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// connection is what look-ups said of the live connection at an address: it began
// between two times, on the local clock.
type connection struct{ from, to time.Time }

// connectionOf turns a duration in whole seconds, answered between two times, into
// bounds of the connection's beginning.
func connectionOf(seconds int64, sent, came time.Time) connection {
	d := time.Duration(seconds) * time.Second
	return connection{from: sent.Add(-d - time.Second), to: came.Add(-d)}
}

// and narrows c by another answer; false when the two cannot be about the same
// connection.
func (c connection) and(o connection) (connection, bool) {
	if o.from.After(c.from) {
		c.from = o.from
	}
	if o.to.Before(c.to) {
		c.to = o.to
	}
	return c, !c.from.After(c.to)
}

// match says how well a connection fits a session.
type match int

const (
	// another: it is not the session's, so the guest is another too.
	another match = iota
	// younger: it was there before the session was seen at the address, but began
	// after the session; as when the address changed within the session.
	younger
	// coarse: it began with the session, but that was so short before it was seen
	// that the times cannot tell it from a successor's.
	coarse
	// proven: it began with the session, and was there before it was seen.
	proven
)

// matches compares the connection with the session of an arrival. clock bounds the
// platform's time at a local one.
//
// The list showed the session at the address at h.SeenFrom or later. Whoever got
// the address after the session began later than that, so a connection that was
// there before is not a successor's. Addresses of private networks may also be in
// use at several venues at once; a connection there began at another time than the
// session, as a rule. A connection older than its session is never the session's.
func (c connection) matches(h *store.Held, clock func(time.Time) (earliest, latest time.Time)) match {
	before := !h.SeenFrom.IsZero() && !c.to.After(h.SeenFrom)
	from, _ := clock(c.from)
	_, to := clock(c.to)
	shown, _ := clock(h.SeenFrom)
	began := beganWith(h, from, to, shown)
	start := h.Event.Data.Session.StartedAt
	switch {
	case before && began:
		return proven
	case began:
		return coarse
	case before && (start.IsZero() || from.After(start)):
		return younger
	}
	return another
}

// beganWith reports whether what began between from and to can have begun when the
// session came online: by its start, by the duration that its record had when it
// was shown, or, for one that resumed, within the time in which it must have come
// back. All times are on the platform's clock.
func beganWith(h *store.Held, from, to, shown time.Time) bool {
	s, o := &h.Event.Data.Session, &h.Event.Data.Observed
	within := func(earliest, latest time.Time) bool { return !to.Before(earliest) && !from.After(latest) }
	if !s.StartedAt.IsZero() && within(s.StartedAt, s.StartedAt.Add(time.Second)) {
		return true
	}
	if s.DurationSeconds > 0 && !h.SeenFrom.IsZero() {
		if began := connectionOf(s.DurationSeconds, shown, o.At); within(began.from, began.to) {
			return true
		}
	}
	return h.Event.Kind == events.Resumed && !o.NotYetAt.IsZero() && within(o.NotYetAt, o.At)
}
