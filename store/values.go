package store

import (
	"bytes"
	"errors"

	"go.etcd.io/bbolt"
)

// Get returns the value of a key, nil when there is none.
func (s *Store) Get(key string) ([]byte, error) {
	var value []byte
	err := s.view("read value "+key, func(tx *bbolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucketValues).Get([]byte(key)))
		return nil
	})
	return value, err
}

// Put keeps a small value under a key; an empty one removes it. It is durable when
// Put returns. A value that is there already is not written again. It needs no room in the
// outbox, and comes before staged changes that wait for some.
func (s *Store) Put(key string, value []byte) error {
	if err := s.flushed(); err != nil && !errors.Is(err, ErrOutboxFull) {
		return err
	}
	was, err := s.Get(key)
	if err != nil || bytes.Equal(was, value) {
		return err
	}
	return s.update("write value "+key, func(tx *bbolt.Tx) error { return putValue(tx, key, value) })
}

func putValue(tx *bbolt.Tx, key string, value []byte) error {
	b := tx.Bucket(bucketValues)
	if len(value) == 0 {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), value)
}
