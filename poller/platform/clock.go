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
// The bounds of all answers are intersected. Where they contradict, one of the
// clocks was set, and the estimate starts anew. The zero Clock knows nothing and
// takes the local clock for the platform's. It is safe for concurrent use.
type Clock struct {
	mu        sync.Mutex
	known     bool
	low, high time.Duration
}

// creep is how much the bounds widen with each answer, so that a slow drift of
// the clocks is followed.
const creep = 100 * time.Microsecond

// Sample takes the date of an answer into account; sent and received are on the
// local clock.
func (c *Clock) Sample(sent, received, date time.Time) {
	low, high := date.Sub(received), date.Add(time.Second).Sub(sent)
	if low > high {
		return // the local clock was set back in between
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known {
		l, h := max(low, c.low-creep), min(high, c.high+creep)
		if l <= h {
			low, high = l, h
		}
	}
	c.known, c.low, c.high = true, low, high
}

// Bounds returns the earliest and the latest time that the platform's clock can
// have shown at a moment of the local clock, UTC.
func (c *Clock) Bounds(local time.Time) (earliest, latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return local.Add(c.low).UTC(), local.Add(c.high).UTC()
}

// Offset returns the middle of the bounds, and whether any answer had a date.
func (c *Clock) Offset() (offset time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.low + c.high) / 2, c.known
}
