package store

import "go.etcd.io/bbolt"

// Each page of the mapped file that was ever read stays in this process's memory, with
// those around it, which the system maps as well. So they are let go now and then; they
// are in the system's cache still.
const (
	// defaultMapped is how much of the file may be in this process's memory.
	defaultMapped = 8 << 20
	// mapped is how much of it one page that is read brings there at most.
	mapped = 64 << 10
	// lookEvery is after how much of that it is worth looking how much there is.
	lookEvery = 2 << 20
)

// touch notes that a transaction has brought at most so many bytes into memory, and lets
// pages go where there are too many.
func (s *Store) touch(tx *bbolt.Tx, read int64) {
	if s.touched.Add(read) < lookEvery {
		return
	}
	s.touched.Store(0)
	now := resident()
	// What is there besides, the program first of all, stays.
	if besides := min(s.besides.Load(), now); now-besides < s.mostMapped {
		s.besides.Store(besides)
		return
	}
	release(tx)
	s.besides.Store(resident())
}
