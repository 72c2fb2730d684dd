package store

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// Held is an event that Take withholds, with all that come after it, until Amend
// has completed it or its time is over.
type Held struct {
	Seq   uint64
	Event events.Event
	// SeenFrom is the earliest time at which the change can have been seen:
	// Commit.SeenFrom.
	SeenFrom time.Time
	// Until is when it goes out in any case, by Options.Now.
	Until time.Time
}

// hold is what is kept of one in memory. A restart forgets it: what an earlier
// process left may have been sent, so it must not change any more, and there is
// nothing to wait for.
type hold struct {
	seq             uint64
	seenFrom, until time.Time
}

// Amendment says what becomes of a held event. A nil Guest leaves it as it is.
type Amendment struct {
	Seq   uint64
	Guest *events.Guest
	Sure  events.Sureness
}

// Holding is signalled after a commit with events that are held.
func (s *Store) Holding() <-chan struct{} { return s.holding }

// Held returns the events that are held, in order.
func (s *Store) Held() ([]Held, error) {
	s.log.Lock()
	defer s.log.Unlock()
	s.expire()
	if len(s.held) == 0 {
		return nil, s.usable()
	}
	all := make([]Held, 0, len(s.held))
	err := s.view("read the held events", func(tx *bbolt.Tx) error {
		log := tx.Bucket(bucketOutbox)
		for _, h := range s.held {
			key := sequenceKey(h.seq)
			v, err := viewEntry(key, log.Get(key))
			if err != nil {
				return err
			}
			e, err := v.event()
			if err != nil {
				return err
			}
			all = append(all, Held{Seq: h.seq, Event: e, SeenFrom: h.seenFrom, Until: h.until})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Amend completes held events and lets them go, all in one transaction, which is
// durable when Amend returns; without any guest nothing is written. The events
// keep their ids and places. It returns how many it completed: one that went out
// meanwhile, since its time was over, stays as it was sent.
//
// With an error the events are as they were, and still held.
func (s *Store) Amend(amendments []Amendment) (completed int, err error) {
	s.log.Lock()
	defer s.log.Unlock()
	s.expire()
	held := make(map[uint64]bool, len(s.held))
	for _, h := range s.held {
		held[h.seq] = true
	}
	var guests []Amendment
	let := make(map[uint64]bool, len(amendments))
	for _, a := range amendments {
		if held[a.Seq] && !let[a.Seq] {
			let[a.Seq] = true
			if a.Guest != nil {
				guests = append(guests, a)
			}
		}
	}
	if len(guests) > 0 {
		var w *writing
		err := s.update("complete held events", func(tx *bbolt.Tx) error {
			w = s.begin(tx)
			return w.amend(guests)
		})
		if err != nil {
			return 0, err
		}
		s.adopt(w)
	}
	s.release(func(h hold) bool { return let[h.seq] })
	return len(guests), s.usable()
}

// Release lets every held event go as it is, and holds none from then on.
func (s *Store) Release() {
	s.log.Lock()
	defer s.log.Unlock()
	s.options.HoldArrivals = 0
	s.release(func(hold) bool { return true })
}

// release drops holds, and wakes who takes if that freed anything.
func (s *Store) release(whose func(hold) bool) {
	kept := s.held[:0]
	for _, h := range s.held {
		if !whose(h) {
			kept = append(kept, h)
		}
	}
	if len(kept) < len(s.held) {
		s.held = kept
		s.signal()
	}
}

// expire drops the holds whose time is over.
func (s *Store) expire() {
	now := s.options.Now()
	kept := s.held[:0]
	for _, h := range s.held {
		if h.until.After(now) {
			kept = append(kept, h)
		}
	}
	s.held = kept
}

// limit is the last entry that Take may hand out.
func (s *Store) limit(last uint64) uint64 {
	if s.expire(); len(s.held) > 0 {
		return s.held[0].seq - 1
	}
	return last
}

// hold notes the arrivals of a commit that was adopted.
func (s *Store) hold(arrivals []uint64, seenFrom, now time.Time) {
	wait := s.options.HoldArrivals
	if len(arrivals) == 0 || wait <= 0 {
		return
	}
	for _, seq := range arrivals {
		s.held = append(s.held, hold{seq: seq, seenFrom: seenFrom, until: now.Add(wait)})
	}
	// Nobody else need be alive for them to go out.
	time.AfterFunc(wait, s.signal)
	select {
	case s.holding <- struct{}{}:
	default:
	}
}

// amend writes guests into their entries.
func (w *writing) amend(guests []Amendment) error {
	for _, a := range guests {
		key := sequenceKey(a.Seq)
		was, err := viewEntry(key, w.log.Get(key))
		if err != nil {
			return err
		}
		e, err := was.event()
		if err != nil {
			return err
		}
		if e.Data.Session.DeviceDescription == events.Forgotten {
			continue // the person was looked up before
		}
		e.Data.Guest, e.Data.Observed.Guest = a.Guest, a.Sure
		body, err := events.Encode(e)
		if err != nil {
			return err
		}
		w.box.written += int64(len(body) - len(was.body))
		if err := w.log.Put(key, encodeEntry(&e, body, was.committed)); err != nil {
			return err
		}
	}
	return w.tx.Bucket(bucketCursor).Put(keyWritten, binary.AppendUvarint(nil, uint64(w.box.written)))
}
