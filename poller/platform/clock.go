package platform

import (
	"sync"
	"time"
)

// Clock estimates how far the platform's clock is ahead of the local one, from
// the Date header of its answers. The header has whole seconds and was written
// between sending and receiving, so each answer bounds the offset:
//
//	Date − Received ≤ offset < Date + 1 s − Sent
//
// The bounds of all answers are intersected. Where they contradict, the platform's
// clock was set, or the machine has slept, and the estimate starts anew: at once, or
// where the machine's own clock knows nothing of a step of minutes, once every answer has
// said the same for a while. One of several servers may be off by a day, and a time from
// the future in one event would hold up whoever reads them for as long. That the local
// clock is set changes nothing, also of moments before: how time has passed since the
// first answer is read off the monotonic clock. The zero Clock knows nothing and takes
// the local clock for the platform's. It is safe for concurrent use.
type Clock struct {
	mu        sync.Mutex
	known     bool
	first     time.Time // when the first answer came
	low, high time.Duration
	agreed    int           // answers that contradicted nothing
	wall      time.Duration // by how much the platform was ahead of the local clock as it was set
	doubt     doubt
}

// doubt is a step that is not believed yet.
type doubt struct {
	since     time.Time // of the first answer that told of it; zero where there is none
	low, high time.Duration
}

const (
	// doubtful is how far answers may be off one another before the platform is asked
	// for longer: a clock that is set, as a rule is set by less.
	doubtful = 2 * time.Minute
	// believed is for how long every answer has to say so.
	believed = 5 * time.Minute
	// agreement is how many answers make the first ones certain.
	agreement = 3
)

// steady is a moment of the local clock as that would have told it had nobody set it
// since the first answer. One without a monotonic reading is one of the clock as it is
// set now.
func (c *Clock) steady(local time.Time) time.Time {
	if !c.known || !monotonic(c.first) {
		return local
	}
	if !monotonic(local) {
		now := time.Now()
		local = now.Add(local.Sub(now))
	}
	return c.first.Round(0).Add(local.Sub(c.first))
}

// monotonic reports whether t can be told from others whatever the clock was set to.
func monotonic(t time.Time) bool { return t != t.Round(0) }

// creep is how much the bounds widen with each answer, so that a slow drift of
// the clocks is followed.
const creep = 100 * time.Microsecond

// Sample takes the date of an answer into account; sent and received are on the
// local clock.
func (c *Clock) Sample(sent, received, date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.first = received
		sent = received.Add(-received.Sub(sent)) // though the clock was set in between
	}
	low, high := date.Sub(c.steady(received)), date.Add(time.Second).Sub(c.steady(sent))
	if low > high {
		return // the local clock, which has no monotonic one beside it, was set back in between
	}
	wall := date.Sub(received.Round(0))
	if c.known {
		l, h := max(low, c.low-creep), min(high, c.high+creep)
		switch {
		case l <= h:
			low, high = l, h
			c.agreed++
		case c.doubts(low, high, wall, c.steady(received)):
			return
		default:
			c.agreed = 0
		}
	}
	c.known, c.low, c.high, c.wall, c.doubt = true, low, high, wall, doubt{}
}

// doubts reports whether bounds that contradict those that are known are left out for now.
func (c *Clock) doubts(low, high, wall time.Duration, at time.Time) bool {
	if c.agreed < agreement || low-c.high <= doubtful && c.low-high <= doubtful || (wall-c.wall).Abs() <= doubtful {
		return false
	}
	if l, h := max(low, c.doubt.low-creep), min(high, c.doubt.high+creep); !c.doubt.since.IsZero() && l <= h {
		c.doubt.low, c.doubt.high = l, h
		return at.Sub(c.doubt.since) < believed
	}
	c.doubt = doubt{at, low, high}
	return true
}

// Bounds returns the earliest and the latest time that the platform's clock can
// have shown at a moment of the local clock, UTC.
func (c *Clock) Bounds(local time.Time) (earliest, latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	local = c.steady(local)
	return local.Add(c.low).UTC(), local.Add(c.high).UTC()
}

// Offset returns the middle of the bounds, as the local clock is set now, and whether
// any answer had a date.
func (c *Clock) Offset() (offset time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset = (c.low + c.high) / 2
	if c.known && monotonic(c.first) {
		now := time.Now()
		offset += c.steady(now).Sub(now.Round(0))
	}
	return offset, c.known
}
