package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// LocationMark says how a location is tracked; see Location.
type LocationMark struct {
	ID, Name             string
	TrackedSince, SeenAt time.Time
}

// Commit is what one look changes.
type Commit struct {
	// Changes in order; a session may have several. The first of a session that is
	// known has the revision after the stored one. What they lead to, which is
	// events.StateOf the last one of a session, is stored with them.
	Changes []events.Event
	// Locations are put in place of what is known of them. A mark that differs in
	// SeenAt alone does not cause a write: it is kept in memory, and written when
	// its location changes otherwise, with a commit that writes something, about every
	// ten seconds, or by Close.
	Locations []LocationMark
	// SeenFrom is the earliest time at which the changes can have been seen, on the
	// local clock; see Held. It is kept in memory alone.
	SeenFrom time.Time
}

// Commit writes states, events and the rest in one transaction, which is durable
// when Commit returns. When there is nothing to write, nothing is written, not
// even an empty transaction.
//
// A traffic event whose session's last event is traffic too and was not taken yet
// is merged into that one: the events that follow it in the commit, and the stored
// state, get revisions that leave no gap. So the state to compare with next time
// must be read from the store.
//
// With an error nothing was written. It is ErrOutboxFull when the unsent events
// would take more than OutboxMaxBytes, unless the commit does not add to them, or
// there were none (else a commit larger than the limit could never pass). It is
// ErrConflict when a change does not follow the stored state of its session.
func (s *Store) Commit(c Commit) error {
	if err := s.flushed(); err != nil {
		return err
	}
	s.log.Lock()
	defer s.log.Unlock()
	needed, seen, err := s.writes(&c)
	if err != nil {
		return err
	}
	if !needed {
		s.remember(seen)
		return nil
	}
	if err := s.remembered(); err != nil {
		return err
	}
	var w *writing
	err = s.update(fmt.Sprintf("commit %d changes", len(c.Changes)), func(tx *bbolt.Tx) error {
		w = s.begin(tx)
		return w.commit(&c)
	})
	if err != nil {
		return err
	}
	s.adopt(w)
	s.hold(w.arrivals, c.SeenFrom, w.now)
	if len(c.Changes) > 0 {
		s.signal()
	}
	return nil
}

// writes reports whether the commit has anything that must go into the file, and
// which marks are news in SeenAt.
func (s *Store) writes(c *Commit) (needed bool, seen []LocationMark, err error) {
	if len(c.Changes) > 0 || len(c.Locations) == 0 {
		return len(c.Changes) > 0, nil, s.usable()
	}
	err = s.view("read locations", func(tx *bbolt.Tx) error {
		places := tx.Bucket(bucketLocations)
		for i := range c.Locations {
			m := &c.Locations[i]
			v := places.Get([]byte(m.ID))
			p, err := readPlace([]byte(m.ID), v)
			if err != nil {
				return err
			}
			needed = needed || v == nil || p.name != m.Name || !p.trackedSince.Equal(m.TrackedSince)
			if !s.seenAt(m.ID, p.seenAt).Equal(m.SeenAt) {
				seen = append(seen, *m)
			}
		}
		return nil
	})
	return needed, seen, err
}

// remember keeps the marks of a commit that wrote nothing.
func (s *Store) remember(marks []LocationMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range marks {
		s.seen[m.ID] = m.SeenAt
	}
}

// writing is one write transaction under way. What it leads to is adopted by the
// Store after it is durable.
type writing struct {
	store *Store
	tx    *bbolt.Tx
	now   time.Time

	online, ended, endedByTime, log *bbolt.Bucket

	records *arena
	box     outbox
	// mergeable has what changes in Store.mergeable, with 0 for what goes.
	mergeable map[string]uint64
	arrivals  []uint64 // entries that may be held
	sessions  map[string]*session
	order     []*session      // sessions, as they came
	changed   map[string]bool // locations at which sessions came or went
	placed    bool            // SeenAt are written, all but these
	unplaced  map[string]time.Time

	cursorMoved bool
	saved       savedCursor
	sent        []sentMark
}

func (s *Store) begin(tx *bbolt.Tx) *writing {
	w := &writing{
		store: s, tx: tx, now: s.options.Now(), box: s.figures(), records: &s.records,
		online: tx.Bucket(bucketOnline), ended: tx.Bucket(bucketEnded),
		endedByTime: tx.Bucket(bucketEndedByTime), log: tx.Bucket(bucketOutbox),
		mergeable: map[string]uint64{}, sessions: map[string]*session{}, changed: map[string]bool{},
	}
	w.online.FillPercent = onlineFill
	w.records.reset()
	return w
}

// adopt takes over what a transaction led to.
func (s *Store) adopt(w *writing) {
	for id, seq := range w.mergeable {
		if seq == 0 {
			delete(s.mergeable, id)
		} else {
			// The id alone, not the document or record that it is a part of.
			s.mergeable[strings.Clone(id)] = seq
		}
	}
	if w.cursorMoved {
		s.saved, s.savedAt, s.sent = w.saved, w.now, w.sent
	}
	s.known.Lock()
	if s.online.rows != nil {
		for _, of := range w.order {
			s.online.set(&of.state, of.number)
		}
	}
	s.known.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.box = w.box
	if w.placed {
		s.seen = w.unplaced
	}
	if w.placed && len(w.unplaced) == 0 {
		s.placedAt = w.now
	}
}

func (w *writing) commit(c *Commit) error {
	for i := range c.Changes {
		if err := w.change(c.Changes[i]); err != nil {
			return err
		}
	}
	return w.finish(c.Locations, len(c.Changes))
}

// finish writes what so many changes lead to.
func (w *writing) finish(marks []LocationMark, changes int) error {
	if err := w.fits(); err != nil {
		return err
	}
	// In the order of the pages that they are on, the new ones as they came.
	slices.SortStableFunc(w.order, func(a, b *session) int { return cmp.Compare(a.number-1, b.number-1) })
	for _, s := range w.order {
		if err := w.put(s); err != nil {
			return fmt.Errorf("session %s: %w", s.state.Session.ID, err)
		}
	}
	// A leaf of each one, and with those that end others, too.
	w.store.touch(w.tx, 2*mapped*int64(len(w.order)))
	if err := w.places(marks, false); err != nil {
		return err
	}
	if err := w.prune(16 + 2*changes); err != nil {
		return err
	}
	if w.store.cursorLags() {
		return w.moveCursor(0)
	}
	return nil
}

// placedEvery is how often SeenAt are written for their own sake: there are as many as
// locations, on as many pages, and nearly all are newer each time.
const placedEvery = 10 * time.Second

// places writes the marks that changed, and now and then, or where all are to be written,
// what is newer in memory than in the file.
func (w *writing) places(marks []LocationMark, all bool) error {
	w.store.mu.Lock()
	seen := make(map[string]time.Time, len(w.store.seen))
	for id, t := range w.store.seen {
		seen[id] = t
	}
	since := w.now.Sub(w.store.placedAt)
	w.store.mu.Unlock()
	all = all || since < 0 || since >= placedEvery
	w.placed, w.unplaced = true, make(map[string]time.Time)
	byID := make(map[string]*LocationMark, len(marks))
	for i := range marks {
		byID[marks[i].ID] = &marks[i]
		seen[marks[i].ID] = marks[i].SeenAt
	}
	for id := range w.changed {
		if _, ok := seen[id]; !ok && w.store.deserted(id) {
			seen[id] = time.Time{} // It may have no record yet.
		}
	}
	b := w.tx.Bucket(bucketLocations)
	for id, at := range seen {
		if err := w.place(b, id, at, byID[id], all); err != nil {
			return err
		}
	}
	return nil
}

// place writes what is new of a location that was seen at a time, or by a mark; zero and
// nil are not. Whatever has changed is written, or, unless all is to be, more than SeenAt.
func (w *writing) place(b *bbolt.Bucket, id string, at time.Time, m *LocationMark, all bool) error {
	key := []byte(id)
	v := b.Get(key)
	was, err := readPlace(key, v)
	if err != nil {
		return err
	}
	p := was
	if m != nil {
		p.name, p.trackedSince, p.seenAt = m.Name, m.TrackedSince, m.SeenAt
	} else if !at.IsZero() {
		p.seenAt = at
	}
	if v != nil && p.equal(&was) {
		return nil
	}
	was.seenAt = p.seenAt
	if v != nil && !all && !w.changed[id] && p.equal(&was) {
		w.unplaced[id] = p.seenAt
		return nil
	}
	if err := b.Put(key, p.encode()); err != nil {
		return fmt.Errorf("location %s: %w", id, err)
	}
	return nil
}

// prune removes some sessions that ended longer than EndedRetention ago. What is
// left over is for later commits: each removes more than it can add.
func (w *writing) prune(limit int) error {
	until := max(0, w.now.Add(-w.store.options.EndedRetention).Unix())
	var keys [][]byte
	c := w.endedByTime.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < limit; k, _ = c.Next() {
		if len(k) <= 8 {
			return damaged("key %x of the ended sessions", k)
		}
		if binary.BigEndian.Uint64(k) >= uint64(until) {
			break
		}
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		if err := w.ended.Delete(k[8:]); err != nil {
			return err
		}
		if err := w.endedByTime.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
