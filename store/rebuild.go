package store

import (
	"encoding/binary"
	"errors"
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
	// Values are put, and those of Forget are removed.
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
	err := s.update(fmt.Sprintf("rebuild %d states", len(r.States)), func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketOnline, bucketEnded, bucketEndedByTime, bucketLocations, bucketOutbox, bucketCursor} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		s.known.Lock()
		s.online = table{} // read again when it is needed
		s.known.Unlock()
		w := s.begin(tx)
		if err := w.putAll(r.States); err != nil {
			return err
		}
		w.placed = true // what was seen before is of the former state
		if err := w.places(nil, true); err != nil {
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
	s.mu.Lock()
	clear(s.seen)
	s.mu.Unlock()
	return s.view("read the rebuilt outbox", s.load)
}

// putAll is put for states of which none is in the file. bbolt keeps a page in one piece
// until the transaction ends, and inserts into it by moving what comes after: each bucket
// is filled in the order of its keys.
func (w *writing) putAll(states []events.State) error {
	slices.SortFunc(states, func(a, b events.State) int { return strings.Compare(a.Session.ID, b.Session.ID) })
	at := binary.BigEndian.AppendUint64(nil, uint64(max(0, w.now.Unix())))[:8:8]
	for i := range states {
		s := &states[i].Session
		id := []byte(s.ID)
		if s.Online {
			if err := w.putOnline(&session{state: states[i]}); err != nil {
				return fmt.Errorf("session %s: %w", s.ID, err)
			}
			continue
		}
		if err := errors.Join(w.ended.Put(id, append(at, encodeState(&states[i])...)), w.endedByTime.Put(append(at, id...), []byte{})); err != nil {
			return fmt.Errorf("session %s: %w", s.ID, err)
		}
	}
	return nil
}

func (r *Rebuilt) putValues(b *bbolt.Bucket) error {
	for _, key := range r.Forget {
		if err := b.Delete([]byte(key)); err != nil {
			return err
		}
	}
	for key, v := range r.Values {
		if err := b.Put([]byte(key), v); err != nil {
			return err
		}
	}
	return nil
}
