package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written writes what copies to a file.
func written(t *testing.T, copy func(*os.File) error) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "backup.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(copy(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestBackupOfAnOpenStoreHoldsEverything(t *testing.T) {
	path := filled(t)
	s := openedAt(t, path, Options{})
	commit(t, s, arrival("new", "here", newClock().Now()))
	backup := written(t, func(f *os.File) error { _, err := s.Backup(f); return err })
	if err := Check(backup); err != nil {
		t.Fatal(err)
	}
	commit(t, s, arrival("later", "here", newClock().Now()))
	b := openedAt(t, backup, Options{})
	state(t, b, "new")
	if _, ok, err := b.State("later"); ok || err != nil {
		t.Errorf("the backup has what came later: %v, %v", ok, err)
	}
}

// What a running process holds open is neither copied, compacted nor replaced by another.
func TestFilesInUseAreLeftAlone(t *testing.T) {
	path := filled(t)
	backup := written(t, func(f *os.File) error { _, err := Copy(path, f); return err })
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := openedAt(t, path, Options{})
	_, copying := Copy(path, &bytes.Buffer{})
	_, _, compacting := Compact(path)
	_, restoring := Restore(path, backup, newClock().Now())
	for doing, err := range map[string]error{"copying": copying, "compacting": compacting, "restoring": restoring} {
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", doing, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || len(after) != len(before) {
		t.Errorf("%d bytes, were %d, %v", len(after), len(before), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRestoreKeepsTheFormerFile(t *testing.T) {
	path := filled(t)
	backup := written(t, func(f *os.File) error { _, err := Copy(path, f); return err })
	s := openedAt(t, path, Options{})
	commit(t, s, arrival("later", "here", newClock().Now()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := Restore(path, backup, newClock().Now())
	if err != nil {
		t.Fatal(err)
	}
	former := openedAt(t, kept, Options{})
	state(t, former, "later")
	restored := openedAt(t, path, Options{})
	if _, ok, err := restored.State("later"); ok || err != nil {
		t.Errorf("later: %v, %v", ok, err)
	}
	if mark, err := restored.Get(KeyRestored); err != nil || string(mark) != "2026-05-04T12:00:00Z" {
		t.Errorf("mark %q, %v", mark, err)
	}
	sound(t, restored)
}

// A backup may go where there is no file, or one that is damaged; a damaged backup goes
// nowhere.
func TestRestoreOfAndInPlaceOfDamage(t *testing.T) {
	path := filled(t)
	backup := written(t, func(f *os.File) error { _, err := Copy(path, f); return err })
	if kept, err := Restore(filepath.Join(t.TempDir(), "sub", "default.db"), backup, newClock().Now()); err != nil || kept != "" {
		t.Errorf("where nothing is: %q, %v", kept, err)
	}
	bad := filepath.Join(t.TempDir(), "default.db")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(path, bad, newClock().Now()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged backup: %v", err)
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
	if kept, err := Restore(bad, backup, newClock().Now()); err != nil || kept == "" {
		t.Errorf("in place of a damaged file: %q, %v", kept, err)
	}
	if err := Check(bad); err != nil {
		t.Error(err)
	}
}
