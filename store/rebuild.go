package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// Rebuilt is a state that was put together from what the stream holds.
type Rebuilt struct {
	// States of sessions, each once, online or not.
	States []events.State
	// Cursor says up to where the stream was read. Its OutboxSeq is 0: the outbox begins
	// anew.
	Cursor Cursor
	// Values are put where there are none of their keys yet; those of Forget are removed
	// before.
	Values map[string][]byte
	Forget []string
}

// Rebuild puts r in the place of states, locations and outbox, in one transaction; what
// is unsent in the outbox is dropped, since others have told of it. It must not run
// beside other calls.
func (s *Store) Rebuild(r Rebuilt) error {
	if err := s.flushed(); err != nil {
		return err
	}
	s.log.Lock()
	defer s.log.Unlock()
	slices.SortFunc(r.States, func(a, b events.State) int { // in the order of the pages that they are on
		return cmp.Or(strings.Compare(a.Session.LocationID, b.Session.LocationID), strings.Compare(a.Session.ID, b.Session.ID))
	})
	err := s.update(fmt.Sprintf("rebuild %d states", len(r.States)), func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketOnline, bucketIndex, bucketEnded, bucketEndedByTime, bucketLocations, bucketOutbox, bucketCursor} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		w := s.begin(tx)
		for i := range r.States {
			if err := w.put(&session{state: r.States[i]}); err != nil {
				return fmt.Errorf("session %s: %w", r.States[i].Session.ID, err)
			}
		}
		w.placed = true // what was seen before is of the former state
		if err := w.places(nil); err != nil {
			return err
		}
		saved := savedCursor{Cursor: r.Cursor}
		if err := tx.Bucket(bucketCursor).Put(keyCursor, saved.encode()); err != nil {
			return err
		}
		return r.putValues(tx.Bucket(bucketValues))
	})
	if err != nil {
		return err
	}
	clear(s.mergeable)
	s.held = nil
	s.known.Lock()
	s.online = table{}
	s.known.Unlock()
	s.mu.Lock()
	clear(s.seen)
	s.mu.Unlock()
	return s.view("read the rebuilt outbox", s.load)
}

func (r *Rebuilt) putValues(b *bbolt.Bucket) error {
	for _, key := range r.Forget {
		if err := b.Delete([]byte(key)); err != nil {
			return err
		}
	}
	for key, v := range r.Values {
		if b.Get([]byte(key)) == nil {
			if err := b.Put([]byte(key), v); err != nil {
				return err
			}
		}
	}
	return nil
}
