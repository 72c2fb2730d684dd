package publisher

import (
	"time"

	"github.com/guestflow/guestflow/events"
)

// Entry is one event in the outbox.
type Entry struct {
	Seq         uint64
	ID          string
	Subject     string
	Kind        events.Kind
	Body        []byte
	CommittedAt time.Time
}

// Cursor says up to where the outbox is in the stream.
type Cursor struct {
	OutboxSeq     uint64
	StreamSeq     uint64
	StreamCreated time.Time
	At            time.Time
}

// Log is the outbox: entries in order of their sequence numbers, and the cursor
// up to which they are in the stream.
type Log interface {
	// Take returns up to max entries after the given sequence number.
	Take(after uint64, max int) ([]Entry, error)
	// Cursor returns what Acked was last called with.
	Cursor() Cursor
	// Acked records that the entries up to the cursor are in the stream.
	Acked(Cursor) error
}

// Notes keeps small named values beside the outbox.
type Notes interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// Store is what the publisher needs of a store.Store.
type Store interface {
	Log
	Notes
	// Wake is signalled after entries were added.
	Wake() <-chan struct{}
}
