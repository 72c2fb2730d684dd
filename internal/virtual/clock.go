// Package virtual is time that passes as fast as it can be computed: sleeping
// moves it on. Tests and benchmarks run hours of polling in seconds with it, and
// the same way each time.
package virtual

import (
	"context"
	"time"
)

// Clock is a virtual clock, and carries requests beside each other on it. One
// goroutine runs at a time: the caller's, or that of a request until it sleeps.
// It implements poller.Clock and poller.Executor.
type Clock struct {
	now      time.Time
	sleeping []*request // in the order in which they went to sleep
	running  *request   // nil is the caller
	yielded  chan struct{}
	returned int // requests of which Wait has not told
}

// request runs on a goroutine of its own whenever it is resumed.
type request struct {
	wakes  time.Time
	resume chan struct{}
	done   bool
}

// New returns a clock that shows now.
func New(now time.Time) *Clock { return &Clock{now: now, yielded: make(chan struct{})} }

// Now returns the virtual time.
func (c *Clock) Now() time.Time { return c.now }

// Sleep lets d pass; requests that wake meanwhile run at their time.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	until := c.now.Add(max(0, d))
	if r := c.running; r != nil {
		r.wakes = until
		c.sleeping = append(c.sleeping, r)
		c.yielded <- struct{}{}
		<-r.resume
		return ctx.Err()
	}
	for c.step(until) {
	}
	return ctx.Err()
}

// Go runs request until it sleeps for the first time.
func (c *Clock) Go(f func()) {
	r := &request{resume: make(chan struct{})}
	go func() {
		<-r.resume
		f()
		r.done = true
		c.yielded <- struct{}{}
	}()
	c.run(r)
}

// Wait lets d pass, or as much of it as goes by until a request returns.
func (c *Clock) Wait(ctx context.Context, d time.Duration) error {
	for until := c.now.Add(max(0, d)); c.returned == 0 && c.step(until); {
	}
	c.returned = max(0, c.returned-1)
	return ctx.Err()
}

// step lets time pass until the next request wakes, and runs that; it returns
// false where none does by then.
func (c *Clock) step(until time.Time) bool {
	next := -1
	for i, r := range c.sleeping {
		if !r.wakes.After(until) && (next < 0 || r.wakes.Before(c.sleeping[next].wakes)) {
			next = i
		}
	}
	if next < 0 {
		c.now = until
		return false
	}
	r := c.sleeping[next]
	c.sleeping = append(c.sleeping[:next], c.sleeping[next+1:]...)
	if c.now.Before(r.wakes) {
		c.now = r.wakes
	}
	c.run(r)
	return true
}

func (c *Clock) run(r *request) {
	c.running = r
	r.resume <- struct{}{}
	<-c.yielded
	c.running = nil
	if r.done {
		c.returned++
	}
}

// Finish lets all requests return.
func (c *Clock) Finish() {
	for len(c.sleeping) > 0 {
		c.step(c.sleeping[0].wakes)
	}
}
