package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Consumer subscribes to the events of a stream. Its zero value takes every
// event that is stored from now on, one at a time and in order; every field
// narrows or tunes that.
//
// With a name in Durable the stream remembers what was handled: after a restart
// Run goes on from there, and several processes with the same Durable share the
// events. Every event is delivered until its handler returns nil, so at least
// once. Without a name Run keeps its place itself, which is several times as
// fast, and forgets it when it returns: for replays, live views, and state that
// is rebuilt at each start.
type Consumer struct {
	// Stream and Prefix are the names that guestflow publishes under; empty
	// means DefaultStream and DefaultPrefix.
	Stream, Prefix string
	// Account, Locations (ids) and Kinds choose events; empty means all. An
	// event belongs to the location in which its session is after the change.
	Account   string
	Locations []string
	Kinds     []events.Kind
	// Durable names the place in the stream that is kept across restarts. It
	// must not hold white space, '.', '*', '>' or slashes.
	Durable string
	// From is where a new consumer starts: FromNow unless set. A durable that
	// exists already goes on from its place, whatever From says.
	From From
	// Refilter lets Run change Account, Locations and Kinds of a durable that
	// exists; otherwise a difference is ErrDurableDiffers. Events that only the
	// new choice matches are delivered from the durable's place on, not those
	// before it.
	Refilter bool

	// MaxInFlight is how many handlers may run at a time; 0 means 1, which
	// keeps the order of the stream, whatever fails. With more, the events of
	// one session still come one at a time and in order while this process
	// lives and holds its connection; after a crash or lost connection, or with
	// several processes on one Durable, a later event of a session may come
	// before an earlier one: State.Apply tells.
	MaxInFlight int
	// AckWait is how long the stream waits for news of a delivered event before
	// it delivers the event again; 0 means 30 s. Run sends such news while the
	// handler runs, however long that takes, so this is the time until events
	// in hand of a crashed process come again. Durable only; at least 100 ms.
	AckWait time.Duration
	// MaxDeliver is how often an event is tried before it is given up; 0 means
	// without limit.
	MaxDeliver int
	// Backoff is the wait before the next attempt after the attempt that has
	// just failed (1, 2, 3 …); nil means DefaultBackoff. RetryAfter wins.
	Backoff func(attempt uint64) time.Duration
	// Grace is how long a handler may go on after Run's context has ended,
	// until its own context ends too; 0 means 10 s.
	Grace time.Duration

	// OnError is told of every delivery that failed, and of messages that are
	// not events; it must not block. nil means a warning in slog's default
	// logger, without the event's data.
	OnError func(Failure)
	// OnReady is called once when the consumer exists: every matching event that
	// is stored from then on will be delivered. nil is fine.
	OnReady func()
}

// Errors of Consumer.Run, which name the stream, the consumer and the remedy.
var (
	// ErrNoStream: the stream does not exist, or was deleted while Run ran.
	ErrNoStream = errors.New("stream not found")
	// ErrDurableGone: the durable was deleted while Run ran.
	ErrDurableGone = errors.New("durable consumer was deleted")
	// ErrDurableDiffers: a consumer of that name exists that chooses other
	// events or works in another way.
	ErrDurableDiffers = errors.New("durable consumer differs")
)

// Run delivers events to handle until ctx ends; then it takes no more events,
// waits for the handlers in hand, settles their events, and returns nil. It
// returns an error at once when the settings are wrong or the stream cannot be
// read, and later when stream or durable are deleted or the connection is
// closed; a lost connection it waits out.
//
// When handle returns nil the event is done. With an error it is delivered again
// after Backoff, or as RetryAfter says; with Discard never again. The context of
// handle ends Grace after ctx. handle is called from goroutines of Run, at most
// MaxInFlight at a time; a panic of it is not caught.
//
// Run may be called several times on the same Consumer, one after another or at
// the same time. It neither closes the connection nor deletes a durable.
func (c Consumer) Run(ctx context.Context, js jetstream.JetStream, handle func(context.Context, Delivery) error) error {
	if err := c.settle(); err != nil {
		return err
	}
	filters, err := c.filters()
	if err != nil {
		return err
	}
	var src source
	if c.Durable == "" {
		src, err = c.openReader(ctx, js, filters)
	} else {
		src, err = c.openDurable(ctx, js, filters)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if c.OnReady != nil {
		c.OnReady()
	}
	return c.consume(ctx, src, handle)
}

// settle replaces zero settings by their defaults and checks the others.
func (c *Consumer) settle() error {
	if c.Stream == "" {
		c.Stream = events.DefaultStream
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 1
	}
	if c.AckWait == 0 {
		c.AckWait = 30 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Backoff == nil {
		c.Backoff = DefaultBackoff
	}
	if c.OnError == nil {
		c.OnError = logFailure
	}
	switch {
	case c.MaxInFlight < 0:
		return fmt.Errorf("consumer: MaxInFlight is %d; set 1 or more", c.MaxInFlight)
	case c.MaxDeliver < 0:
		return fmt.Errorf("consumer: MaxDeliver is %d; set 1 or more, or 0 for no limit", c.MaxDeliver)
	case c.AckWait < 100*time.Millisecond:
		return fmt.Errorf("consumer: AckWait is %v; set 100ms or more", c.AckWait)
	case c.Grace < 0:
		return fmt.Errorf("consumer: Grace is %v; set 0 or more", c.Grace)
	}
	return nil
}

// filters returns the subjects that the consumer takes. They never overlap:
// each holds another location or kind.
func (c *Consumer) filters() ([]string, error) {
	subjects, err := events.NewSubjects(c.Prefix)
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	for _, k := range c.Kinds {
		if !k.Valid() {
			return nil, fmt.Errorf("consumer: unknown kind %q in Kinds; the kinds are %v", k, events.Kinds())
		}
	}
	if slices.Contains(c.Locations, "") {
		return nil, errors.New("consumer: an empty id in Locations; leave it out, an empty list takes all locations")
	}
	locations, kinds := distinct(c.Locations), distinct(c.Kinds)
	if len(kinds) == len(events.Kinds()) {
		kinds = []events.Kind{""}
	}
	var filters []string
	for _, location := range locations {
		for _, kind := range kinds {
			filters = append(filters, subjects.Filter(c.Account, location, kind))
		}
	}
	return filters, nil
}

// distinct returns the different values of list in order; one empty value, which
// a filter reads as any, for an empty list.
func distinct[T ~string](list []T) []T {
	if len(list) == 0 {
		return []T{""}
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func logFailure(f Failure) {
	slog.Warn("guest session event failed", "error", f.Err, "subject", f.Delivery.Subject,
		"sequence", f.Delivery.Sequence, "attempt", f.Delivery.Attempt, "final", f.Final, "retry", f.Retry)
}
