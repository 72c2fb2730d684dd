package publisher

import "github.com/guestflow/guestflow/store"

// Entry is one event in the outbox, and Cursor what of the outbox is in the
// stream.
type (
	Entry  = store.Entry
	Cursor = store.Cursor
)

// Outbox is a log of entries, numbered without gaps.
type Outbox interface {
	// Take returns up to max entries after the number, or the first ones that are
	// still kept. They are not changed any more.
	Take(after uint64, max int) ([]Entry, error)
	// Wake is signalled after entries were added.
	Wake() <-chan struct{}
}

// Cursors keeps the cursor. It may lag after a crash; it never runs ahead.
type Cursors interface {
	Cursor() Cursor
	// Acked moves the cursor forward.
	Acked(Cursor) error
	// Rewind moves it back, so that the entries after seq are sent again.
	Rewind(seq uint64) error
}

// Notes keeps small named values, nil for what was never put.
type Notes interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// Store is what the publisher needs of a store.Store.
type Store interface {
	Outbox
	Cursors
	Notes
}

var _ Store = (*store.Store)(nil)
