//go:build !linux

package store

import "go.etcd.io/bbolt"

// release lets the pages of the mapped file go where the system has a way.
func release(*bbolt.Tx) {}

// resident is nothing: there is no need to look.
func resident() int64 { return 0 }
