package store

import (
	"syscall"

	"go.etcd.io/bbolt"
)

// release lets the pages of the mapped file go from this process's memory, in which each
// page that was ever read stays: they are in the system's cache still. The transaction
// keeps the mapping in its place.
func release(tx *bbolt.Tx) {
	// Refused, it changes nothing.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
}
