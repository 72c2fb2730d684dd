package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Buckets of the file, see the package comment.
var (
	bucketMeta        = []byte("meta")
	bucketOnline      = []byte("sessions")
	bucketEnded       = []byte("ended")
	bucketEndedByTime = []byte("ended_by_time")
	bucketLocations   = []byte("locations")
	bucketOutbox      = []byte("outbox")
	bucketCursor      = []byte("cursor")
	bucketValues      = []byte("values")

	buckets = [][]byte{
		bucketMeta, bucketOnline, bucketEnded, bucketEndedByTime, bucketLocations,
		bucketOutbox, bucketCursor, bucketValues,
	}

	keyFormat  = []byte("format")
	keyCreated = []byte("created")
)

// schema is a format of the file, and how to get to it from older ones.
type schema struct {
	version uint64
	// migrations holds by version what leads from it to the next one.
	migrations map[uint64]func(*bbolt.Tx) error
}

// current is what this release reads and writes. A change of the buckets, or of a
// record that its own version byte cannot express, makes a new version and an
// entry in migrations; a file of the version before goes to testdata.
var current = schema{version: 3, migrations: map[uint64]func(*bbolt.Tx) error{
	1: func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("suspects")) },
	2: numberSessions,
}}

// numberSessions leads to format 3: before, a session that is online had its state in a
// bucket of its location, of which an index told.
func numberSessions(tx *bbolt.Tx) error {
	to, err := tx.CreateBucket(bucketOnline)
	if err != nil {
		return err
	}
	to.FillPercent = onlineFill
	number := uint64(0)
	err = each(tx.Bucket([]byte("online")), func(_ string, k, v []byte) error {
		number++
		return to.Put(sequenceKey(number), append(appendText(nil, string(k)), v...))
	})
	if err != nil {
		return err
	}
	return errors.Join(to.SetSequence(number), tx.DeleteBucket([]byte("online")), tx.DeleteBucket([]byte("index")))
}

// create writes the buckets of a new file.
func (s schema) create(tx *bbolt.Tx, now time.Time) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketMeta).Put(keyCreated, appendTime(nil, now)); err != nil {
		return err
	}
	return s.stamp(tx)
}

func (s schema) stamp(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).Put(keyFormat, binary.AppendUvarint(nil, s.version))
}

// formatOf returns the version of a file, 0 for a file without any bucket.
func formatOf(tx *bbolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if first, _ := tx.Cursor().First(); first != nil {
			return 0, damaged("it is a bbolt file, but not one of guestflow")
		}
		return 0, nil
	}
	in := input{b: meta.Get(keyFormat)}
	v := in.uvarint()
	if in.bad || v == 0 {
		return 0, damaged("its format version cannot be read")
	}
	return v, nil
}

// admit says whether the file can be read, and whether it has to be written for
// that first: created or migrated.
func (s schema) admit(tx *bbolt.Tx) (write bool, err error) {
	v, err := formatOf(tx)
	switch {
	case err != nil:
		return false, err
	case v > s.version:
		return false, fmt.Errorf("%w: version %d, and this release reads up to %d", ErrNewerFormat, v, s.version)
	case v < s.version:
		return true, nil
	}
	return false, s.whole(tx)
}

// whole is the cheap part of checking a file: it touches the first pages alone.
func (s schema) whole(tx *bbolt.Tx) error {
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return damaged("bucket %q is missing", name)
		}
	}
	return nil
}

// prepare creates or migrates the file, in the one transaction: after a crash it
// is as it was.
func (s schema) prepare(tx *bbolt.Tx, now time.Time) error {
	v, err := formatOf(tx)
	if err != nil {
		return err
	}
	if v == 0 {
		return s.create(tx, now)
	}
	for ; v < s.version; v++ {
		migrate := s.migrations[v]
		if migrate == nil {
			return fmt.Errorf("format version %d cannot be migrated to %d; open it with an earlier release of guestflow first", v, s.version)
		}
		if err := migrate(tx); err != nil {
			return fmt.Errorf("migrate from format version %d to %d: %w; the file is unchanged", v, v+1, err)
		}
	}
	if err := s.stamp(tx); err != nil {
		return err
	}
	return s.whole(tx)
}
