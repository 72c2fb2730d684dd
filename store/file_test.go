package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// filled returns the path of a closed store with some sessions and events.
func filled(t testing.TB) string {
	t.Helper()
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	var in []events.Event
	for i := range 200 {
		in = append(in, arrival(sessionID(i), "here", c.Now()))
	}
	commit(t, s, in...)
	for i := range 20 {
		commit(t, s, traffic(state(t, s, sessionID(i)), 1000, c.Now()))
	}
	taken(t, s, 0, 10)
	if err := s.Acked(Cursor{OutboxSeq: 10, StreamSeq: 10, StreamCreated: c.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.path
}

// refused checks that Open and Check refuse a file with the error, name it and
// the remedy, and leave it as it is.
func refused(t *testing.T, path string, want error, remedy string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, Options{})
	if err == nil {
		_ = s.Close()
	}
	for name, err := range map[string]error{"Open": err, "Check": Check(path)} {
		if !errors.Is(err, want) {
			t.Fatalf("%s: error is %v, want %v", name, err, want)
		}
		if text := err.Error(); !strings.Contains(text, path) || !strings.HasSuffix(text, remedy) {
			t.Errorf("%s: the error names no file or no remedy: %v", name, err)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "deep", "default.db")
	openedAt(t, path, Options{})
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir, filepath.Dir(filepath.Dir(path)): 0o700 | fs.ModeDir} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, error %v; want the store alone", left, err)
	}
}

func TestLockedFileIsNamed(t *testing.T) {
	s := opened(t, Options{})
	_, err := Open(s.path, Options{LockTimeout: time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), s.path) || !strings.HasSuffix(err.Error(), remedyLocked) {
		t.Errorf("Open: error is %v", err)
	}
	if err := Check(s.path); !errors.Is(err, ErrLocked) {
		t.Errorf("Check: error is %v", err)
	}
	commit(t, s, arrival("a", "here", time.Unix(1e9, 0)))
}

func TestDamagedFileIsRefusedAndKept(t *testing.T) {
	good, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, damage := range map[string]func(b []byte) []byte{
		"one byte":           func([]byte) []byte { return []byte{0} },
		"text":               func([]byte) []byte { return bytes.Repeat([]byte("GUESTFLOW_ACCOUNT=default\n"), 2000) },
		"cut to a page":      func(b []byte) []byte { return b[:page] },
		"cut to two pages":   func(b []byte) []byte { return b[:2*page] },
		"cut in the middle":  func(b []byte) []byte { return b[:len(b)/4] },
		"both metas torn":    func(b []byte) []byte { clear(b[40:60]); clear(b[page+40 : page+60]); return b },
		"all zero":           func(b []byte) []byte { clear(b); return b },
		"pages zero":         func(b []byte) []byte { clear(b[2*page:]); return b },
		"pages full of ones": func(b []byte) []byte { copy(b[2*page:], bytes.Repeat([]byte{0xff}, len(b))); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "damaged.db")
			if err := os.WriteFile(path, damage(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, ErrCorrupt, remedyCorrupt)
		})
	}
}

// A file that lost its end, at whatever byte, is called damaged in words of this
// package: no fault of the Go runtime, and no empty store in its place.
func TestCutFileIsCorruptAtEveryLength(t *testing.T) {
	good, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	used := len(good)
	if err := inFile(t, good, func(tx *bbolt.Tx) { used = int(tx.Size()) }); err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	lengths := []int{0, 1, 16, 79, 80, 512, page - 1, page + 1}
	for at := page; at < used; at += page {
		lengths = append(lengths, at)
	}
	lengths = append(lengths, used-1, used-page/2)
	for _, n := range lengths {
		path := filepath.Join(t.TempDir(), "cut.db")
		if err := os.WriteFile(path, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, path, ErrCorrupt, remedyCorrupt)
		for name, err := range map[string]error{"Open": openError(path), "Check": Check(path)} {
			for _, foreign := range []string{"runtime error", "fault address", "goroutine", "EOF", "bad file descriptor"} {
				if text := errorText(err); strings.Contains(text, foreign) {
					t.Errorf("%s of %d of %d bytes: %s", name, n, used, text)
				}
			}
		}
	}
}

func openError(path string) error {
	s, err := Open(path, Options{})
	if err == nil {
		_ = s.Close()
	}
	return err
}

// inFile reads a copy of a file with bbolt alone.
func inFile(t *testing.T, content []byte, read func(*bbolt.Tx)) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.View(func(tx *bbolt.Tx) error { read(tx); return nil }), db.Close())
}

// A single damaged page is seen when it is read, by Check at the latest, as an
// error and never as a panic; the rest stays readable.
func TestDamagedPageIsAnErrorWhenItIsRead(t *testing.T) {
	good, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	found := 0
	for n := 2; n < len(good)/page; n += 3 {
		b := bytes.Clone(good)
		for i := n * page; i < (n+1)*page; i++ {
			b[i] ^= 0xa5
		}
		path := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); err != nil {
			found++
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("page %d: Check: %v", n, err)
			}
		}
		s, err := Open(path, Options{NoSync: true})
		if err == nil {
			c := newClock()
			read := s.All(func(events.State) bool { return true })
			err = errors.Join(read, s.Invariants(), s.Commit(Commit{Changes: []events.Event{arrival("new", "here", c.Now())}}))
			_ = s.Close()
			// Whatever happened, the lock is gone.
			if s, again := Open(path, Options{LockTimeout: time.Millisecond, NoSync: true}); errors.Is(again, ErrLocked) {
				t.Errorf("page %d: still locked after Close", n)
			} else if again == nil {
				_ = s.Close()
			}
		}
		for _, e := range strings.Split(errorText(err), "\n") {
			if e != "" && !strings.Contains(e, ErrCorrupt.Error()) && !strings.Contains(e, ErrConflict.Error()) {
				t.Errorf("page %d: %v", n, e)
			}
		}
	}
	if found == 0 {
		t.Error("Check found none of the damaged pages")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAnotherProgramsFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, path, ErrCorrupt, remedyCorrupt)
}

func TestMissingBucketIsCorrupt(t *testing.T) {
	for _, name := range buckets[1:] {
		path := filled(t)
		edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(name) })
		refused(t, path, ErrCorrupt, remedyCorrupt)
	}
}

// edit changes a file behind the store's back.
func edit(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsDisagreement(t *testing.T) {
	first := []byte(sessionID(0))
	for name, f := range map[string]func(tx *bbolt.Tx) error{
		"session missing": func(tx *bbolt.Tx) error { return tx.Bucket(bucketOnline).Delete(sequenceKey(1)) },
		"session twice": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketOnline)
			return errors.Join(b.SetSequence(1<<40), b.Put(sequenceKey(1<<40), bytes.Clone(b.Get(sequenceKey(1)))))
		},
		"number that was not given": func(tx *bbolt.Tx) error { return tx.Bucket(bucketOnline).SetSequence(1) },
		"location without a record": func(tx *bbolt.Tx) error { return tx.Bucket(bucketLocations).Delete([]byte("here")) },
		"hole in the outbox":        func(tx *bbolt.Tx) error { return tx.Bucket(bucketOutbox).Delete(sequenceKey(50)) },
		"outbox cut off":            func(tx *bbolt.Tx) error { return tx.Bucket(bucketOutbox).Delete(sequenceKey(220)) },
		"wrong size": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketCursor).Put(keyWritten, binary.AppendUvarint(nil, 1<<30))
		},
		"cursor beyond the end": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketCursor).Put(keyCursor, (&savedCursor{Cursor: Cursor{OutboxSeq: 1000}}).encode())
		},
		"older state": func(tx *bbolt.Tx) error {
			st := events.StateOf(arrival(sessionID(0), "here", newClock().Now()))
			return tx.Bucket(bucketOnline).Put(sequenceKey(1), appendOnline(nil, &st))
		},
		"ended and online": func(tx *bbolt.Tx) error { return tx.Bucket(bucketEnded).Put(first, make([]byte, 8)) },
		"broken document": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketOutbox)
			v := bytes.Clone(b.Get(sequenceKey(50)))
			v[len(v)-1] = '!'
			return b.Put(sequenceKey(50), v)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			if err := Check(path); err != nil {
				t.Fatal(err)
			}
			edit(t, path, f)
			if err := Check(path); !errors.Is(err, ErrCorrupt) || !strings.HasSuffix(err.Error(), remedyCorrupt) {
				t.Errorf("error is %v, want ErrCorrupt and the remedy", err)
			}
		})
	}
}

func TestNewerFormatIsRefusedAndKept(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bbolt.Tx) error { return schema{version: current.version + 1}.stamp(tx) })
	refused(t, path, ErrNewerFormat, remedyNewer)
}

func TestOlderFormatIsMigratedInOneTransaction(t *testing.T) {
	path := filled(t)
	rename := func(from, to string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketValues)
			if from == "fails" {
				return errors.New("cannot be")
			}
			if from != "" && b.Get([]byte(from)) == nil {
				return errors.New(from + " is missing")
			}
			return b.Put([]byte(to), []byte("done"))
		}
	}
	version := func() (v uint64) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(db.View(func(tx *bbolt.Tx) (err error) { v, err = formatOf(tx); return err }), db.Close())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	base := current.version
	broken := schema{version: base + 2, migrations: map[uint64]func(*bbolt.Tx) error{base: rename("", "one"), base + 1: rename("fails", "")}}
	if _, err := open(path, Options{}, broken); err == nil || !strings.Contains(err.Error(), "cannot be") {
		t.Fatalf("error is %v", err)
	}
	if v := version(); v != base {
		t.Errorf("version is %d after a migration that failed, want %d", v, base)
	}
	absent := schema{version: base + 2, migrations: map[uint64]func(*bbolt.Tx) error{base + 1: rename("", "one")}}
	if _, err := open(path, Options{}, absent); err == nil || !strings.Contains(err.Error(), "earlier release") {
		t.Fatalf("error is %v", err)
	}
	s, err := open(path, Options{}, schema{version: base + 2, migrations: map[uint64]func(*bbolt.Tx) error{base: rename("", "one"), base + 1: rename("one", "two")}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get("two"); string(v) != "done" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if n := len(located(t, s, "here").Sessions); n != 200 {
		t.Errorf("%d sessions after the migration, want 200", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if v := version(); v != base+2 {
		t.Errorf("version is %d, want %d", v, base+2)
	}
}

// A file of version 1, which kept a suspicion against sessions that were missing from a
// list, can be checked and made smaller before it is brought up to date.
func TestFileOfVersion1Opens(t *testing.T) {
	path := unpacked(t, "format-1.db.gz")
	if err := Check(path); err != nil {
		t.Fatal(err)
	}
	compacted(t, path)
	was, unsent := 0, uint64(0)
	for again := range 2 {
		s, err := Open(path, Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		var all []events.State
		if err := s.All(func(st events.State) bool { all = append(all, st); return true }); err != nil {
			t.Fatal(err)
		}
		if again == 0 {
			was, unsent = len(all), s.Outbox().Depth
		}
		if len(all) == 0 || len(all) != was || s.Outbox().Depth != unsent+uint64(again) {
			t.Errorf("%d sessions and %d unsent events, were %d and %d", len(all), s.Outbox().Depth, was, unsent)
		}
		commit(t, s, traffic(all[0], 1, newClock().Now()))
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		if v, err := formatOf(tx); v != current.version || err != nil {
			t.Errorf("the version is %d, error %v", v, err)
		}
		for _, name := range []string{"suspects", "online", "index"} {
			if tx.Bucket([]byte(name)) != nil {
				t.Errorf("bucket %s is kept", name)
			}
		}
		return nil
	})
}

func TestPagesOfAnOlderFormatAreChecked(t *testing.T) {
	path := filled(t)
	newer := schema{version: current.version + 1}
	for _, damage := range []bool{false, true} {
		if damage {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			page := os.Getpagesize()
			for at := 10 * page; at < len(b)-page; at += page {
				copy(b[at+8:], bytes.Repeat([]byte{0xff}, 8))
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := openBolt(path, fileMode{wait: atOnce, readOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.check(newer); errors.Is(err, ErrCorrupt) != damage {
			t.Errorf("damaged is %v: error is %v", damage, err)
		}
		if err := f.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnreadablePathSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(file, "default.db")} {
		if _, err := Open(path, Options{}); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): error is %v", path, err)
		}
	}
	missing := filepath.Join(dir, "missing.db")
	if err := Check(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check: error is %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Check made a file")
	}
}
