package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// atOnce is how long Check and Compact wait for the lock: a person is waiting too.
const atOnce = time.Millisecond

// checkErrors is how many of bbolt's findings Check lists.
const checkErrors = 10

// Check reads the whole file at path: the structure of its pages, and what
// Invariants checks. The error is ErrLocked while a guestflow has it open,
// ErrCorrupt, or ErrNewerFormat; of a file of an older format only the pages are
// checked. Nothing is written.
func Check(path string) error {
	f, err := openBolt(path, fileMode{wait: atOnce, readOnly: true})
	if err != nil {
		return err
	}
	err = f.check(current)
	if cerr := f.db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return unopened(path, err)
	}
	return nil
}

func (f boltFile) check(s schema) error {
	err := guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			outdated, err := s.admit(tx)
			if err != nil {
				return err
			}
			if outdated {
				return walk(tx)
			}
			return checkRecords(tx)
		})
	})
	if err != nil {
		// bbolt checks on a goroutine of its own, where a fault in reading a page
		// would end the process. So it gets to see only what could be read here.
		return err
	}
	return f.db.View(func(tx *bbolt.Tx) error {
		var found []error
		for err := range tx.Check() {
			if len(found) < checkErrors {
				found = append(found, err)
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("%w: %w", ErrCorrupt, errors.Join(found...))
		}
		return nil
	})
}

// walk reads every key and value.
func walk(tx *bbolt.Tx) error {
	sum := 0
	var within func(b *bbolt.Bucket) error
	within = func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				if nested := b.Bucket(k); nested != nil {
					return within(nested)
				}
			}
			for _, c := range v {
				sum += int(c)
			}
			return nil
		})
	}
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return within(b) })
}

// compactBatch is how many bytes a compaction writes in one transaction.
const compactBatch = 16 << 20

// Compact rewrites the file at path without its free pages, and returns its sizes
// before and after, in bytes. The file must not be open: the error is ErrLocked
// then. It is checked first, and a damaged one is left as it is. The new file
// takes the place of the old one when it is complete and on disk, so that a crash
// leaves one or the other.
func Compact(path string) (before, after int64, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0, 0, unopened(path, err)
	}
	old, err := openBolt(path, fileMode{wait: atOnce})
	if err != nil {
		return 0, 0, err
	}
	// The lock is held until the new file is in place; whoever waits for it then
	// finds that the path leads to another file.
	defer func() { err = errors.Join(err, old.db.Close()) }()
	if err := old.check(current); err != nil {
		return 0, 0, unopened(path, err)
	}
	temp, err := emptyBeside(path, suffixCompact)
	if err != nil {
		return 0, 0, explained(path, "compact", err)
	}
	defer func() { _ = os.Remove(temp) }()
	if err := old.copyTo(temp); err != nil {
		return 0, 0, explained(path, "compact", err)
	}
	infos := [2]os.FileInfo{}
	for i, p := range [...]string{path, temp} {
		if infos[i], err = os.Stat(p); err != nil {
			return 0, 0, explained(path, "compact", err)
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return 0, 0, explained(path, "compact", err)
	}
	if err := synced(path, filepath.Dir(path)); err != nil {
		return 0, 0, err
	}
	return infos[0].Size(), infos[1].Size(), nil
}

// copyTo writes what the file holds into an empty one, checks it, and syncs it.
func (f boltFile) copyTo(path string) (err error) {
	to, err := tryBolt(path, fileMode{noSync: true, fresh: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.db.Close()) }()
	if err := guard(func() error { return bbolt.Compact(to.db, f.db, compactBatch) }); err != nil {
		return err
	}
	if err := to.db.Sync(); err != nil {
		return err
	}
	return to.check(current)
}
