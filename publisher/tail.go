package publisher

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Tail is where an account ends in a stream.
type Tail struct {
	// Created is when the stream was made.
	Created time.Time
	// Seq is the stream sequence of the account's last message, 0 for none.
	Seq uint64
}

// FindTail asks the stream's leader where an account ends.
func FindTail(ctx context.Context, js jetstream.JetStream, stream string, subjects events.Subjects, account string) (Tail, error) {
	p := New(js, nil)
	p.Stream, p.filter = stream, subjects.AccountFilter(account)
	s, err := p.look(ctx, Cursor{})
	return Tail{Created: s.created, Seq: s.tail}, err
}
