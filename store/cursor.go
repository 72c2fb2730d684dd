package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Cursor says what of the outbox is in the stream.
type Cursor struct {
	// OutboxSeq: the entries up to here are in the stream.
	OutboxSeq uint64
	// StreamSeq is the sequence number there of the entry at OutboxSeq.
	StreamSeq uint64
	// StreamCreated is when the stream was created, which tells it from another one
	// of the same name.
	StreamCreated time.Time
	// At is when the stream confirmed it.
	At time.Time
}

// sameAs compares all but At.
func (c Cursor) sameAs(d Cursor) bool {
	return c.OutboxSeq == d.OutboxSeq && c.StreamSeq == d.StreamSeq && c.StreamCreated.Equal(d.StreamCreated)
}

// The file's cursor may lag behind the one in memory: it is written by Acked when
// the last time is cursorEvery ago or cursorStride entries back, by every commit,
// and by Close. After a crash the publisher finds in the stream how far it really
// got, so a cursor that lags costs it a look, and one that runs ahead, which would
// lose events, cannot be.
const (
	cursorEvery  = time.Second
	cursorStride = 10_000
)

// trimBatch is how many sent entries one writing of the cursor removes at least,
// so that no write takes long.
const trimBatch = 10_000

// sentMarks is into how many parts SentRetention is divided: entries are kept for
// up to one part longer, and there are at most about two marks a part.
const sentMarks = 8

// sentMark says that the entries up to seq were confirmed by a time.
type sentMark struct {
	seq uint64
	at  time.Time
}

// savedCursor is the record of the cursor.
type savedCursor struct {
	Cursor
	acked int64 // see outbox
	sent  []sentMark
}

const cursorVersion = 1

var (
	keyCursor  = []byte("cursor")
	keyWritten = []byte("written")
)

func (c *savedCursor) encode() []byte {
	b := binary.AppendUvarint([]byte{cursorVersion}, c.OutboxSeq)
	b = binary.AppendUvarint(b, c.StreamSeq)
	b = appendTimeIf(appendTimeIf(b, c.StreamCreated), c.At)
	b = binary.AppendUvarint(b, uint64(c.acked))
	b = binary.AppendUvarint(b, uint64(len(c.sent)))
	for _, m := range c.sent {
		b = appendTime(binary.AppendUvarint(b, m.seq), m.at)
	}
	return b
}

// readCursor returns the zero cursor where there is no record. The error is
// ErrCorrupt.
func readCursor(b []byte) (c savedCursor, err error) {
	if b == nil {
		return savedCursor{}, nil
	}
	in := input{b: b}
	version := in.byte()
	c.OutboxSeq, c.StreamSeq = in.uvarint(), in.uvarint()
	c.StreamCreated, c.At = in.optionalTime(), in.optionalTime()
	c.acked = in.count()
	for range in.length() {
		c.sent = append(c.sent, sentMark{seq: in.uvarint(), at: in.time()})
	}
	if in.bad || version != cursorVersion || len(in.b) > 0 {
		return savedCursor{}, damaged("the cursor cannot be read")
	}
	return c, nil
}

// load reads the figures of the outbox, and whether any session has ended. What an earlier process left in it may
// have been sent.
func (s *Store) load(tx *bbolt.Tx) error {
	box, saved, err := loadOutbox(tx)
	if err != nil {
		return err
	}
	s.box, s.saved, s.sent, s.taken = box, saved, saved.sent, box.last
	first, _ := tx.Bucket(bucketEnded).Cursor().First()
	s.ends.Store(first != nil)
	return nil
}

func loadOutbox(tx *bbolt.Tx) (outbox, savedCursor, error) {
	log := tx.Bucket(bucketOutbox)
	saved, err := readCursor(tx.Bucket(bucketCursor).Get(keyCursor))
	if err != nil {
		return outbox{}, saved, err
	}
	b := outbox{last: log.Sequence(), cursor: saved.Cursor, acked: saved.acked}
	b.first = b.last + 1
	if v := tx.Bucket(bucketCursor).Get(keyWritten); v != nil {
		in := input{b: v}
		if b.written = in.count(); in.bad {
			return outbox{}, saved, damaged("the size of the outbox cannot be read")
		}
	}
	c := log.Cursor()
	if k, _ := c.First(); k != nil {
		if b.first, err = sequenceOf(k); err != nil {
			return outbox{}, saved, err
		}
		lastKey, _ := c.Last()
		if last, err := sequenceOf(lastKey); err != nil || last != b.last {
			return outbox{}, saved, damaged("the outbox ends at %d, should end at %d", last, b.last)
		}
	}
	if b.cursor.OutboxSeq > b.last || b.cursor.OutboxSeq+1 < b.first || b.acked > b.written {
		return outbox{}, saved, damaged("the cursor is at %d (%d bytes), the outbox holds %d to %d (%d bytes)",
			b.cursor.OutboxSeq, b.acked, b.first, b.last, b.written)
	}
	_, b.oldest, err = unsentFrom(log, b.cursor.OutboxSeq, b.cursor.OutboxSeq)
	return b, saved, err
}

// unsentFrom returns the bytes of the entries after from up to to, and when the
// one after to was committed, zero when there is none.
func unsentFrom(log *bbolt.Bucket, from, to uint64) (size int64, next time.Time, err error) {
	c := log.Cursor()
	for k, v := c.Seek(sequenceKey(from + 1)); k != nil; k, v = c.Next() {
		e, err := viewEntry(k, v)
		if err != nil {
			return 0, time.Time{}, err
		}
		if e.seq > to {
			return size, e.committed, nil
		}
		size += int64(len(e.body))
	}
	return size, time.Time{}, nil
}

// Cursor returns what Acked or Rewind set last; the zero Cursor before the first
// time.
func (s *Store) Cursor() Cursor { return s.figures().cursor }

// Acked records that the stream has every entry up to c.OutboxSeq. They are
// removed after SentRetention, by a later write. The cursor is in memory when
// Acked returns and in the file about a second later if anything is acknowledged
// or committed by then, else with Close; nothing is written while nothing happens.
// When writing it fails, the cursor in memory has moved all the same.
//
// The error is ErrCursor when c lies before the cursor, for which Rewind is, or
// after the last entry.
func (s *Store) Acked(c Cursor) error {
	s.log.Lock()
	defer s.log.Unlock()
	was := s.figures()
	if c.OutboxSeq < was.cursor.OutboxSeq || c.OutboxSeq > was.last {
		return explained(s.path, fmt.Sprintf("move the cursor to %d", c.OutboxSeq),
			fmt.Errorf("%w: it is at %d, and the last entry is %d", ErrCursor, was.cursor.OutboxSeq, was.last))
	}
	if c.sameAs(was.cursor) {
		return s.usable()
	}
	now := was
	now.cursor = c
	err := s.view("read the outbox", func(tx *bbolt.Tx) error {
		size, oldest, err := unsentFrom(tx.Bucket(bucketOutbox), was.cursor.OutboxSeq, c.OutboxSeq)
		now.acked, now.oldest = was.acked+size, oldest
		return err
	})
	if err != nil {
		return err
	}
	s.setFigures(now)
	s.handOut(c.OutboxSeq, now.last)
	grown := c.OutboxSeq - s.saved.OutboxSeq
	since := s.options.Now().Sub(s.savedAt)
	if grown < cursorStride && since >= 0 && since < cursorEvery && c.StreamCreated.Equal(s.saved.StreamCreated) {
		return nil
	}
	return s.writeCursor(max(trimBatch, 2*grown))
}

// Rewind moves the cursor back to seq, since the stream lost what came after it;
// what else the cursor says stays, so that after a crash the loss is found again.
// It is durable when Rewind returns. The error is ErrCursor when seq lies after the
// cursor, or entries after it are no longer kept.
func (s *Store) Rewind(seq uint64) error {
	s.log.Lock()
	defer s.log.Unlock()
	was := s.figures()
	if seq > was.cursor.OutboxSeq || seq+1 < was.first {
		return explained(s.path, fmt.Sprintf("move the cursor back to %d", seq),
			fmt.Errorf("%w: it is at %d, and the first entry kept is %d", ErrCursor, was.cursor.OutboxSeq, was.first))
	}
	now := was
	now.cursor.OutboxSeq = seq
	err := s.view("read the outbox", func(tx *bbolt.Tx) error {
		log := tx.Bucket(bucketOutbox)
		size, _, err := unsentFrom(log, seq, was.cursor.OutboxSeq)
		if err != nil {
			return err
		}
		now.acked = was.acked - size
		_, now.oldest, err = unsentFrom(log, seq, seq)
		return err
	})
	if err != nil {
		return err
	}
	kept := s.sent[:0:0]
	for _, m := range s.sent {
		if m.seq <= seq {
			kept = append(kept, m)
		}
	}
	s.sent = kept
	s.setFigures(now)
	return s.writeCursor(0)
}

func (s *Store) setFigures(b outbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.box = b
}

// cursorLags reports whether the file's cursor is behind.
func (s *Store) cursorLags() bool { return !s.figures().cursor.sameAs(s.saved.Cursor) }

// writeCursor makes the cursor durable, and removes up to trim entries whose time
// is over.
func (s *Store) writeCursor(trim uint64) error {
	var w *writing
	err := s.update("write the cursor", func(tx *bbolt.Tx) error {
		w = s.begin(tx)
		return w.moveCursor(trim)
	})
	if err != nil {
		return err
	}
	s.adopt(w)
	return nil
}

// moveCursor writes the cursor as part of a transaction.
func (w *writing) moveCursor(trim uint64) error {
	now := w.now
	w.sent = append([]sentMark(nil), w.store.sent...)
	for i := range w.sent {
		if w.sent[i].at.After(now) { // The clock was set back.
			w.sent[i].at = now
		}
	}
	mark := sentMark{w.box.cursor.OutboxSeq, now}
	part := w.store.options.SentRetention / sentMarks
	switch n := len(w.sent); {
	case mark.seq == 0 || n > 0 && w.sent[n-1].seq == mark.seq:
	case n >= 2 && now.Sub(w.sent[n-2].at) < part:
		// The last mark follows the cursor until it is one part away from the one
		// before.
		w.sent[n-1] = mark
	default:
		w.sent = append(w.sent, mark)
	}
	if err := w.trim(trim); err != nil {
		return err
	}
	for len(w.sent) > 0 && w.sent[0].seq < w.box.first {
		w.sent = w.sent[1:]
	}
	w.saved = savedCursor{Cursor: w.box.cursor, acked: w.box.acked, sent: w.sent}
	w.cursorMoved = true
	return w.tx.Bucket(bucketCursor).Put(keyCursor, w.saved.encode())
}

// trim removes entries that were confirmed longer than SentRetention ago.
func (w *writing) trim(limit uint64) error {
	until := uint64(0)
	for _, m := range w.sent {
		if w.now.Sub(m.at) >= w.store.options.SentRetention {
			until = max(until, m.seq)
		}
	}
	until = min(until, w.box.cursor.OutboxSeq)
	log := w.tx.Bucket(bucketOutbox)
	for ; limit > 0 && w.box.first <= until; limit-- {
		if err := log.Delete(sequenceKey(w.box.first)); err != nil {
			return err
		}
		w.box.first++
	}
	return nil
}
