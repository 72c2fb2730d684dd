package store

import (
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
)

// release lets the pages of the mapped file go from this process's memory. The
// transaction keeps the mapping in its place.
func release(tx *bbolt.Tx) {
	// Refused, it changes nothing.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, tx.DB().Info().Data, uintptr(tx.Size()), syscall.MADV_DONTNEED)
}

// resident is how many bytes of files are in this process's memory: more than there can
// be where the system does not say.
func resident() int64 {
	b, _ := os.ReadFile("/proc/self/statm") // What cannot be read has no fields.
	if fields := strings.Fields(string(b)); len(fields) > 2 {
		if pages, err := strconv.ParseInt(fields[2], 10, 64); err == nil {
			return pages * int64(os.Getpagesize())
		}
	}
	return math.MaxInt64
}
