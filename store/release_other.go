//go:build !linux

package store

import "go.etcd.io/bbolt"

// release lets the pages of the mapped file go where the system has a way.
func release(*bbolt.Tx) {}
