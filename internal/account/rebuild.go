package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// behind reports whether the stream has what another process published since this store
// did. It waits until the stream tells: what a store that knows nothing learned from the
// platform meanwhile would pass for what was known before.
func (a *Account) behind(ctx context.Context) (behind bool, err error) {
	s := &a.settings
	if err := a.link.AwaitStream(ctx); err != nil {
		return false, err
	}
	p := publisher.New(a.link.JetStream(), a.Store)
	p.Account, p.Stream, p.Subjects, p.Log = s.Name, s.Stream, s.Subjects, s.Log
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	err = backoff.RetryNotify(func() error {
		ctx, cancel := context.WithTimeout(ctx, tailWait)
		defer cancel()
		behind, err = p.Behind(ctx)
		if errors.Is(err, publisher.ErrStreamMissing) {
			return nil // there is nothing to know; publishing sees to the stream
		}
		return err
	}, backoff.WithContext(pauses, ctx), func(err error, _ time.Duration) {
		s.Log.Debug("whether another process has published is not known yet", "account", s.Name, "error", err)
	})
	if err != nil {
		return false, fmt.Errorf("account %s: where it ends in stream %s: %w", s.Name, s.Stream, err)
	}
	return behind, nil
}

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
		return a.Store.Put(store.KeyRestored, nil) // nothing was published since
	}
	h, err := a.readHistory(ctx, tail.Seq, func(st *events.State) bool {
		if isKept(st, began) {
			return false
		}
		was, known, err := a.Store.State(st.Session.ID)
		return err == nil && !(known && was.Session.Online) // else it may seem to have outlived the stream
	})
	if err != nil {
		return fmt.Errorf("account %s: rebuild the state from stream %s: %w", s.Name, s.Stream, err)
	}
	values, err := poller.Resumed(h.since, h.until, a.Store.Get)
	if err != nil {
		return err
	}
	outlived, err := a.outlived(ctx, tail, h)
	if err != nil {
		return fmt.Errorf("account %s: rebuild the state: %w", s.Name, err)
	}
	err = a.Store.Rebuild(store.Rebuilt{
		States: append(h.kept(time.Now()), outlived...), Values: values, Forget: []string{publisher.KeyOutbox, store.KeyRestored},
		Cursor: store.Cursor{StreamSeq: tail.Seq, StreamCreated: tail.Created, At: time.Now()},
	})
	if err == nil {
		s.Log.Info("state rebuilt from the stream", "account", s.Name, "events", h.events, "sessions", len(h.states), "stream_seq", tail.Seq, "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// outlived are the sessions of a state that was restored which are online and whose
// events the stream no longer holds. They count where it holds all that came after the
// state, and what is unsent of them is as if it never was.
func (a *Account) outlived(ctx context.Context, tail publisher.Tail, h history) ([]events.State, error) {
	restored, err := a.Store.Get(store.KeyRestored)
	cursor := a.Store.Cursor()
	if err != nil || restored == nil || cursor.StreamSeq == 0 || !cursor.StreamCreated.Equal(tail.Created) {
		return nil, err
	}
	stream, err := a.link.JetStream().Stream(ctx, a.settings.Stream)
	if err != nil {
		return nil, err
	}
	if first := stream.CachedInfo().State.FirstSeq; first <= 1 || first > cursor.StreamSeq+1 {
		return nil, nil
	}
	unsent := make(map[string]bool)
	for after := cursor.OutboxSeq; ; {
		entries, err := a.Store.Take(after, 1000)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			break
		}
		for i := range entries {
			unsent[entries[i].SessionID] = true
		}
		after = entries[len(entries)-1].Seq
	}
	var states []events.State
	err = a.Store.All(func(st events.State) bool {
		if _, told := h.states[st.Session.ID]; !told && !unsent[st.Session.ID] {
			states = append(states, st)
		}
		return true
	})
	return states, err
}
