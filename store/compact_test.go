package store

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestCompactKeepsEverythingAndGivesSpaceBack(t *testing.T) {
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
	size, err := s.Size()
	if err != nil || size.Free <= 0 {
		t.Fatalf("size is %+v, error %v; the test wants free pages", size, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What a crash of an earlier compaction left.
	leftover := path + suffixCompact + "123"
	if err := os.WriteFile(leftover, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, after, err := Compact(path)
	if err != nil || after >= before || before != size.File {
		t.Fatalf("%d bytes before, %d after, error %v", before, after, err)
	}
	s = openedAt(t, path, Options{Now: c.Now})
	sound(t, s)
	if got := located(t, s, "here"); !reflect.DeepEqual(got, want) || s.Cursor() != cursor {
		t.Error("the location or the cursor changed")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, error %v; want the store alone", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, error %v", info.Mode(), err)
	}
}

// Whoever waits for the lock of a file that a compaction replaces must not write
// to the file that is no longer there.
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
	temp, err := emptyBeside(path, suffixCompact)
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.copyTo(temp); err != nil {
		t.Fatal(err)
	}
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
