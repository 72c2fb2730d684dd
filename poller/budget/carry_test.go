package budget

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestTakeoverKeepsTheLimit: a process that takes an account over sends no more within a
// minute than if it had sent the former one's requests itself, those that nobody wrote
// down included.
func TestTakeoverKeepsTheLimit(t *testing.T) {
	for _, limit := range []int{60, 3000} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) { takeOver(t, limit) })
	}
}

func takeOver(t *testing.T, limit int) {
	dir := t.TempDir()
	former, err := OpenLog(filepath.Join(dir, "former"), limit)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := New(limit, former, now.Add(-30*time.Second))
	sent := 0
	for at := now.Add(-30 * time.Second); at.Before(now.Add(-5 * time.Second)); at = b.Next(at.Add(time.Microsecond)) {
		ended, _ := b.Take(at)
		ended(at, true)
		sent++
	}
	left, err := Recorded(filepath.Join(dir, "former"))
	if err != nil || len(left) != sent || sent < 20 {
		t.Fatalf("%d of %d requests are recorded, %v", len(left), sent, err)
	}
	used := func(path string) int {
		log, err := OpenLog(path, limit)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		used, _ := New(limit, log, now).Used(now)
		return used
	}
	// It went on for 5 s more, of which nobody knows.
	path := filepath.Join(dir, "next")
	for range 2 { // told twice, counted once
		if err := MergeUntil(path, limit, left, now.Add(-5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if used, least := used(path), sent+limit/12+burstOf(limit)-1; used < least || used > least+max(3, limit/300) {
		t.Errorf("%d requests of the last minute are known, want %d, or hardly more", used, least)
	}
	// It ended in good order.
	path = filepath.Join(dir, "clean")
	if err := Merge(path, limit, left); err != nil {
		t.Fatal(err)
	}
	if used := used(path); used != sent {
		t.Errorf("%d requests of the last minute are known of a process that ended in good order, want %d", used, sent)
	}
	// Nobody knows anything: it may have sent what can be sent.
	path = filepath.Join(dir, "unknown")
	if err := MergeUntil(path, limit, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if used := used(path); used < limit-1 {
		t.Errorf("%d requests are taken for sent where nothing is known, want the limit, %d", used, limit)
	}
}
