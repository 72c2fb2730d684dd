//go:build !unix || solaris || aix || android

package store

import "os"

// abandon lets go of a file that bbolt cannot close after a panic.
func abandon(f *os.File) error { return f.Close() }
