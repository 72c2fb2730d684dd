package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// Person tells who is to be forgotten.
type Person struct {
	// Has reports whether a session is the person's; Cleanse has an event forget the
	// person, and reports whether it told of them.
	Has     func(*events.Session) bool
	Cleanse func(*events.Event) bool
}

// Forgot counts what Forget changed in the file.
type Forgot struct {
	Sessions, Events int
}

// Forget takes a person out of states and outbox, and out of what is staged and waits for
// room there, and overwrites with zeros what the file has in pages that are free. Events
// keep their ids, places and revisions. The state of a session that is online differs from
// what lists show of it from then on, in its device's description, so that the next look
// publishes it as updated: the stream knows it even where all of its events are deleted.
func (s *Store) Forget(p Person) (Forgot, error) {
	var did Forgot
	if err := s.flushed(); err != nil && !errors.Is(err, ErrOutboxFull) {
		return did, err
	}
	s.log.Lock()
	defer s.log.Unlock()
	s.forgetStaged(p)
	var w *writing
	err := s.update("forget a person", func(tx *bbolt.Tx) (err error) {
		did, w = Forgot{}, s.begin(tx)
		if err := w.forgetOnline(p, &did); err != nil {
			return err
		}
		if err := w.forgetEnded(p, &did); err != nil {
			return err
		}
		return w.forgetEvents(p, &did)
	})
	if err != nil {
		return did, err
	}
	s.adopt(w)
	s.known.Lock()
	s.online = table{} // read again when it is needed
	s.known.Unlock()
	return did, s.scrub()
}

// forgetStaged changes what is not written yet; log is held.
func (s *Store) forgetStaged(p Person) {
	s.staging.Lock()
	defer s.staging.Unlock()
	s.known.Lock()
	defer s.known.Unlock()
	for i := range s.queue {
		for j := range s.queue[i].commit.Changes {
			p.Cleanse(&s.queue[i].commit.Changes[j])
		}
	}
	for id, at := range s.ahead {
		if p.Has(&at.state.Session) {
			at.state.Session.Forget()
			s.ahead[id] = at
		}
	}
}

// forgetOnline changes the states of sessions that are online.
func (w *writing) forgetOnline(p Person, did *Forgot) error {
	var r stateReader
	return forgetStates(w.online, p, did, func(k, v []byte, st *events.State) (before int, err error) {
		_, err = r.readOnline(k, v, st)
		return len(appendText(nil, st.Session.ID)), err
	})
}

func (w *writing) forgetEnded(p Person, did *Forgot) error {
	var r stateReader
	return forgetStates(w.ended, p, did, func(k, v []byte, st *events.State) (before int, err error) {
		if len(v) < 8 {
			return 0, damaged("session %q cannot be read", k)
		}
		return 8, r.read(k, v[8:], st)
	})
}

// forgetStates changes the records of a bucket that are the person's. Read reads one, and
// says how many bytes it has before the state.
func forgetStates(b *bbolt.Bucket, p Person, did *Forgot, read func(k, v []byte, st *events.State) (before int, err error)) error {
	changed := map[string][]byte{}
	err := b.ForEach(func(k, v []byte) error {
		var st events.State
		before, err := read(k, v, &st)
		if err != nil || !p.Has(&st.Session) {
			return err
		}
		was := st.Session
		if st.Session.Forget(); st.Session == was {
			return nil // forgotten before, as the stream knows
		}
		if st.Session.Online {
			st.Session.DeviceDescription = "" // unlike what lists show
		}
		if record := append(bytes.Clone(v[:before]), encodeState(&st)...); !bytes.Equal(record, v) {
			changed[string(k)] = record
		}
		return nil
	})
	for key, record := range changed {
		err = errors.Join(err, b.Put([]byte(key), record))
	}
	did.Sessions += len(changed)
	return err
}

// forgetEvents changes the entries of the outbox, sent or not.
func (w *writing) forgetEvents(p Person, did *Forgot) error {
	type entry struct{ key, record []byte }
	var changed []entry
	err := w.log.ForEach(func(k, v []byte) error {
		was, err := viewEntry(k, v)
		if err != nil {
			return err
		}
		e, err := was.event()
		if err != nil || !p.Cleanse(&e) {
			return err
		}
		body, err := events.Encode(e)
		if err != nil || bytes.Equal(body, was.body) {
			return err
		}
		if was.seq > w.box.cursor.OutboxSeq {
			w.box.written += int64(len(body) - len(was.body))
		}
		changed = append(changed, entry{bytes.Clone(k), encodeEntry(&e, body, was.committed)})
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range changed {
		if err := w.log.Put(c.key, c.record); err != nil {
			return err
		}
	}
	did.Events += len(changed)
	return w.tx.Bucket(bucketCursor).Put(keyWritten, binary.AppendUvarint(nil, uint64(w.box.written)))
}

// errScrubbed ends the transaction of scrub, which changes nothing that bbolt knows of.
var errScrubbed = errors.New("scrubbed")

// scrub overwrites free pages with zeros. A write transaction keeps bbolt from using any
// of them meanwhile; nobody else may be reading, since a reader may have begun before
// they were freed.
func (s *Store) scrub() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	err := s.update("overwrite free pages", func(tx *bbolt.Tx) error {
		zeros, page := make([]byte, s.page), make([]byte, s.page)
		for id := 2; int64(id)*s.page < tx.Size(); id++ {
			info, err := tx.Page(id)
			if err != nil {
				return err
			}
			if info == nil {
				break
			}
			if info.Type != "free" {
				id += info.OverflowCount
				continue
			}
			at := int64(id) * s.page
			if _, err := s.file.ReadAt(page, at); err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
			if bytes.Equal(page, zeros) {
				continue
			}
			if _, err := s.file.WriteAt(zeros, at); err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
		}
		if err := s.file.Sync(); err != nil {
			return err
		}
		return errScrubbed
	})
	if errors.Is(err, errScrubbed) {
		return nil
	}
	return err
}
