package store

import (
	"errors"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestCursorIsWrittenSeldomAndWithEveryCommit(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	created := c.Now()
	var in []events.Event
	for i := range 20 {
		in = append(in, arrival(sessionID(i), "here", c.Now()))
	}
	commit(t, s, in...)
	inFile := func() uint64 {
		t.Helper()
		again := openedAt(t, copied(t, s.path), Options{Now: c.Now})
		sound(t, again)
		return again.Cursor().OutboxSeq
	}
	ack := func(seq uint64) {
		t.Helper()
		if err := s.Acked(Cursor{OutboxSeq: seq, StreamSeq: 100 + seq, StreamCreated: created, At: c.Now()}); err != nil {
			t.Fatal(err)
		}
		if got := s.Cursor().OutboxSeq; got != seq {
			t.Errorf("cursor is %d, want %d", got, seq)
		}
		sound(t, s)
	}
	expect := func(want uint64, why string) {
		t.Helper()
		if got := inFile(); got != want {
			t.Errorf("the file's cursor is %d, want %d: %s", got, want, why)
		}
	}
	ack(1)
	expect(1, "the first one")
	c.advance(cursorEvery / 2)
	ack(2)
	ack(3)
	expect(1, "within a second")
	c.advance(cursorEvery / 2)
	ack(4)
	expect(4, "a second later")
	created = created.Add(time.Hour)
	ack(5)
	expect(5, "another stream")
	ack(6)
	commit(t, s, arrival("x", "here", c.Now()))
	expect(6, "a commit")
	ack(7)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect(7, "Close")
}

func TestCursorIsWrittenAfterManyEntries(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	var in []events.Event
	for i := range cursorStride + 1 {
		in = append(in, arrival(sessionID(i), "here", c.Now()))
	}
	commit(t, s, in...)
	for _, seq := range []uint64{1, cursorStride, cursorStride + 1} {
		if err := s.Acked(Cursor{OutboxSeq: seq}); err != nil {
			t.Fatal(err)
		}
		want := uint64(1)
		if seq > cursorStride {
			want = seq
		}
		if s.saved.OutboxSeq != want {
			t.Errorf("the file's cursor is %d after %d, want %d", s.saved.OutboxSeq, seq, want)
		}
	}
}

func TestSentEntriesAreKeptThenTrimmed(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, SentRetention: 16 * time.Minute})
	committed := map[uint64]time.Time{}
	acked := map[uint64]time.Time{}
	for i := range 60 {
		commit(t, s, arrival(sessionID(i), "here", c.Now()))
		seq := uint64(i + 1)
		committed[seq] = c.Now()
		if err := s.Acked(Cursor{OutboxSeq: seq, StreamSeq: seq}); err != nil {
			t.Fatal(err)
		}
		acked[seq] = c.Now()
		sound(t, s)
		kept := taken(t, s, 0, 100)
		if n := s.Outbox().Kept; n != uint64(len(kept)) {
			t.Fatalf("%d kept, Outbox says %d", len(kept), n)
		}
		for seq, at := range acked {
			age, have := c.Now().Sub(at), seq >= kept[0].Seq
			if !have && age < 16*time.Minute {
				t.Errorf("entry %d is gone %v after it was acknowledged", seq, age)
			}
			if have && age > 21*time.Minute { // two parts of two minutes, and the step
				t.Errorf("entry %d is there %v after it was acknowledged", seq, age)
			}
		}
		if n := len(s.sent); n > 2*sentMarks+2 {
			t.Errorf("%d marks", n)
		}
		if i%7 == 6 { // The times survive a restart.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openedAt(t, s.path, Options{Now: c.Now, SentRetention: 16 * time.Minute})
		}
		c.advance(time.Minute)
	}
}

func TestUnsentEntriesAreNeverTrimmed(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, SentRetention: time.Minute})
	for i := range 5 {
		commit(t, s, arrival(sessionID(i), "here", c.Now()))
	}
	c.advance(100 * time.Hour)
	if err := s.Acked(Cursor{OutboxSeq: 2}); err != nil {
		t.Fatal(err)
	}
	c.advance(100 * time.Hour)
	if err := s.Acked(Cursor{OutboxSeq: 3}); err != nil {
		t.Fatal(err)
	}
	got := taken(t, s, 0, 10)
	if len(got) != 3 || got[0].Seq != 3 {
		t.Errorf("kept are %d from %d, want 3 to 5", len(got), got[0].Seq)
	}
}

func TestRewindBringsBackWhatIsKept(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, SentRetention: time.Minute})
	for i := range 6 {
		commit(t, s, arrival(sessionID(i), "here", c.Now()))
	}
	full := s.Outbox()
	at := Cursor{OutboxSeq: 2, StreamSeq: 12, StreamCreated: c.Now(), At: c.Now()}
	for range 2 { // The second write trims what the first one acknowledged.
		if err := s.Acked(at); err != nil {
			t.Fatal(err)
		}
		c.advance(2 * time.Minute)
		at.OutboxSeq, at.StreamSeq = 5, 15
	}
	for _, bad := range []uint64{0, 1, 6, 1 << 60} {
		if err := s.Rewind(bad); !errors.Is(err, ErrCursor) {
			t.Errorf("Rewind(%d): error is %v, want ErrCursor", bad, err)
		}
	}
	if err := s.Rewind(2); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
	box := s.Outbox()
	if box.Depth != 4 || box.Bytes != full.Bytes*4/6 || box.Oldest.IsZero() {
		t.Errorf("after Rewind: %+v, before: %+v", box, full)
	}
	again := openedAt(t, copied(t, s.path), Options{Now: c.Now})
	sound(t, again)
	at.OutboxSeq = 2
	if got := again.Cursor(); got != at {
		t.Errorf("the file's cursor is %+v, want %+v", got, at)
	}
}

func TestCursorStaysInsideOfTheOutbox(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	if err := s.Acked(Cursor{OutboxSeq: 2}); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{1, 3} {
		if err := s.Acked(Cursor{OutboxSeq: seq}); !errors.Is(err, ErrCursor) {
			t.Errorf("Acked(%d): error is %v, want ErrCursor", seq, err)
		}
	}
	if got := s.Cursor().OutboxSeq; got != 2 {
		t.Errorf("cursor moved to %d", got)
	}
}

func TestSequenceNumbersNeverRepeat(t *testing.T) {
	c := newClock()
	o := Options{Now: c.Now, SentRetention: time.Second}
	s := opened(t, o)
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	for seq := range uint64(2) {
		c.advance(time.Minute)
		if err := s.Acked(Cursor{OutboxSeq: seq + 1}); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(time.Minute)
	if err := s.Acked(Cursor{OutboxSeq: 2, StreamSeq: 9}); err != nil {
		t.Fatal(err)
	}
	if got := taken(t, s, 0, 9); len(got) != 0 {
		t.Fatalf("%d entries left, the test wants none", len(got))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	compacted(t, s.path)
	s = openedAt(t, s.path, o)
	commit(t, s, arrival("c", "here", c.Now()))
	if got := taken(t, s, 0, 9); len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("entries are %+v, want one of number 3", got)
	}
	sound(t, s)
}
