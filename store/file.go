package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// suffixNew ends the name of a file in the making beside the store. One that a crash
// left behind is removed by the next Open.
const suffixNew = ".new-"

// boltFile is an open bbolt file with its lock.
type boltFile struct {
	db   *bbolt.DB
	file *os.File // the same as db's
}

type fileMode struct {
	wait             time.Duration // for the lock
	noSync, readOnly bool
	// fresh permits a file without content, which bbolt makes a new store of.
	fresh bool
}

// openBolt opens a file that exists, takes its lock, and checks what can be
// checked without reading it all. The error is explained.
func openBolt(path string, m fileMode) (boltFile, error) {
	for {
		f, err := tryBolt(path, m)
		if err != nil {
			return boltFile{}, unopened(path, err)
		}
		// Somebody may have put another file in its place while this one waited for
		// the lock: a backup, or a smaller copy.
		same, err := f.stillAt(path)
		if err == nil && same {
			if err = f.wholeLength(); err == nil {
				return f, nil
			}
		}
		_ = f.db.Close()
		if err != nil {
			return boltFile{}, unopened(path, err)
		}
	}
}

func tryBolt(path string, m fileMode) (f boltFile, err error) {
	defer func() {
		if err != nil && f.file != nil {
			_ = abandon(f.file) // After an error that is no panic it is closed already.
		}
	}()
	err = guard(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:  m.wait,
			NoSync:   m.noSync,
			ReadOnly: m.readOnly,
			// The list of free pages is written with each commit, although that costs
			// time while many are free: without it each Open would
			// have to read the whole file, and would panic out of reach on a damaged
			// page.
			NoFreelistSync: false,
			// The map finds free pages in constant time; the array, bbolt's default,
			// searches, and gets slow after a large outbox was sent.
			FreelistType: bbolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				opened, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
				if err != nil {
					return nil, err
				}
				f.file = opened
				if m.fresh {
					return opened, nil
				}
				// A store gets its name when it is whole, so an empty file is what a
				// full disk, a failed copy or a repair of the file system left.
				if info, err := opened.Stat(); err != nil || info.Size() == 0 {
					return opened, errors.Join(err, damaged("it has zero bytes"))
				}
				return opened, nil
			},
		})
		return err
	})
	return f, err
}

// stillAt reports whether path leads to the file that was locked.
func (f boltFile) stillAt(path string) (bool, error) {
	locked, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return os.SameFile(locked, now), nil
}

// wholeLength checks that no pages are cut off: reading them would be a fault.
func (f boltFile) wholeLength() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	return guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			if info.Size() < tx.Size() {
				return damaged("it is cut off: %d bytes long, should be %d", info.Size(), tx.Size())
			}
			return nil
		})
	})
}

// guard runs f and turns a panic of bbolt, and a fault in reading the mapped file,
// into ErrCorrupt: on a damaged page bbolt gives no error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(runtime.Error); fault {
				r = "a page leads beyond the file's end, or was overwritten"
			}
			err = damaged("reading its pages failed: %v", r)
		}
	}()
	return f()
}

// unopened names what kept the file from being opened.
func unopened(path string, err error) error {
	var onPath *fs.PathError
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("store %s: %w; %s", path, ErrLocked, remedyLocked)
	case errors.Is(err, ErrNewerFormat):
		return fmt.Errorf("store %s: %w; %s", path, err, remedyNewer)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store %s: %w; let the user that guestflow runs as read and write it", path, err)
	case errors.As(err, &onPath), errors.Is(err, ErrCorrupt):
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch),
		strings.HasPrefix(err.Error(), "file size too small"):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return explained(path, "open", err)
}

// create makes the file when there is none. It is written under another name
// first, so that a crash leaves either no store or a whole one.
func create(path string, s schema, now time.Time) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // Whatever is wrong with it, opening it says.
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store %s: %w; let guestflow write there, or set GUESTFLOW_DATA_DIR to a directory where it may", path, err)
	}
	temp, err := emptyBeside(path)
	if err != nil {
		return unopened(path, err)
	}
	defer func() { _ = os.Remove(temp) }()
	f, err := tryBolt(temp, fileMode{fresh: true})
	if err != nil {
		return unopened(path, err)
	}
	err = errors.Join(f.db.Update(func(tx *bbolt.Tx) error { return s.create(tx, now) }), f.db.Close())
	if err != nil {
		return explained(path, "create", err)
	}
	// Unlike renaming, linking does not replace a store that another process made
	// meanwhile. In that case, or when it took this one for a leftover, theirs is
	// opened.
	err = os.Link(temp, path)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
	default:
		if err := os.Rename(temp, path); err != nil { // The file system has no links.
			return explained(path, "create", err)
		}
	}
	return synced(path, dir)
}

// emptyBeside makes an empty file in the directory of path.
func emptyBeside(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+suffixNew+"*")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// sweep removes what a crash left beside the file. Its lock must be held.
func sweep(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path))
		if ok && strings.HasPrefix(rest, suffixNew) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}

// synced is syncDir with its error explained.
func synced(path, dir string) error {
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("store %s: sync its directory: %w; start again, and if that fails too, set GUESTFLOW_DATA_DIR to a directory on a local disk", path, err)
	}
	return nil
}

// syncDir makes a new name in a directory durable, where the file system can:
// some network shares refuse to sync a directory.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // Directories cannot be synced there.
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
