package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Fate says what became of an event at an endpoint, as far as NATS can tell.
type Fate string

const (
	// FateDelivered: the endpoint wants it, and it is settled without having died.
	FateDelivered Fate = "delivered"
	// FateDead: it lies among the dead letters.
	FateDead Fate = "dead"
	// FateSkipped: it was older than the endpoint's max_age, and was not sent.
	FateSkipped Fate = "skipped"
	// FateRetrying: tries have failed, and the next one waits.
	FateRetrying Fate = "retrying"
	// FateTaken: it was handed out, and an older event is not settled yet: NATS tells no
	// more than up to where all are.
	FateTaken Fate = "delivered or under way"
	// FateWaiting: it was not handed out yet.
	FateWaiting Fate = "waiting"
	// FateUnwanted: kinds, locations or condition leave it out.
	FateUnwanted Fate = "not asked for"
	// FateBefore: it was stored before the endpoint was first served.
	FateBefore Fate = "before the endpoint began"
	// FateUnserved: the endpoint has no place in the stream.
	FateUnserved Fate = "never served"
)

// Trace is what became of one event at one endpoint.
type Trace struct {
	Endpoint string    `json:"endpoint"`
	Fate     Fate      `json:"fate"`
	Tries    int       `json:"tries,omitempty"` // that failed
	Status   int       `json:"status,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at,omitzero"` // when it died or was skipped
	// Letter is the sequence of the dead letter.
	Letter uint64 `json:"dead_letter,omitempty"`
	// Age is how old it was when it was skipped.
	Age time.Duration `json:"age_ns,omitempty"`
}

// Traced is a session event to trace: with its place in the stream, and when it was stored.
type Traced struct {
	Sequence uint64
	Stored   time.Time
	Event    *events.Event
}

// Trace tells what became of session events: for each, in order, one Trace for every endpoint
// of the file that subscribes to sessions, and for every other one that has a dead letter or a skip of it. Whether
// an endpoint wants an event goes by the file as it is now. It reads, and makes nothing
// that is missing. Without a file only dead letters and skips are told.
func (d *Dispatcher) Trace(ctx context.Context, of []Traced) ([][]Trace, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	o.Declared = true // to read is no reason to create
	t := tracer{out: make([][]Trace, len(of)), at: map[uint64]int{}}
	for i := range of {
		t.at[of[i].Sequence] = i
	}
	if err := t.buried(ctx, d, o); err != nil {
		return nil, err
	}
	if err := t.skipped(ctx, d); err != nil {
		return nil, err
	}
	if d.Path == "" {
		return t.out, nil
	}
	cfg, err := d.load()
	if err != nil {
		return nil, err
	}
	for _, e := range cfg.Endpoints {
		if e.topic != sessionTopic {
			continue
		}
		if err := t.endpoint(ctx, d, o, &e, of); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
	}
	return t.out, nil
}

type tracer struct {
	out [][]Trace
	at  map[uint64]int // by sequence in the stream
}

// buried notes the dead letters.
func (t *tracer) buried(ctx context.Context, d *Dispatcher, o options) error {
	graves, err := openGraveyard(ctx, d.JetStream, o)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return graves.each(ctx, "", func(l DeadLetter) (bool, error) {
		if i, ok := t.at[l.StreamSequence]; ok && l.Stream == sessionTopic.name {
			t.out[i] = append(t.out[i], Trace{
				Endpoint: l.Endpoint, Fate: FateDead, Tries: l.Tries, Status: l.Status, Reason: l.Reason, At: l.DiedAt.UTC(), Letter: l.Sequence,
			})
		}
		return true, nil
	})
}

// skipped notes what was too old.
func (t *tracer) skipped(ctx context.Context, d *Dispatcher) error {
	o, err := d.options()
	if err != nil {
		return err
	}
	list, err := skippedIn(ctx, d.JetStream, o, "*", 0)
	for _, s := range list {
		if i, ok := t.at[s.StreamSequence]; ok && (s.Stream == "" || s.Stream == sessionTopic.name) {
			t.out[i] = append(t.out[i], Trace{Endpoint: s.Endpoint, Fate: FateSkipped, At: s.At.UTC(), Age: s.Age})
		}
	}
	return err
}

// endpoint notes what became of the events at an endpoint where that is not noted yet.
func (t *tracer) endpoint(ctx context.Context, d *Dispatcher, o options, e *Endpoint, of []Traced) error {
	var at *jetstream.ConsumerInfo
	c, err := d.JetStream.Consumer(ctx, o.Stream, Durable(e.Name))
	switch {
	case err == nil:
		at = c.CachedInfo()
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	}
	failed := map[uint64]int{}
	records, err := openRecords(ctx, d.JetStream, o)
	if err == nil {
		failed, err = records.tries(ctx, e.Name, 0)
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return err
	}
	for i := range of {
		if slices.ContainsFunc(t.out[i], func(known Trace) bool { return known.Endpoint == e.Name }) {
			continue
		}
		trace := Trace{Endpoint: e.Name, Fate: fate(at, of[i]), Tries: failed[of[i].Sequence]}
		wanted, err := e.match(sessionTopic.about(of[i].Event))
		switch {
		case err != nil:
			trace.Fate, trace.Reason = FateUnwanted, err.Error()
		case !wanted:
			trace.Fate = FateUnwanted
		case trace.Tries > 0 && trace.Fate == FateTaken:
			trace.Fate = FateRetrying
		}
		t.out[i] = append(t.out[i], trace)
	}
	return nil
}

// fate is what the place of an endpoint's consumer tells of an event that it wants.
func fate(at *jetstream.ConsumerInfo, of Traced) Fate {
	switch {
	case at == nil:
		return FateUnserved
	case of.Sequence > at.Delivered.Stream:
		return FateWaiting
	case of.Stored.Before(at.Created) && at.Config.DeliverPolicy == jetstream.DeliverNewPolicy,
		at.Config.DeliverPolicy == jetstream.DeliverByStartSequencePolicy && of.Sequence < at.Config.OptStartSeq:
		return FateBefore
	case of.Sequence <= at.AckFloor.Stream:
		return FateDelivered
	}
	return FateTaken
}
