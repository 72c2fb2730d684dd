package main

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// What occasions mutants need.

func healthy(s *script) {
	s.outages, s.strikes, s.killsAtMessage, s.loss, s.trip, s.foreign = nil, nil, nil, 0, 0, 0
	s.platform.Faults, s.platform.Unreadable = nil, nil
	s.platform.Locations = append(s.platform.Locations, simulator.Location{ID: "busy", Name: "Busy", MeanOnline: 40})
}

func killed(s *script) {
	healthy(s)
	s.restartAfter = 100 * time.Millisecond
	for i := range 8 {
		s.strikes = append(s.strikes, diskStrike{at: time.Duration(i+1) * 25 * time.Second, strike: killAfter})
		s.killsAtMessage = append(s.killsAtMessage, time.Duration(i+1)*25*time.Second+9*time.Second)
	}
}

func backlog(s *script) {
	healthy(s)
	s.outages = []outage{{at: 40 * time.Second, lasts: time.Minute}, {at: 2 * time.Minute, lasts: time.Minute}}
}

func shortWindow(s *script) { healthy(s); s.window = 10 * time.Millisecond }

func tailLost(s *script) {
	healthy(s)
	for at := 40 * time.Second; at < s.calm; at += 25 * time.Second {
		s.outages = append(s.outages, outage{at: at, lasts: time.Second, loses: 25})
	}
}

func deleted(s *script) { healthy(s); s.outages = []outage{{at: 2 * time.Minute, deletes: true}} }

// tampered hands out entries that are not as they were stored.
type tampered struct {
	publisher.Store
	tamper func([]publisher.Entry) []publisher.Entry
}

func (t *tampered) Take(after uint64, most int) ([]publisher.Entry, error) {
	e, err := t.Store.Take(after, most)
	return t.tamper(e), err
}

// swapped exchanges what two entries of a session say.
func swapped(e []publisher.Entry) []publisher.Entry {
	for i := range e {
		for k := i + 1; k < len(e); k++ {
			if e[i].SessionID == e[k].SessionID {
				e[i], e[k] = e[k], e[i]
				e[i].Seq, e[k].Seq = e[k].Seq, e[i].Seq
				return e
			}
		}
	}
	return e
}

// repeating hands every fiftieth entry out a second time, under a number of its own: its
// numbers count the repeated ones, too.
type repeating struct{ publisher.Store }

const repeats = 50

// given is the number under which an entry goes out first, taken the entry that went
// out under a number, or was the last one before.
func given(entry uint64) uint64 { return entry + (entry-min(entry, 1))/repeats }
func taken(given uint64) uint64 { return given - given/(repeats+1) }

func (r repeating) Take(after uint64, most int) ([]publisher.Entry, error) {
	from := taken(after)
	if from%repeats == 0 && from > 0 && after == given(from) {
		from-- // it goes out again
	}
	entries, err := r.Store.Take(from, most)
	var out []publisher.Entry
	for _, e := range entries {
		again := e.Seq%repeats == 0
		if e.Seq = given(e.Seq); e.Seq > after {
			out = append(out, e)
		}
		if again {
			e.Seq++
			out = append(out, e)
		}
	}
	return out, err
}

func (r repeating) Cursor() publisher.Cursor {
	c := r.Store.Cursor()
	c.OutboxSeq = given(c.OutboxSeq)
	return c
}

func (r repeating) Acked(c publisher.Cursor) error {
	c.OutboxSeq = taken(c.OutboxSeq)
	return r.Store.Acked(c)
}

func (r repeating) Rewind(seq uint64) error { return r.Store.Rewind(taken(seq)) }

// unkept has no entry any more that was confirmed once.
type unkept struct {
	publisher.Store
	confirmed atomic.Uint64
}

func (u *unkept) Acked(c publisher.Cursor) error {
	u.confirmed.Store(max(u.confirmed.Load(), c.OutboxSeq))
	return u.Store.Acked(c)
}

func (u *unkept) Take(after uint64, most int) ([]publisher.Entry, error) {
	return u.Store.Take(max(after, u.confirmed.Load()), most)
}

// nameless forgets what the outbox is called.
type nameless struct{ publisher.Store }

func (nameless) Get(string) ([]byte, error) { return nil, nil }

// hasty counts entries as in the stream when they are taken.
type hasty struct{ publisher.Store }

func (h hasty) Take(after uint64, most int) ([]publisher.Entry, error) {
	e, err := h.Store.Take(after, most)
	if err == nil && len(e) > 0 {
		c := h.Store.Cursor()
		c.OutboxSeq = max(c.OutboxSeq, e[len(e)-1].Seq)
		c.At = time.Now()
		if c.StreamSeq > 0 {
			err = h.Store.Acked(c)
		}
	}
	return e, err
}

// swallowing commits without the changes of a kind.
type swallowing struct {
	poller.Store
	drop func(*events.Event) bool
}

func (s swallowing) Commit(c store.Commit) error {
	if slices.ContainsFunc(c.Changes, func(e events.Event) bool { return s.drop(&e) }) {
		c.Changes = slices.DeleteFunc(slices.Clone(c.Changes), func(e events.Event) bool { return s.drop(&e) })
	}
	return s.Store.Commit(c)
}

// edited changes every page of sessions.
type edited struct {
	poller.Platform
	edit func(*platform.Page)
}

func edits(edit func(*platform.Page)) func(poller.Platform) poller.Platform {
	return func(p poller.Platform) poller.Platform { return edited{p, edit} }
}

func (e edited) Sessions(ctx context.Context, q platform.Query) (platform.Page, error) {
	p, err := e.Platform.Sessions(ctx, q)
	e.edit(&p)
	return p, err
}

// untied tells sessions of equal start apart by their ids, in a list whose newest come first.
func untied(p *platform.Page) {
	for i := range p.Sessions {
		h := fnv.New32a()
		h.Write([]byte(p.Sessions[i].ID))
		p.Sessions[i].StartedAt = p.Sessions[i].StartedAt.Add(-time.Duration(h.Sum32()) * time.Nanosecond)
	}
	slices.SortStableFunc(p.Sessions, func(a, b events.Session) int { return b.StartedAt.Compare(a.StartedAt) })
}

// credulous takes an error for an answer with nobody in it.
type credulous struct{ poller.Platform }

func (c credulous) Sessions(ctx context.Context, q platform.Query) (platform.Page, error) {
	p, err := c.Platform.Sessions(ctx, q)
	if err != nil && ctx.Err() == nil {
		return platform.Page{Meta: p.Meta}, nil
	}
	return p, err
}

// stale hands on, now and then, the answer before in place of the new one.
type stale struct {
	poller.Platform
	mu   sync.Mutex
	last map[string]platform.Page
	n    int
}

func (s *stale) Sessions(ctx context.Context, q platform.Query) (platform.Page, error) {
	p, err := s.Platform.Sessions(ctx, q)
	if err != nil {
		return p, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[string]platform.Page)
	}
	key := q.LocationID + "|" + strconv.Itoa(q.Page) + "|" + q.StartDate
	before, had := s.last[key]
	s.last[key] = p
	if s.n++; had && s.n%5 == 0 {
		before.Meta = p.Meta
		return before, nil
	}
	return p, err
}
