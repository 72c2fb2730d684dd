package account

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// history is what the events of an account come to, in whatever order they are taken:
// of each session the newest revision counts.
type history struct {
	states       map[string]events.State
	since, until time.Time // when the first and the last event was observed
	events       int
}

func newHistory() history { return history{states: make(map[string]events.State)} }

func (h *history) take(e *events.Event) {
	h.events++
	h.span(e.Data.Observed.At, e.Data.Observed.At)
	if was, ok := h.states[e.Data.Session.ID]; !ok || e.Data.Revision > was.Revision {
		h.states[e.Data.Session.ID] = events.StateOf(*e)
	}
}

func (h *history) span(since, until time.Time) {
	if h.since.IsZero() || since.Before(h.since) {
		h.since = since
	}
	if until.After(h.until) {
		h.until = until
	}
}

// join takes what another part of the same events came to.
func (h *history) join(part history) {
	if part.events == 0 {
		return
	}
	h.events += part.events
	h.span(part.since, part.until)
	for id, st := range part.states {
		if was, ok := h.states[id]; !ok || st.Revision > was.Revision {
			h.states[id] = st
		}
	}
}

// kept are the states that a store keeps: of who is online, and of who ended less than
// EndedRetention ago.
func (h *history) kept(now time.Time) []events.State {
	states := make([]events.State, 0, len(h.states))
	for _, st := range h.states {
		if isKept(&st, now) {
			states = append(states, st)
		}
	}
	return states
}

func isKept(st *events.State, now time.Time) bool {
	return st.Session.Online || now.Sub(st.SeenAt) < store.DefaultEndedRetention
}

const (
	// decodeAtOnce is how many messages are decoded in one go.
	decodeAtOnce = 512
	// joinAfter is after how many of those what they came to is joined: a stream of a month
	// has the sessions of a month, and hardly any that are not over.
	joinAfter = 64
)

// historian reads the events of an account up to a stream sequence. One goroutine takes
// messages from the connection, others decode them.
type historian struct {
	*Account
	last   uint64
	tail   func(context.Context) (uint64, error) // where the account ends by the stream's leader
	prefix string                                // of the account's subjects

	place     uint64 // the sequence up to which messages were taken
	filled    []jetstream.Msg
	work      chan []jetstream.Msg
	undecoded sync.WaitGroup // batches
	handed    int            // batches since what they came to was joined
	joinAfter int
	parts     []history // of those who decode; theirs while anything is undecoded
	whole     history
	over      func(*events.State) bool // nobody needs to know of the session any more
}

// readHistory reads the account's events up to a stream sequence, and leaves out sessions
// that are over.
func (a *Account) readHistory(ctx context.Context, last uint64, over func(*events.State) bool) (history, error) {
	r := historian{Account: a, last: last, over: over, joinAfter: joinAfter, tail: func(ctx context.Context) (uint64, error) {
		tail, err := publisher.FindTail(ctx, a.link.JetStream(), a.settings.Stream, a.settings.Subjects, a.settings.Name)
		return tail.Seq, err
	}}
	return r.all(ctx)
}

// all reads what there is.
func (r *historian) all(ctx context.Context) (history, error) {
	a := r.Account
	r.work = make(chan []jetstream.Msg, 4)
	r.prefix = strings.TrimSuffix(a.settings.Subjects.AccountFilter(a.settings.Name), "*.*")
	r.whole = newHistory()
	r.parts = make([]history, max(2, runtime.GOMAXPROCS(0)))
	var decoding sync.WaitGroup
	for i := range r.parts {
		r.parts[i] = newHistory()
		decoding.Go(func() { r.decode(&r.parts[i]) })
	}
	err := r.read(ctx)
	r.join()
	close(r.work)
	decoding.Wait()
	return r.whole, err
}

// join waits until everything is decoded, joins what it came to, and leaves out who is over:
// whatever is told of them later has a higher revision.
func (r *historian) join() {
	r.undecoded.Wait()
	r.handed = 0
	for i := range r.parts {
		r.whole.join(r.parts[i])
	}
	for i := range r.parts {
		for id := range r.parts[i].states {
			if st, ok := r.whole.states[id]; ok && r.over(&st) {
				delete(r.whole.states, id)
			}
		}
		r.parts[i] = newHistory()
	}
}

// errLagging: a consumer lives on one server of a cluster, which may hold less of the stream
// than its leader for a while; one that was started again, nothing at all.
var errLagging = errors.New("the server that was read has not caught up with the stream's leader")

// complete returns errLagging where the account goes on behind what was read, after the
// server that was read had no more.
func (r *historian) complete(ctx context.Context) error {
	if r.place >= r.last {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tailWait)
	defer cancel()
	tail, err := r.tail(ctx)
	if err == nil && tail > r.place {
		return errLagging
	}
	return err // of nil, the last message has gone meanwhile
}

// tailWait is how long the leader may take to say where an account ends.
const tailWait = 5 * time.Second

// read takes every message up to the last, and waits out servers that are away.
func (r *historian) read(ctx context.Context) error {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		before := r.place
		err := r.readOn(ctx)
		if err == nil {
			err = r.complete(ctx)
		}
		if err == nil {
			r.hand()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) || r.link.JetStream().Conn().IsClosed() {
			return err
		}
		if r.place > before {
			pauses.Reset()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readOn reads from the place on.
func (r *historian) readOn(ctx context.Context) error {
	stream, err := r.link.JetStream().Stream(ctx, r.settings.Stream)
	if err != nil {
		return err
	}
	from := consume.FromSequence(r.place + 1)
	reader, err := consume.Open(ctx, r.link.JetStream().Conn(), stream, from, r.settings.Subjects.AccountFilter(r.settings.Name))
	if err != nil {
		return err
	}
	defer func() { reader.Close() }()
	// With a filter that is not the stream's own subject the server looks through all
	// subjects of a block for each message: reading others' events as well is cheaper
	// unless most are others'.
	info := stream.CachedInfo()
	if subjects := info.Config.Subjects; len(subjects) == 1 && reader.Pending > info.State.Msgs/4 {
		whole, err := consume.Open(ctx, r.link.JetStream().Conn(), stream, from, subjects[0])
		if err != nil {
			return err
		}
		reader.Close()
		reader = whole
	}
	if reader.Pending == 0 {
		return nil
	}
	for {
		msg, meta, err := reader.Next()
		if err != nil {
			return err
		}
		r.place = meta.Sequence.Stream
		if r.place <= r.last {
			r.take(msg)
		}
		if r.place >= r.last || meta.NumPending == 0 {
			return nil
		}
	}
}

// take puts a message of the account among those to be decoded.
func (r *historian) take(msg jetstream.Msg) {
	if !strings.HasPrefix(msg.Subject(), r.prefix) {
		return
	}
	if r.filled = append(r.filled, msg); len(r.filled) == decodeAtOnce {
		r.hand()
	}
}

func (r *historian) hand() {
	if len(r.filled) == 0 {
		return
	}
	r.undecoded.Add(1)
	r.work <- r.filled
	r.filled = make([]jetstream.Msg, 0, decodeAtOnce)
	if r.handed++; r.handed >= r.joinAfter {
		r.join()
	}
}

// decode makes a history of the messages that it is handed.
func (r *historian) decode(h *history) {
	for batch := range r.work {
		for _, msg := range batch {
			e, err := events.Decode(msg.Data())
			if err == nil && !publisher.Wrote(msg.Headers()) {
				err = errors.New("guestflow did not write it")
			}
			if err != nil { // somebody published it by hand
				meta, _ := msg.Metadata()
				r.settings.Log.Warn("rebuilding the state: a message is left out", "account", r.settings.Name, "sequence", meta.Sequence.Stream, "error", err)
				continue
			}
			h.take(&e)
		}
		r.undecoded.Done()
	}
}
