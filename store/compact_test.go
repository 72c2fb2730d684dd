package store

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestCompactedFileHoldsEverything(t *testing.T) {
	path := filled(t)
	c := newClock()
	s := openedAt(t, path, Options{Now: c.Now, SentRetention: time.Second})
	for range 3 {
		c.advance(time.Minute)
		box := s.Outbox()
		if err := s.Acked(Cursor{OutboxSeq: box.Last, StreamSeq: uint64(c.Now().Unix())}); err != nil {
			t.Fatal(err)
		}
	}
	want, cursor := located(t, s, "here"), s.Cursor()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	was, is, err := Compact(path)
	if err != nil || was != before.Size() || is >= was {
		t.Fatalf("%d bytes before, %d then, %d after, error %v", before.Size(), was, is, err)
	}
	s = openedAt(t, path, Options{Now: c.Now})
	sound(t, s)
	if got := located(t, s, "here"); !reflect.DeepEqual(got, want) || s.Cursor() != cursor {
		t.Error("the location or the cursor changed")
	}
}

func TestFilesThatACrashLeftAreRemoved(t *testing.T) {
	path := filled(t)
	leftover := path + suffixNew + "123"
	if err := os.WriteFile(leftover, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openedAt(t, path, Options{})
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, error %v; want the store alone", left, err)
	}
}

// Whoever waits for the lock of a file that is replaced must not write to the file
// that is no longer there.
func TestOpenFollowsAReplacedFile(t *testing.T) {
	path := filled(t)
	holder, err := openBolt(path, fileMode{wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan *Store)
	go func() {
		s, err := Open(path, Options{LockTimeout: time.Minute})
		if err != nil {
			t.Error(err)
		}
		result <- s
	}()
	temp := copied(t, path)
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
	if err := holder.db.Close(); err != nil {
		t.Fatal(err)
	}
	s := <-result
	if s == nil {
		t.FailNow()
	}
	commit(t, s, arrival("late", "here", newClock().Now()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openedAt(t, path, Options{})
	state(t, again, "late")
}
