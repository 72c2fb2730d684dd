package publisher

import (
	"context"
	"fmt"
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

// Behind reports whether others have published the account since the store did, so that Run
// would return a *FencedError, with NeedsState.
func (p *Publisher) Behind(ctx context.Context) (bool, error) {
	own, err := p.store.Get(KeyOutbox)
	if err != nil {
		return false, fmt.Errorf("read the outbox's name: %w", err)
	}
	q := New(p.js, p.store)
	q.Account, q.Stream, q.filter, q.own, q.Log = p.Account, p.Stream, p.Subjects.AccountFilter(p.Account), string(own), p.Log
	c := p.store.Cursor()
	s, err := q.look(ctx, c)
	if err != nil {
		return false, err
	}
	return knowsNothing(c, q.own, s) || decide(c, q.own, s).fenced, nil
}

// knowsNothing reports whether a store never published, while the stream holds messages of
// the account that it did not write. Behind one that somebody published by hand there may
// be those of another outbox.
func knowsNothing(c Cursor, own string, s sight) bool {
	return c.OutboxSeq == 0 && c.StreamSeq == 0 && s.tail != 0 && (s.last.writer == "" || s.last.writer != own)
}
