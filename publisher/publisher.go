package publisher

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Way is how entries are put into the stream.
type Way string

const (
	// Auto: Atomic where the stream allows it, except for a backlog in a stream that
	// is not replicated, where Fast, or Chained where the stream does not allow that,
	// measures faster. Else Fast, or Chained.
	Auto Way = ""
	// Atomic: in atomic batches (nats-server 2.12, streams with allow_atomic). Writers
	// of different accounts do not disturb each other, and the events of a batch
	// appear together. With a server that syncs each write, a batch is synced once.
	Atomic Way = "atomic"
	// Chained: pipelined, each message tied to the one before it. Any other writer
	// of the stream, of another account too, makes it start over from the last
	// message that was stored, in smaller steps.
	Chained Way = "chained"
	// Fast: as Chained, in fast batches (nats-server 2.14, streams with allow_batched
	// and no replicas): one answer for many messages. Chained stands in for ten minutes
	// where the stream takes no more of them.
	Fast Way = "fast"
)

// Clock tells the time and waits. Sleep returns early with ctx's error.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Observer is told what happens, for metrics. It is called on the goroutine of
// Run or Drain and must not block.
type Observer interface {
	// Published: the entries of b are in the stream.
	Published(b Batch)
	// Retrying: an attempt failed, and the next follows after wait.
	Retrying(err error, wait time.Duration)
	// Lost: the stream lost acknowledged entries, outbox numbers from to, which the
	// outbox no longer retains.
	Lost(from, to uint64)
}

// Batch is a number of entries that are in the stream.
type Batch struct {
	Entries []Entry
	// Took is the time from sending to the answer; zero when that was lost and the
	// entries were found in the stream.
	Took time.Duration
	// Way is Atomic, Chained or Fast.
	Way Way
	// Healed is how many of the entries, the first ones, the stream had lost.
	Healed int
}

// Publisher drains the outbox of one account into a stream. Make one with New,
// change the settings as needed, and then call Run once, and Drain after it to
// send what is left.
type Publisher struct {
	// Account is the account's name as configured. Default events.DefaultAccount.
	Account string
	// Stream is the stream's name. Default events.DefaultStream.
	Stream string
	// Subjects are the prefix that the stream is bound to.
	Subjects events.Subjects
	// Way is how to publish. Default Auto.
	Way Way
	// MaxBatch is the number of entries in a batch, or in flight when chained.
	// Default 1000, the limit of a nats-server with default settings.
	MaxBatch int
	// MaxBatchBytes bounds the same in bytes. Default 8 MiB.
	MaxBatchBytes int
	// AckWait is how long an answer of the server may take before the stream is
	// read to see what became of the messages. Default 5 s.
	AckWait time.Duration
	// RetryFirst and RetryMax bound the exponential, jittered pause after a failed
	// attempt. Default 100 ms and 10 s. The lower end of the pause while somebody
	// has to change something first (no stream, no permission) is RetryMax/2.
	RetryFirst, RetryMax time.Duration
	// Make makes the stream, with StreamSettings.Again, when it turns out to be
	// missing while events are published. Nil waits until somebody else does.
	Make func(context.Context) error
	// NeedsState has Run return ErrBehind where the store never published and the stream
	// holds events of the account, instead of taking the account over: a state that
	// knows nothing of them would number its events anew.
	NeedsState bool
	// Traceparent gives what a message with an event bears in HeaderTraceparent, by the
	// event's id. Nil leaves the header out.
	Traceparent func(event string) string
	// Clock is used for pauses and for the times in State. Default is the system's.
	Clock Clock
	// Observer may be nil.
	Observer Observer
	// Log gets one line for each change of state. Default slog.Default.
	Log *slog.Logger

	js     jetstream.JetStream
	store  Store
	turn   chan struct{} // held by Run or Drain
	status status

	// Set by start.
	filter   string
	own      string
	messages messages

	// Kept from one attempt to the next.
	batchLimit int       // lowered when the server says that batches are too large
	window     int       // in flight when chained, lowered by other writers
	pace       pace      // which way is faster
	singly     uint64    // one entry at a time up to this outbox number
	fastFrom   time.Time // no fast batches before, since the stream took no more of them
	unsettled  bool      // the last look showed a lost tail
	healTo     uint64    // entries up to here were in the stream once
}

// New returns a publisher with the defaults.
func New(js jetstream.JetStream, store Store) *Publisher {
	return &Publisher{js: js, store: store, turn: make(chan struct{}, 1)}
}

// Run publishes until ctx ends, then waits for the answers that are on their way
// (at most 2 s) and returns nil. It waits out any outage of NATS. It returns a
// *FencedError when another process publishes the account, and the store's error
// when that fails to say which outbox it is.
func (p *Publisher) Run(ctx context.Context) error {
	err := p.work(ctx, false)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Drain publishes until the outbox is empty and returns nil, or ctx's error when
// that ends first; the rest stays in the outbox. It first waits until Run has
// returned. For use at shutdown.
func (p *Publisher) Drain(ctx context.Context) error { return p.work(ctx, true) }

func (p *Publisher) work(ctx context.Context, untilEmpty bool) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return errors.Join(ErrRunning, ctx.Err())
	}
	if err := p.start(); err != nil {
		return err
	}
	pauses := p.pauses()
	outruns := 0
	for {
		progress, err := p.attempt(ctx, untilEmpty)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errTurn) && ctx.Err() == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrFenced):
			p.status.failed(err, p.Clock.Now())
			return err
		}
		if progress {
			pauses.Reset()
			outruns = 0
		}
		if outruns++; outruns < 3 && (outrun(err) || refusedWith(err, codeBatchDuplicate, codeFastInFlight)) {
			continue // another writer is no reason to wait, unless it goes on
		}
		wait := pauses.NextBackOff()
		switch {
		case lasting(err):
			wait = max(wait, p.RetryMax/2)
		case errors.Is(err, errUnsettled):
			wait = max(wait, p.RetryMax/4)
		}
		p.failed(err, wait)
		if err := p.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// failed reports an attempt that came to nothing. A line is logged when the error
// changes, not each time.
func (p *Publisher) failed(err error, wait time.Duration) {
	if p.status.failed(err, p.Clock.Now()) {
		p.Log.Warn("publishing is held up", "account", p.Account, "stream", p.Stream, "error", err)
	}
	if p.Observer != nil {
		p.Observer.Retrying(err, wait)
	}
}

func (p *Publisher) pauses() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.MaxElapsedTime = p.RetryFirst, p.RetryMax, 0
	b.Reset()
	return b
}

// KeyOutbox is the note that holds the random name of the outbox. A store whose outbox
// begins anew must not keep it.
const KeyOutbox = "publisher/outbox"

// start fills in defaults, and names the outbox when it has no name yet.
func (p *Publisher) start() error {
	p.Account = cmp.Or(p.Account, events.DefaultAccount)
	p.Stream = cmp.Or(p.Stream, events.DefaultStream)
	p.MaxBatch = cmp.Or(p.MaxBatch, 1000)
	p.MaxBatchBytes = cmp.Or(p.MaxBatchBytes, 8<<20)
	p.AckWait = cmp.Or(p.AckWait, 5*time.Second)
	p.RetryFirst = cmp.Or(p.RetryFirst, 100*time.Millisecond)
	p.RetryMax = cmp.Or(p.RetryMax, 10*time.Second)
	if p.Clock == nil {
		p.Clock = systemClock{}
	}
	if p.Log == nil {
		p.Log = slog.Default()
	}
	p.batchLimit = cmp.Or(p.batchLimit, p.MaxBatch)
	p.window = cmp.Or(p.window, p.MaxBatch)
	p.filter = p.Subjects.AccountFilter(p.Account)
	if p.own == "" {
		name, err := p.store.Get(KeyOutbox)
		if err != nil {
			return fmt.Errorf("read the outbox's name: %w", err)
		}
		if len(name) == 0 {
			name = []byte(rand.Text())
			if err := p.store.Put(KeyOutbox, name); err != nil {
				return fmt.Errorf("store the outbox's name: %w", err)
			}
		}
		p.own = string(name)
	}
	p.messages = newMessages(p.Stream, p.Account, p.own, p.Subjects)
	p.messages.traceparent = p.Traceparent
	return nil
}

// awaitConnection returns when there is a connection.
func (p *Publisher) awaitConnection(ctx context.Context) error {
	nc := p.js.Conn()
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	for !nc.IsConnected() {
		p.status.connected(false)
		if nc.IsClosed() {
			return fmt.Errorf("%w: the connection was closed", ErrDisconnected)
		}
		if p.status.failed(ErrDisconnected, p.Clock.Now()) {
			p.Log.Warn("publishing waits for NATS", "account", p.Account, "stream", p.Stream)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.status.connected(true)
	return nil
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
