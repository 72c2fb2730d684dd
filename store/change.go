package store

import (
	"encoding/binary"
	"fmt"

	"github.com/guestflow/guestflow/events"
)

// session is one that a transaction changes.
type session struct {
	state events.State // after its last change
	// Where it stands in the file: at its number among those that are online, or ended, or
	// nowhere.
	number   uint64
	endedKey []byte // in ended_by_time
	// revision is that of its last event, 0 when none is known.
	revision int64
	// merged is how many events of this commit were merged into earlier ones, so by
	// how much the revisions of the later ones are too high.
	merged int64
}

// session returns what is known of a session, the first time from the table, which has all
// that are online, or the file.
func (w *writing) session(id string) (*session, error) {
	if s := w.sessions[id]; s != nil {
		return s, nil
	}
	s := &session{}
	w.store.known.RLock()
	s.revision, s.number = w.store.online.place(id)
	w.store.known.RUnlock()
	if s.number == 0 && id != "" {
		record := w.ended.Get([]byte(id))
		if record != nil && len(record) < 8 {
			return nil, damaged("ended session %q cannot be read", id)
		}
		if record != nil {
			var err error
			if s.revision, err = stateRevision([]byte(id), record[8:]); err != nil {
				return nil, err
			}
			s.endedKey = append(record[:8:8], id...)
		}
	}
	w.sessions[id] = s
	w.order = append(w.order, s)
	return s, nil
}

// change puts one event into the outbox and notes the state after it.
func (w *writing) change(e events.Event) error {
	d, id := &e.Data, e.Data.Session.ID
	s, err := w.session(id)
	if err != nil {
		return err
	}
	if s.merged > 0 {
		d.Revision -= s.merged
		e = e.Sealed()
	}
	if s.revision > 0 && d.Revision != s.revision+1 {
		return fmt.Errorf("session %s: %w: revision %d after %d; read its state anew", id, ErrConflict, d.Revision+s.merged, s.revision+s.merged)
	}
	merged := false
	if e.Kind == events.Traffic {
		if merged, err = w.merge(&e); err != nil {
			return fmt.Errorf("session %s: %w", id, err)
		}
	}
	if merged {
		s.merged++
	} else if err := w.add(&e); err != nil {
		return fmt.Errorf("session %s: %w", id, err)
	}
	s.state, s.revision = events.StateOf(e), d.Revision
	return nil
}

// entryRoom is what the record of an event takes, nearly always.
const entryRoom = 2 << 10

// add appends an event to the outbox.
func (w *writing) add(e *events.Event) error {
	head := appendHead(w.records.room(entryRoom), e, w.now)
	record, err := events.Append(head, e)
	if err != nil {
		return err
	}
	record = w.records.keep(record)
	if w.box.depth() == 0 {
		w.box.oldest = w.now
	}
	w.box.last++
	w.box.written += int64(len(record) - len(head))
	// Keys only grow, so pages can be filled.
	w.log.FillPercent = 0.95
	if err := w.log.Put(sequenceKey(w.box.last), record); err != nil {
		return err
	}
	if e.Kind.Arrival() && !e.Data.Observed.Backfilled {
		w.arrivals = append(w.arrivals, w.box.last)
	}
	seq := uint64(0)
	if e.Kind == events.Traffic {
		seq = w.box.last
	}
	w.mergeable[e.Data.Session.ID] = seq
	return nil
}

// merge replaces the last event of a session by one that stands for both, when
// both are traffic and the earlier one was not taken; e is then that event.
//
// The merged event keeps the earlier one's place in the log. No event of the
// session comes after that place, since it was the session's last, so the order
// within the session is the order of the revisions before and after: traffic never
// passes an event of its session, of whatever kind. Events of other sessions keep
// their places. And since numbers are neither given up nor made, the log has no
// gaps, which is how the publisher tells entries that were removed from entries
// that never were.
//
// Nobody has seen the earlier event: Take would have raised taken above it, and
// Take and Commit exclude each other.
func (w *writing) merge(e *events.Event) (bool, error) {
	id := e.Data.Session.ID
	seq, here := w.mergeable[id]
	if !here {
		seq = w.store.mergeable[id]
	}
	if seq == 0 || seq <= w.store.taken {
		return false, nil
	}
	key := sequenceKey(seq)
	was, err := viewEntry(key, w.log.Get(key))
	if err != nil {
		return false, err
	}
	older, err := was.event()
	if err != nil {
		return false, err
	}
	one, ok := events.Merge(older, *e)
	if !ok {
		return false, nil
	}
	body, err := events.Encode(one)
	if err != nil {
		return false, err
	}
	w.box.written += int64(len(body) - len(was.body))
	*e = one
	return true, w.log.Put(key, encodeEntry(e, body, was.committed))
}

// fits checks the limit, and stores how far the log goes.
func (w *writing) fits() error {
	was := w.store.figures()
	is, limit := w.box.bytes(), w.store.options.OutboxMaxBytes
	if is > was.bytes() && is > limit && was.depth() > 0 {
		return fmt.Errorf("%w: %d unsent events of %d bytes, and OutboxMaxBytes is %d", ErrOutboxFull, was.depth(), was.bytes(), limit)
	}
	if w.box.last != was.last {
		if err := w.log.SetSequence(w.box.last); err != nil {
			return err
		}
	}
	if w.box.written == was.written {
		return nil
	}
	return w.tx.Bucket(bucketCursor).Put(keyWritten, binary.AppendUvarint(nil, uint64(w.box.written)))
}

// put writes the state of a session where it belongs now.
func (w *writing) put(s *session) error {
	now := &s.state.Session
	id := []byte(now.ID)
	if s.endedKey != nil {
		if err := w.endedByTime.Delete(s.endedKey); err != nil {
			return err
		}
	}
	if !now.Online {
		if s.number > 0 {
			if err := w.online.Delete(sequenceKey(s.number)); err != nil {
				return err
			}
			w.changed[now.LocationID] = true
		}
		w.store.ends.Store(true)
		at := binary.BigEndian.AppendUint64(nil, uint64(max(0, w.now.Unix())))[:8:8]
		if err := w.ended.Put(id, append(at, encodeState(&s.state)...)); err != nil {
			return err
		}
		return w.endedByTime.Put(append(at, id...), []byte{})
	}
	if s.endedKey != nil {
		if err := w.ended.Delete(id); err != nil {
			return err
		}
	}
	return w.putOnline(s)
}

// putOnline writes the state of a session that is online. A new one gets a number behind
// all others, so that those who arrive together, and are shown together, share pages.
func (w *writing) putOnline(s *session) error {
	at := s.state.Session.LocationID
	if s.number == 0 {
		number, err := w.online.NextSequence()
		if err != nil {
			return err
		}
		s.number = number
		w.changed[at] = true
	} else if w.store.deserted(at) {
		w.changed[at] = true // It comes from another one.
	}
	record := appendOnline(w.records.room(stateSize(&s.state)), &s.state)
	return w.online.Put(sequenceKey(s.number), w.records.keep(record))
}
