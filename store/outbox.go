package store

import (
	"time"

	"go.etcd.io/bbolt"
)

// outbox are the figures of the log of events. The entries are numbered from first
// to last without gaps; those up to the cursor are in the stream.
type outbox struct {
	// first is the oldest entry that is kept, last+1 when none is.
	first, last uint64
	cursor      Cursor
	// written and acked are the bytes of all documents ever committed, and of those
	// up to the cursor; their difference is unsent. A merge adds to written what the
	// document grew by.
	written, acked int64
	// oldest is when the first unsent entry was committed.
	oldest time.Time
}

func (b *outbox) depth() uint64 { return b.last - b.cursor.OutboxSeq }
func (b *outbox) bytes() int64  { return b.written - b.acked }

// OutboxStats says how far publishing is behind.
type OutboxStats struct {
	// Depth and Bytes are the number of unsent events, and of bytes of their
	// documents.
	Depth uint64
	Bytes int64
	// Limit is Options.OutboxMaxBytes.
	Limit int64
	// Oldest is when the oldest unsent event was committed; zero when there is
	// none.
	Oldest time.Time
	// Kept is the number of events that are sent and still kept.
	Kept uint64
	// Last is the sequence number of the newest event.
	Last uint64
}

// Outbox says how far publishing is behind. It reads memory alone.
func (s *Store) Outbox() OutboxStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.box
	o := OutboxStats{Depth: b.depth(), Bytes: b.bytes(), Limit: s.options.OutboxMaxBytes, Last: b.last}
	if o.Depth > 0 {
		o.Oldest = b.oldest
	}
	if kept := b.cursor.OutboxSeq + 1; kept > b.first {
		o.Kept = kept - b.first
	}
	return o
}

// figures returns a copy of the outbox's figures.
func (s *Store) figures() outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.box
}

// Wake is signalled after a commit with events, and after an Open that found
// unsent ones. Signals do not add up: one may stand for several commits.
func (s *Store) Wake() <-chan struct{} { return s.wake }

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Take returns up to max entries after the sequence number, in order. It reads
// the log wherever the number is: sent entries that are still kept come as well,
// and where none is kept, the first one that is.
//
// It stops before the first event that is held: see Held.
//
// From then on the entries count as possibly sent, so later traffic is not merged
// into them. Take does not move the cursor; it waits while a commit is under way.
func (s *Store) Take(after uint64, max int) ([]Entry, error) {
	s.log.Lock()
	defer s.log.Unlock()
	last := s.figures().last
	limit := s.limit(last)
	if after >= limit || max <= 0 {
		return nil, s.usable()
	}
	var entries []Entry
	err := s.view("read the outbox", func(tx *bbolt.Tx) error {
		entries = make([]Entry, 0, min(uint64(max), limit-after))
		account, read := "", int64(0)
		c := tx.Bucket(bucketOutbox).Cursor()
		for k, v := c.Seek(sequenceKey(after + 1)); k != nil && len(entries) < max; k, v = c.Next() {
			e, err := viewEntry(k, v)
			if err != nil {
				return err
			}
			if e.seq > limit {
				return nil
			}
			entries = append(entries, e.entry(account))
			account = entries[len(entries)-1].Account
			read += int64(len(v))
		}
		s.touch(tx, read)
		return nil
	})
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	s.handOut(entries[len(entries)-1].Seq, last)
	return entries, nil
}

// handOut notes that entries up to seq may have been sent.
func (s *Store) handOut(seq, last uint64) {
	s.taken = max(s.taken, seq)
	for len(s.held) > 0 && s.held[0].seq <= s.taken {
		s.held = s.held[1:]
	}
	if s.taken >= last && len(s.mergeable) > 0 {
		s.mergeable = make(map[string]uint64)
	}
}
