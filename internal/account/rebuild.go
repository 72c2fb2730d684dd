package account

import (
	"context"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// rebuild puts together from the stream what the store should know: whoever polled the
// account before has published all of it. So nobody is told of twice, and revisions go
// on, on a machine that never had the account too.
func (a *Account) rebuild(ctx context.Context) error {
	s := &a.settings
	if err := a.link.AwaitStream(ctx); err != nil {
		return err
	}
	began := time.Now()
	js := a.link.JetStream()
	tail, err := publisher.FindTail(ctx, js, s.Stream, s.Subjects, s.Name)
	if err != nil {
		return fmt.Errorf("account %s: rebuild the state: %w", s.Name, err)
	}
	if tail.Seq == 0 {
		return nil
	}
	h, err := a.readHistory(ctx, tail.Seq)
	if err != nil {
		return fmt.Errorf("account %s: rebuild the state from stream %s: %w", s.Name, s.Stream, err)
	}
	values, err := poller.Resumed(h.since, h.until)
	if err != nil {
		return err
	}
	err = a.Store.Rebuild(store.Rebuilt{
		States: h.kept(time.Now()), Values: values, Forget: []string{publisher.KeyOutbox},
		Cursor: store.Cursor{StreamSeq: tail.Seq, StreamCreated: tail.Created, At: time.Now()},
	})
	if err == nil {
		s.Log.Info("state rebuilt from the stream", "account", s.Name, "events", h.events, "sessions", len(h.states), "stream_seq", tail.Seq, "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}
