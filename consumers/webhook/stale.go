package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
)

// Where the list of skipped events is: DefaultSkippedPrefix.<endpoint> in
// DefaultSkippedStream.
const (
	DefaultSkippedStream = "GUEST_WEBHOOKS_SKIPPED"
	DefaultSkippedPrefix = "guest.webhooks.skipped"
)

// maxSkippedListed is how many events of an endpoint the list holds, the newest.
const maxSkippedListed = 10_000

// SkippedEvent is an event that was too old for its endpoint when its first try was
// due, and was not sent. The event itself is in the stream of events alone.
type SkippedEvent struct {
	Endpoint string `json:"endpoint"`
	EventID  string `json:"event_id"`
	Stream   string `json:"stream"` // that of its endpoint: "sessions", "visits" or "alerts"
	Kind     string `json:"kind"`
	Account  string `json:"account"`
	// Subject is the id of the session or the visit.
	Subject  string `json:"subject"`
	Location string `json:"location_id"`
	// Happened is what its age was counted from.
	Happened time.Time     `json:"happened"`
	Age      time.Duration `json:"age_ns"`
	MaxAge   time.Duration `json:"max_age_ns"` // of the endpoint at that time
	// StreamSequence is where the event stands in the stream of events.
	StreamSequence uint64 `json:"stream_sequence"`
	// At is when it was skipped.
	At time.Time `json:"-"`
}

// stale reports whether the event is too old to be tried for the first time. One that
// was tried is never judged again: the receiver may have got it.
func (r *runner) stale(j *job) bool {
	limit := r.endpoint.MaxAge
	if limit == 0 && j.event.backfilled {
		limit = backfilledMaxAge
	}
	return j.tries == 0 && limit > 0 && r.o.Now().Sub(j.event.happened) > limit
}

// backfilledMaxAge is the greatest age of a backfilled event where the endpoint sets
// none: nobody is welcomed for a visit of last year, since a person asked for the
// history.
const backfilledMaxAge = 24 * time.Hour

// skip writes down that the event is not sent.
func (r *runner) skip(ctx context.Context, j *job) outcome {
	e := &j.event
	s := SkippedEvent{
		Endpoint: r.endpoint.Name, EventID: e.id, Stream: e.topic.name, Kind: e.kind, Account: e.account, Subject: e.subject,
		Location: e.location, Happened: e.happened.UTC(), Age: r.o.Now().Sub(e.happened), MaxAge: r.endpoint.MaxAge, StreamSequence: j.seq,
	}
	if r.skipList == nil { // only where max_age is set
		r.settle(ctx, j)
		r.observe(j, answer{}, Skipped, "")
		return outcome{job: j, skipped: true}
	}
	if err := r.stored(ctx, func(ctx context.Context) error { return r.skipList.add(ctx, s) }); err != nil {
		r.log.Warn("webhooks: an event is too old to be sent and cannot be listed; it waits until it can", "event", e.id, "error", err)
		wait := min(r.o.Backoff.delay(1, r.o.Rand()), r.o.Recheck)
		r.returned(j.msg.NakWithDelay(wait))
		return outcome{job: j, again: true, due: r.o.Now().Add(wait), skipped: true}
	}
	r.settle(ctx, j)
	r.observe(j, answer{}, Skipped, "")
	r.log.Debug("webhooks: event skipped, since it is too old", "event", e.id, "age", s.Age, "max_age", s.MaxAge)
	return outcome{job: j, skipped: true}
}

// skipList is the stream of skipped events.
type skipList struct {
	js     jetstream.JetStream
	prefix string
	open   func(context.Context) error // makes the stream again where it is gone
}

func openSkipList(ctx context.Context, o options) (*skipList, error) {
	open := func(ctx context.Context) error { return ensureSkipList(ctx, o) }
	if err := open(ctx); err != nil {
		return nil, err
	}
	return &skipList{o.JetStream, o.SkippedPrefix, open}, nil
}

func ensureSkipList(ctx context.Context, o options) error {
	_, err := o.JetStream.Stream(ctx, o.SkippedStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !o.Declared {
		// Created only when absent: an operator's own limits are never touched.
		_, err = o.JetStream.CreateStream(ctx, jetstream.StreamConfig{
			Name: o.SkippedStream, Description: "events that were too old for their webhook endpoint",
			Subjects: []string{o.SkippedPrefix + ".*"}, Storage: jetstream.FileStorage, MaxAge: o.DeadMaxAge,
			MaxMsgsPerSubject: maxSkippedListed, Discard: jetstream.DiscardOld, Replicas: o.Replicas, AllowDirect: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("stream of skipped events %s: %w", o.SkippedStream, err)
	}
	return nil
}

// add writes one down, once also where the ack of the event is lost.
func (l *skipList) add(ctx context.Context, s SkippedEvent) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	id := s.Endpoint + "/" + strconv.FormatUint(s.StreamSequence, 10) + "/" + s.EventID
	return despiteDeletion(ctx, l.open, func(ctx context.Context) error {
		_, err := l.js.Publish(ctx, l.prefix+"."+s.Endpoint, body, jetstream.WithMsgID(id))
		return err
	})
}

// Skipped lists what was too old to be sent, in the order in which it was skipped: of
// one endpoint, or of all when endpoint is empty, and no more than limit, 0 for all. An
// endpoint that is known nowhere is ErrUnknownEndpoint.
func (d *Dispatcher) Skipped(ctx context.Context, endpoint string, limit int) ([]SkippedEvent, error) {
	o, err := d.options()
	if err != nil {
		return nil, err
	}
	if endpoint == "" {
		return skippedIn(ctx, d.JetStream, o, "*", limit)
	}
	_, graves, err := d.stores(ctx, o)
	if err != nil {
		return nil, err
	}
	left, err := graves.left(ctx)
	if err != nil {
		return nil, err
	}
	if err := skippedOf(ctx, d.JetStream, o, left); err != nil {
		return nil, err
	}
	if err := d.known(ctx, o, left, endpoint); err != nil {
		return nil, err
	}
	return skippedIn(ctx, d.JetStream, o, endpoint, limit)
}

// skippedOf adds the endpoints of which the list has something.
func skippedOf(ctx context.Context, js jetstream.JetStream, o options, to map[string]bool) error {
	stream, err := js.Stream(ctx, o.SkippedStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = stream.Info(ctx, jetstream.WithSubjectFilter(o.SkippedPrefix+".*"))
	}
	if err != nil {
		return fmt.Errorf("stream of skipped events %s: %w", o.SkippedStream, err)
	}
	for subject := range info.State.Subjects {
		to[strings.TrimPrefix(subject, o.SkippedPrefix+".")] = true
	}
	return nil
}

// skippedIn reads the list of the endpoint, of all for "*".
func skippedIn(ctx context.Context, js jetstream.JetStream, o options, endpoint string, limit int) ([]SkippedEvent, error) {
	stream, err := js.Stream(ctx, o.SkippedStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil // no endpoint with max_age was ever served
	}
	if err != nil {
		return nil, fmt.Errorf("stream of skipped events %s: %w", o.SkippedStream, err)
	}
	var out []SkippedEvent
	subject := o.SkippedPrefix + "." + endpoint
	err = consume.Past(ctx, stream, consume.FromStart(), []string{subject}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		s := SkippedEvent{At: meta.Timestamp}
		if err := json.Unmarshal(m.Data(), &s); err != nil {
			return false, fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		out = append(out, s)
		return limit <= 0 || len(out) < limit, nil
	})
	if err != nil {
		err = fmt.Errorf("stream of skipped events %s: %w", o.SkippedStream, err)
	}
	return out, err
}
