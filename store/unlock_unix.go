//go:build unix && !solaris && !aix && !android

package store

import (
	"errors"
	"os"
	"syscall"
)

// abandon lets go of a file that bbolt cannot close after a panic. Closing it is
// not enough: the lock lives as long as the mapping, which only bbolt could undo.
func abandon(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
