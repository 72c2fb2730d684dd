package account

import (
	"context"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
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

// history is what the events of an account come to.
type history struct {
	states       map[string]events.State
	since, until time.Time // when the first and the last event was observed
	events       int
}

// readHistory reads the account's events up to a stream sequence.
func (a *Account) readHistory(ctx context.Context, last uint64) (history, error) {
	s := &a.settings
	h := history{states: make(map[string]events.State)}
	reading, done := context.WithCancel(ctx)
	defer done()
	reached := false
	came := func(d consume.Delivery) {
		if d.Sequence >= last || d.Pending == 0 { // the last may have gone meanwhile
			reached = true
			done()
		}
	}
	consumer := consume.Consumer{Stream: s.Stream, Prefix: s.Subjects.Prefix(), Account: s.Name, From: consume.FromStart()}
	consumer.OnError = func(f consume.Failure) { // no event; somebody published it by hand
		s.Log.Warn("rebuilding the state: a message is left out", "account", s.Name, "sequence", f.Delivery.Sequence, "error", f.Err)
		came(f.Delivery)
	}
	err := consumer.Run(reading, a.link.JetStream(), func(_ context.Context, d consume.Delivery) error {
		if d.Sequence <= last {
			h.take(d.Event)
		}
		came(d)
		return nil
	})
	if err == nil && !reached {
		err = ctx.Err()
	}
	return h, err
}

func (h *history) take(e events.Event) {
	h.events++
	at := e.Data.Observed.At
	if h.since.IsZero() || at.Before(h.since) {
		h.since = at
	}
	if at.After(h.until) {
		h.until = at
	}
	if was := h.states[e.Data.Session.ID]; e.Data.Revision > was.Revision {
		h.states[e.Data.Session.ID] = events.StateOf(e)
	}
}

// kept are the states that a store keeps: of who is online, and of who ended less than
// EndedRetention ago.
func (h *history) kept(now time.Time) []events.State {
	states := make([]events.State, 0, len(h.states))
	for _, st := range h.states {
		if st.Session.Online || now.Sub(st.SeenAt) < store.DefaultEndedRetention {
			states = append(states, st)
		}
	}
	return states
}
