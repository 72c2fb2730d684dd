package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// Invariants reads the whole file and checks that what it says in several places
// agrees: sessions online and ended, their locations, ended sessions and their
// times, the numbers, sizes and revisions of the outbox, and the state of each
// session with its last event; and that what is in memory agrees with the file.
// The error is ErrCorrupt. Commits wait meanwhile.
func (s *Store) Invariants() error {
	s.log.Lock()
	defer s.log.Unlock()
	return s.view("check", func(tx *bbolt.Tx) error {
		if err := checkRecords(tx); err != nil {
			return err
		}
		return s.checkMemory(tx)
	})
}

// checkRecords checks what does not need an open Store.
func checkRecords(tx *bbolt.Tx) error {
	if err := current.whole(tx); err != nil {
		return err
	}
	states := make(map[string]head)
	for _, check := range []func(*bbolt.Tx, map[string]head) error{checkOnline, checkEnded, checkOutbox} {
		if err := check(tx, states); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
		if v == nil {
			return damaged("value %q is a bucket", k)
		}
		return nil
	})
}

// head is what must agree between a state and the last event.
type head struct {
	revision, episode int64
	online            bool
	location          string
	seenAt            int64
}

func headOf(st *events.State) head {
	return head{st.Revision, st.Episode, st.Session.Online, st.Session.LocationID, st.SeenAt.UnixNano()}
}

// each calls f for each key of a nested bucket, with the bucket's name.
func each(parent *bbolt.Bucket, f func(name string, k, v []byte) error) error {
	return parent.ForEach(func(name, v []byte) error {
		b := parent.Bucket(name)
		if v != nil || b == nil {
			return damaged("%q is no bucket", name)
		}
		return b.ForEach(func(k, v []byte) error { return f(string(name), k, v) })
	})
}

func count(b *bbolt.Bucket) (n int, err error) {
	err = b.ForEach(func(_, _ []byte) error { n++; return nil })
	return n, err
}

func checkOnline(tx *bbolt.Tx, states map[string]head) error {
	var r stateReader
	online, ended, places := tx.Bucket(bucketOnline), tx.Bucket(bucketEnded), tx.Bucket(bucketLocations)
	err := online.ForEach(func(k, v []byte) error {
		var st events.State
		number, err := r.readOnline(k, v, &st)
		if err != nil {
			return err
		}
		id, location := st.Session.ID, st.Session.LocationID
		_, twice := states[id]
		switch {
		case twice:
			return damaged("session %q is there twice", id)
		case !st.Session.Online:
			return damaged("session %q is offline, but among those online", id)
		case number == 0 || number > online.Sequence():
			return damaged("session %q has number %d of %d", id, number, online.Sequence())
		case ended.Get([]byte(id)) != nil:
			return damaged("session %q is both online and ended", id)
		case places.Get([]byte(location)) == nil:
			return damaged("session %q is in location %q, which has no record", id, location)
		}
		states[id] = headOf(&st)
		return nil
	})
	if err != nil {
		return err
	}
	return places.ForEach(func(k, v []byte) error {
		_, err := readPlace(k, v)
		return err
	})
}

func checkEnded(tx *bbolt.Tx, states map[string]head) error {
	var r stateReader
	byTime := tx.Bucket(bucketEndedByTime)
	n := 0
	err := tx.Bucket(bucketEnded).ForEach(func(k, v []byte) error {
		if len(v) < 8 {
			return damaged("ended session %q cannot be read", k)
		}
		var st events.State
		if err := r.read(k, v[8:], &st); err != nil {
			return err
		}
		if st.Session.Online {
			return damaged("session %q is online, but among the ended", k)
		}
		if byTime.Get(append(v[:8:8], k...)) == nil {
			return damaged("ended session %q is missing at its time %d", k, binary.BigEndian.Uint64(v))
		}
		states[st.Session.ID] = headOf(&st)
		n++
		return nil
	})
	if err != nil {
		return err
	}
	if m, err := count(byTime); err != nil || m != n {
		return damaged("%d sessions ended, %d by time", n, m)
	}
	return nil
}

func checkOutbox(tx *bbolt.Tx, states map[string]head) error {
	box, _, err := loadOutbox(tx)
	if err != nil {
		return err
	}
	next, unsent := box.first, int64(0)
	last := make(map[string]head)
	err = tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		e, err := viewEntry(k, v)
		if err != nil {
			return err
		}
		if e.seq != next {
			return damaged("the outbox has entry %d where %d should be", e.seq, next)
		}
		next++
		if e.seq > box.cursor.OutboxSeq {
			unsent += int64(len(e.body))
		}
		event, err := e.event()
		if err != nil {
			return err
		}
		if d := &event.Data; event.ID != string(e.id) || event.Kind != e.kind || d.Revision != e.revision ||
			event.Account != string(e.account) || d.Session.ID != string(e.session) || d.Session.LocationID != string(e.location) {
			return damaged("outbox entry %d: its document differs from what is noted beside it", e.seq)
		}
		id, st := event.Data.Session.ID, events.StateOf(event)
		// Revision 1 after others: a session that had been forgotten.
		if was, ok := last[id]; ok && st.Revision != was.revision+1 && st.Revision != 1 {
			return damaged("outbox entry %d: revision %d of session %q after %d", e.seq, st.Revision, id, was.revision)
		}
		last[id] = headOf(&st)
		return nil
	})
	if err != nil {
		return err
	}
	if unsent != box.bytes() {
		return damaged("the unsent events have %d bytes, should have %d", unsent, box.bytes())
	}
	for id, e := range last {
		// An ended session may have been forgotten already.
		if st, ok := states[id]; ok && st != e || !ok && e.online {
			return damaged("session %q is %+v, after its last event %+v", id, st, e)
		}
	}
	return nil
}

// checkMemory compares what is kept in memory with the file.
func (s *Store) checkMemory(tx *bbolt.Tx) error {
	if err := s.checkTable(tx); err != nil {
		return err
	}
	box, saved, err := loadOutbox(tx)
	if err != nil {
		return err
	}
	if !bytes.Equal(saved.encode(), s.saved.encode()) {
		return damaged("the saved cursor is %+v, should be %+v", saved, s.saved)
	}
	here := s.figures()
	log := tx.Bucket(bucketOutbox)
	size, _, err := unsentFrom(log, box.cursor.OutboxSeq, here.cursor.OutboxSeq)
	if err != nil {
		return err
	}
	_, box.oldest, err = unsentFrom(log, here.cursor.OutboxSeq, here.cursor.OutboxSeq)
	if err != nil {
		return err
	}
	box.cursor, box.acked = here.cursor, box.acked+size
	if !here.oldest.Equal(box.oldest) && here.depth() > 0 {
		return damaged("the oldest unsent event is of %v, should be of %v", here.oldest, box.oldest)
	}
	here.oldest = box.oldest
	if here != box {
		return damaged("the outbox is %+v, should be %+v", here, box)
	}
	if s.taken < here.cursor.OutboxSeq || s.taken > here.last {
		return damaged("%d are taken of an outbox that is sent up to %d and ends at %d", s.taken, here.cursor.OutboxSeq, here.last)
	}
	for id, seq := range s.mergeable {
		if seq <= s.taken {
			continue
		}
		e, err := viewEntry(sequenceKey(seq), log.Get(sequenceKey(seq)))
		if err != nil {
			return err
		}
		if e.kind != events.Traffic || string(e.session) != id {
			return fmt.Errorf("%w: entry %d is a %s event of session %q, not traffic of %q", ErrCorrupt, seq, e.kind, e.session, id)
		}
	}
	return nil
}

// checkTable compares the states in memory, where there are any, with the file.
func (s *Store) checkTable(tx *bbolt.Tx) error {
	s.known.RLock()
	defer s.known.RUnlock()
	if s.online.rows == nil {
		return nil
	}
	n, at := 0, make(map[string]int)
	var r stateReader
	err := tx.Bucket(bucketOnline).ForEach(func(k, v []byte) error {
		n++
		var st events.State
		number, err := r.readOnline(k, v, &st)
		if err != nil {
			return err
		}
		id := st.Session.ID
		if got, ok := s.online.get(id); !ok || got != st || s.online.number(id) != number {
			return damaged("session %q is %+v in memory with number %d, should be %+v with %d", id, got, s.online.number(id), st, number)
		}
		at[st.Session.LocationID]++
		return nil
	})
	switch {
	case err != nil:
		return err
	case n != s.online.len():
		return damaged("%d sessions are online in memory, should be %d", s.online.len(), n)
	case !maps.Equal(at, s.online.at):
		return damaged("in memory the locations have %v, should have %v", s.online.at, at)
	}
	return nil
}
