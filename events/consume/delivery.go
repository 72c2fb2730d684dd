package consume

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Delivery is one event as the stream hands it to a consumer.
type Delivery struct {
	events.Event
	// Subject that the event was published on; see Subjects.Parse.
	Subject string
	// Sequence of the event in the stream: what FromSequence takes.
	Sequence uint64
	// Stored is when the stream stored the event, UTC: what FromTime takes.
	Stored time.Time
	// Attempt is 1 for the first delivery of the event to this consumer, and one
	// more for each after that.
	Attempt uint64
	// Pending is how many events wait behind this one, as of its delivery: at 0
	// a replay has caught up with the stream.
	Pending uint64
}

// deliveryOf reads a message; with an error only the Event is missing.
func deliveryOf(msg jetstream.Msg) (Delivery, error) {
	d := Delivery{Subject: msg.Subject(), Attempt: 1}
	meta, err := msg.Metadata()
	if err != nil {
		return d, fmt.Errorf("message on %q did not come from a stream: %w", msg.Subject(), err)
	}
	d.Sequence, d.Stored, d.Pending = meta.Sequence.Stream, meta.Timestamp.UTC(), meta.NumPending
	d.Attempt = max(meta.NumDelivered, 1)
	d.Event, err = events.Decode(msg.Data())
	return d, err
}

// Failure is what Consumer.OnError is told of.
type Failure struct {
	// Delivery that failed; its Event is zero when Err is ErrNotEvent.
	Delivery Delivery
	// Err is what the handler returned, or why the message is not an event.
	Err error
	// Final is true when the event will not be delivered again.
	Final bool
	// Retry is the time until the next delivery, unless Final.
	Retry time.Duration
}

// From is where a new consumer starts in the stream. The zero From is FromNow.
type From struct {
	policy   jetstream.DeliverPolicy
	set      bool
	time     time.Time
	sequence uint64
}

// FromNow starts with the first event that is stored after the consumer was
// created.
func FromNow() From { return From{} }

// FromStart starts with the oldest event that the stream holds.
func FromStart() From { return From{set: true, policy: jetstream.DeliverAllPolicy} }

// FromTime starts with the first event that was stored at t or later. That is
// Delivery.Stored, not Event.Time. A time to come is the same as FromNow.
func FromTime(t time.Time) From {
	return From{set: true, policy: jetstream.DeliverByStartTimePolicy, time: t.UTC()}
}

// FromSequence starts with the event at n, or the first after it that matches
// and is still there. 0 is the same as FromStart.
func FromSequence(n uint64) From {
	if n == 0 {
		return FromStart()
	}
	return From{set: true, policy: jetstream.DeliverByStartSequencePolicy, sequence: n}
}

// start writes f into the configuration of a consumer.
func (f From) start(c *jetstream.ConsumerConfig) {
	c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverNewPolicy, f.sequence, nil
	if f.set {
		c.DeliverPolicy = f.policy
	}
	if c.DeliverPolicy == jetstream.DeliverByStartTimePolicy {
		c.OptStartTime = &f.time
	}
}

// verdict is an error of a handler that says what is to happen to the event.
type verdict struct {
	err     error
	discard bool
	after   time.Duration
}

func (v *verdict) Error() string { return v.err.Error() }
func (v *verdict) Unwrap() error { return v.err }

// Discard wraps the error of a handler for which no later attempt can go better:
// the event is not delivered to this consumer again. A nil err stays nil.
func Discard(err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err, discard: true}
}

// RetryAfter wraps the error of a handler that knows when the next attempt is
// worth making, for instance from a Retry-After header. A nil err stays nil; a
// negative d counts as 0.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err, after: max(d, 0)}
}

// verdictOn returns what becomes of an event after its handler's err.
func (c *Consumer) verdictOn(d *Delivery, err error) Failure {
	f := Failure{Delivery: *d, Err: err}
	var v *verdict
	switch said := errors.As(err, &v); {
	case said && v.discard:
		f.Final = true
	case c.MaxDeliver > 0 && d.Attempt >= uint64(c.MaxDeliver):
		f.Final = true
		f.Err = fmt.Errorf("gave up after %d attempts: %w", d.Attempt, err)
	case said:
		f.Retry = v.after
	default:
		f.Retry = max(c.Backoff(d.Attempt), 0)
	}
	return f
}

// DefaultBackoff is the wait after the attempt: 1 s, 2 s, 4 s … up to 1 min.
func DefaultBackoff(attempt uint64) time.Duration {
	if attempt > 6 {
		return time.Minute
	}
	return time.Second << (max(attempt, 1) - 1)
}
