package budget

import (
	"path/filepath"
	"testing"
	"time"
)

// TestTakeoverKeepsTheLimit: a process that takes an account over sends no more within a
// minute than if it had sent the former one's requests itself, those that nobody wrote
// down included.
func TestTakeoverKeepsTheLimit(t *testing.T) {
	const limit = 60
	dir := t.TempDir()
	former, err := OpenLog(filepath.Join(dir, "former"), limit)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := New(limit, former, now.Add(-30*time.Second))
	sent := 0
	for at := now.Add(-30 * time.Second); at.Before(now.Add(-5 * time.Second)); at = b.Next(at.Add(time.Millisecond)) {
		answered, _ := b.Take(at)
		answered(at)
		sent++
	}
	left, err := Recorded(filepath.Join(dir, "former"))
	if err != nil || len(left) != sent || sent < 20 {
		t.Fatalf("%d of %d requests are recorded, %v", len(left), sent, err)
	}
	// It went on for 5 s more, of which nobody knows.
	carried := append(left, Assumed(limit, now.Add(-5*time.Second), now)...)
	path := filepath.Join(dir, "next")
	if err := Merge(path, limit, carried); err != nil {
		t.Fatal(err)
	}
	if err := Merge(path, limit, left); err != nil { // told twice, counted once
		t.Fatal(err)
	}
	log, err := OpenLog(path, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	used, _ := New(limit, log, now).Used(now)
	if least := sent + 5; used < least || used > least+3 {
		t.Errorf("%d requests of the last minute are known, want %d, or up to 3 more", used, least)
	}
}
