package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// KeyRestored is the value, a time in RFC 3339, of a store that Restore put in place and
// whose state was not brought up to date with the stream since.
const KeyRestored = "store/restored"

// compactBatch is how many bytes Compact writes in one transaction.
const compactBatch = 16 << 20

// Backup writes the file as it is to w, with everything that was staged and acknowledged
// by then, but what waits for room in the outbox, and returns its bytes. It is copied beside
// the file first, so that nothing waits for w.
func (s *Store) Backup(w io.Writer) (size int64, err error) {
	if err := s.flushed(); err != nil && !errors.Is(err, ErrOutboxFull) {
		return 0, err
	}
	if err := s.save(); err != nil {
		return 0, err
	}
	// Whoever takes it may be slow, and a transaction that reads holds up the file's growth.
	temp, err := emptyBeside(s.path)
	if err != nil {
		return 0, explained(s.path, "back it up", err)
	}
	defer func() { _ = os.Remove(temp) }()
	f, err := os.OpenFile(temp, os.O_RDWR, 0o600)
	if err != nil {
		return 0, explained(s.path, "back it up", err)
	}
	defer func() { _ = f.Close() }()
	err = s.view("back it up", func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	if err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, explained(s.path, "back it up", err)
	}
	return io.Copy(w, f)
}

// save writes the cursor where it lags behind.
func (s *Store) save() error {
	s.log.Lock()
	defer s.log.Unlock()
	if !s.cursorLags() {
		return nil
	}
	return s.writeCursor(0)
}

// Copy writes the file at path to w, which no process may have open: the error is then
// ErrLocked. ErrCorrupt and ErrNewerFormat are those of Open.
func Copy(path string, w io.Writer) (size int64, err error) {
	f, err := openBolt(path, fileMode{wait: atOnce, readOnly: true})
	if err != nil {
		return 0, err
	}
	err = guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			size, err = tx.WriteTo(w)
			return err
		})
	})
	return size, errors.Join(explained(path, "copy", err), f.db.Close())
}

// Compact puts a copy without free pages in the place of the file at path, and returns
// its size before and after, in bytes. The error is that of Open, ErrLocked above all;
// the file is then as it was.
func Compact(path string) (before, after int64, err error) {
	f, err := openBolt(path, fileMode{wait: atOnce})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.db.Close()) }() // with its lock, when the other has its name
	info, err := f.file.Stat()
	if err != nil {
		return 0, 0, explained(path, "compact", err)
	}
	temp, err := emptyBeside(path)
	if err != nil {
		return 0, 0, unopened(path, err)
	}
	defer func() { _ = os.Remove(temp) }()
	small, err := tryBolt(temp, fileMode{fresh: true})
	if err != nil {
		return 0, 0, unopened(path, err)
	}
	err = errors.Join(guard(func() error { return bbolt.Compact(small.db, f.db, compactBatch) }), small.db.Close())
	if err == nil {
		after, err = replace(temp, path)
	}
	if err != nil {
		return 0, 0, explained(path, "compact", err)
	}
	return info.Size(), after, nil
}

// replace gives the file at temp the name path, once it is whole and on the disk.
func replace(temp, path string) (size int64, err error) {
	if err := Check(temp); err != nil {
		return 0, err
	}
	info, err := os.Stat(temp)
	if err != nil {
		return 0, err
	}
	if err := os.Rename(temp, path); err != nil {
		return 0, err
	}
	return info.Size(), synced(path, filepath.Dir(path))
}

// Restore puts a copy of the backup in the place of the file at path, and marks it with
// KeyRestored. A file that is there is kept beside it, under the name that is returned.
// The error is that of Open, for either file, and nothing was changed.
func Restore(path, backup string, now time.Time) (kept string, err error) {
	if err := Check(backup); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", explained(path, "restore", err)
	}
	held, err := openBolt(path, fileMode{wait: atOnce})
	switch {
	case err == nil: // nobody opens it until the other has its name
		defer func() { err = errors.Join(err, held.db.Close()) }()
	case errors.Is(err, ErrLocked):
		return "", err
	}
	temp, err := marked(path, backup, now)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temp) }()
	if kept, err = keepBeside(path, now); err != nil {
		return "", explained(path, "restore", err)
	}
	if _, err := replace(temp, path); err != nil {
		return kept, explained(path, "restore", err)
	}
	return kept, nil
}

// marked makes a copy of the backup beside path, with the mark.
func marked(path, backup string, now time.Time) (temp string, err error) {
	if temp, err = emptyBeside(path); err != nil {
		return "", explained(path, "restore", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	f, err := os.OpenFile(temp, os.O_WRONLY, 0o600)
	if err != nil {
		return "", explained(path, "restore", err)
	}
	_, err = Copy(backup, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	s, err := Open(temp, Options{Now: func() time.Time { return now }})
	if err != nil {
		return "", err
	}
	return temp, errors.Join(s.Put(KeyRestored, []byte(now.UTC().Format(time.RFC3339))), s.Close())
}

// keepBeside gives what is at path a second name; empty where nothing is there.
func keepBeside(path string, now time.Time) (string, error) {
	kept := fmt.Sprintf("%s.before-%s", path, now.UTC().Format("20060102T150405Z"))
	err := os.Link(path, kept)
	switch {
	case err == nil:
		return kept, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, fs.ErrExist):
		return "", fmt.Errorf("%w; try again in a second", err)
	}
	return kept, os.Rename(path, kept) // the file system has no links
}
