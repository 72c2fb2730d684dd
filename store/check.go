package store

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// atOnce is how long Check waits for the lock: a person is waiting too.
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
