package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// Where dead letters go: DefaultDeadPrefix.<endpoint> in DefaultDeadStream.
const (
	DefaultDeadStream = "GUEST_WEBHOOKS_DEAD"
	DefaultDeadPrefix = "guest.webhooks.dead"
)

// Headers of a dead letter. Its body is the event as it was in the stream.
const (
	DeadEndpoint = "Guestflow-Webhook-Endpoint"
	DeadReason   = "Guestflow-Webhook-Reason"
	DeadTries    = "Guestflow-Webhook-Tries"
	DeadStatus   = "Guestflow-Webhook-Status" // of the last answer; absent when there was none
	DeadEventID  = "Guestflow-Webhook-Event-Id"
	DeadSequence = "Guestflow-Webhook-Stream-Sequence"
)

// DeadLetter is an event that an endpoint never took.
type DeadLetter struct {
	// Sequence is the letter's own, in the stream of dead letters.
	Sequence uint64
	Endpoint string
	EventID  string // empty when the event could not be read
	Reason   string
	Tries    int
	Status   int // of the last answer; 0 when there was none
	// StreamSequence is where the event stood in the stream of events.
	StreamSequence uint64
	DiedAt         time.Time
	Event          []byte
	// What the event says of itself; empty when it could not be read. Subject is the id of
	// the session or, where Stream is "visits", of the visit.
	Stream, Kind      string
	Subject, Location string
}

// graveyard is the stream of dead letters.
type graveyard struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
	open   func(context.Context) error // makes the stream again where it is gone
}

func openGraveyard(ctx context.Context, js jetstream.JetStream, o options) (*graveyard, error) {
	s, err := ensureGraveyard(ctx, js, o)
	if err != nil {
		return nil, err
	}
	return &graveyard{js, s, o.DeadPrefix, func(ctx context.Context) error {
		_, err := ensureGraveyard(ctx, js, o)
		return err
	}}, nil
}

func ensureGraveyard(ctx context.Context, js jetstream.JetStream, o options) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, o.DeadStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !o.Declared {
		// Created only when absent: an operator's own limits are never touched.
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: o.DeadStream, Description: "events that webhook endpoints did not take",
			Subjects: []string{o.DeadPrefix + ".*"}, Storage: jetstream.FileStorage, MaxAge: o.DeadMaxAge,
			Replicas: o.Replicas, AllowDirect: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			s, err = js.Stream(ctx, o.DeadStream)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream of dead letters %s: %w", o.DeadStream, err)
	}
	return s, nil
}

// despiteDeletion does what needs a stream. Where somebody has deleted that, it opens the
// stream, which makes it again unless it is declared elsewhere, and does it once more.
func despiteDeletion(ctx context.Context, open, do func(context.Context) error) error {
	err := do(ctx)
	if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	if err := open(ctx); err != nil {
		return err
	}
	return do(ctx)
}

func (g *graveyard) subject(endpoint string) string { return g.prefix + "." + endpoint }

// count returns how many letters lie under each subject.
func (g *graveyard) count(ctx context.Context) (map[string]uint64, error) {
	var info *jetstream.StreamInfo
	err := despiteDeletion(ctx, g.open, func(ctx context.Context) (err error) {
		if info, err = g.stream.Info(ctx, jetstream.WithSubjectFilter(g.prefix+".*")); err != nil {
			err = fmt.Errorf("stream of dead letters %s: %w", g.stream.CachedInfo().Config.Name, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// bury stores a letter. The message id makes it one letter when the ack of the
// event is lost and the event dies again.
func (g *graveyard) bury(ctx context.Context, l DeadLetter) error {
	h := nats.Header{}
	h.Set(DeadEndpoint, l.Endpoint)
	h.Set(DeadReason, l.Reason)
	h.Set(DeadTries, strconv.Itoa(l.Tries))
	if l.Status != 0 {
		h.Set(DeadStatus, strconv.Itoa(l.Status))
	}
	h.Set(DeadEventID, l.EventID)
	h.Set(DeadSequence, strconv.FormatUint(l.StreamSequence, 10))
	m := &nats.Msg{Subject: g.subject(l.Endpoint), Header: h, Data: l.Event}
	id := l.Endpoint + "/" + strconv.FormatUint(l.StreamSequence, 10) + "/" + l.EventID
	if err := despiteDeletion(ctx, g.open, func(ctx context.Context) error {
		_, err := g.js.PublishMsg(ctx, m, jetstream.WithMsgID(id))
		return err
	}); err != nil {
		return fmt.Errorf("dead letter of endpoint %s, event %s: %w", l.Endpoint, l.EventID, err)
	}
	return nil
}

// letter reads what bury wrote. Headers that are missing or damaged read as zero.
func letter(seq uint64, at time.Time, h nats.Header, data []byte) DeadLetter {
	l := DeadLetter{
		Sequence: seq, Endpoint: h.Get(DeadEndpoint), EventID: h.Get(DeadEventID), Reason: h.Get(DeadReason),
		DiedAt: at, Event: data,
	}
	l.Tries, _ = strconv.Atoi(h.Get(DeadTries))
	l.Status, _ = strconv.Atoi(h.Get(DeadStatus))
	l.StreamSequence, _ = strconv.ParseUint(h.Get(DeadSequence), 10, 64)
	if n, err := readAny(data); err == nil {
		l.Stream, l.Kind, l.Subject, l.Location = n.topic.name, n.kind, n.subject, n.location
	}
	return l
}

// ErrUnknownEndpoint: no endpoint of that name is in the file, has a place in the
// stream, or has left anything behind that was asked for.
var ErrUnknownEndpoint = errors.New("no such webhook endpoint")

// DeadLetters lists dead letters, oldest first: of one endpoint, or of all when
// endpoint is empty, and no more than limit, 0 for all. An endpoint that has left
// the file still has its letters; one that never was is ErrUnknownEndpoint.
func (d *Dispatcher) DeadLetters(ctx context.Context, endpoint string, limit int) ([]DeadLetter, error) {
	o, graves, err := d.graves(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	var out []DeadLetter
	err = graves.each(ctx, endpoint, func(l DeadLetter) (bool, error) {
		out = append(out, l)
		return limit <= 0 || len(out) < limit, nil
	})
	if err != nil {
		err = fmt.Errorf("stream of dead letters %s: %w", o.DeadStream, err)
	}
	return out, err
}

// PurgeRequest says which dead letters to remove for good: of an endpoint, exactly
// one of Sequence, EventID and All.
type PurgeRequest struct {
	Endpoint string
	Sequence uint64
	EventID  string
	All      bool
}

// Purge removes dead letters without sending them, and returns how many. The error
// is ErrNoDeadLetter when a single one that was asked for does not exist.
func (d *Dispatcher) Purge(ctx context.Context, req PurgeRequest) (int, error) {
	if exactlyOne(req.Sequence != 0, req.EventID != "", req.All) {
		return d.purge(ctx, req)
	}
	return 0, errors.New("purge: say one of: the sequence of a dead letter, an event id, or all")
}

func (d *Dispatcher) purge(ctx context.Context, req PurgeRequest) (removed int, err error) {
	if req.Endpoint == "" {
		return 0, errors.New("purge: name the endpoint")
	}
	o, graves, err := d.graves(ctx, req.Endpoint)
	if err != nil {
		return 0, err
	}
	err = graves.each(ctx, req.Endpoint, func(l DeadLetter) (bool, error) {
		if !req.All && l.Sequence != req.Sequence && (l.EventID == "" || l.EventID != req.EventID) {
			return true, nil
		}
		err := graves.stream.DeleteMsg(ctx, l.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return true, nil // replayed meanwhile
		}
		if err == nil {
			removed++
		}
		return true, err
	})
	if err != nil {
		return removed, fmt.Errorf("stream of dead letters %s: %w", o.DeadStream, err)
	}
	if removed == 0 && !req.All {
		return 0, fmt.Errorf("endpoint %s: %w", req.Endpoint, ErrNoDeadLetter)
	}
	return removed, nil
}

func exactlyOne(choices ...bool) bool {
	n := 0
	for _, c := range choices {
		if c {
			n++
		}
	}
	return n == 1
}

// graves opens the dead letters of an endpoint that is known, or of all when
// endpoint is empty.
func (d *Dispatcher) graves(ctx context.Context, endpoint string) (options, *graveyard, error) {
	o, err := d.options()
	if err != nil {
		return o, nil, err
	}
	_, graves, err := d.stores(ctx, o)
	if err != nil || endpoint == "" {
		return o, graves, err
	}
	left, err := graves.left(ctx)
	if err != nil {
		return o, graves, err
	}
	return o, graves, d.known(ctx, o, left, endpoint)
}

// left are the endpoints that have letters.
func (g *graveyard) left(ctx context.Context) (map[string]bool, error) {
	letters, err := g.count(ctx)
	names := map[string]bool{}
	for subject := range letters {
		names[strings.TrimPrefix(subject, g.subject(""))] = true
	}
	return names, err
}

// known returns nil if the endpoint is one of those that left something behind, is in the
// file or has a place in the stream.
func (d *Dispatcher) known(ctx context.Context, o options, left map[string]bool, endpoint string) (err error) {
	if left[endpoint] {
		return nil
	}
	var cfg Config
	if d.Path != "" {
		if cfg, err = d.load(); err != nil {
			return err
		}
	}
	if _, err := cfg.Find(endpoint); err == nil {
		return nil
	}
	if validName.MatchString(endpoint) {
		for _, t := range topics {
			if _, err := d.JetStream.Consumer(ctx, o.streamOf(t), Durable(endpoint)); err == nil {
				return nil
			}
		}
	}
	names := maps.Clone(left)
	for _, e := range cfg.Endpoints {
		names[e.Name] = true
	}
	switch {
	case len(names) > 0:
		return fmt.Errorf("%q: %w%s", endpoint, ErrUnknownEndpoint, handwritten.DidYouMean(endpoint, slices.Sorted(maps.Keys(names))))
	case d.Path != "":
		return fmt.Errorf("%q: %w; %s has none, and nothing is kept of any", endpoint, ErrUnknownEndpoint, d.Path)
	}
	return fmt.Errorf("%q: %w; nothing is kept of any", endpoint, ErrUnknownEndpoint)
}

// each visits the dead letters of an endpoint, or of all.
func (g *graveyard) each(ctx context.Context, endpoint string, visit func(DeadLetter) (bool, error)) error {
	if endpoint == "" {
		endpoint = "*"
	}
	return consume.Past(ctx, g.stream, consume.FromStart(), []string{g.subject(endpoint)}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		return visit(letter(meta.Sequence.Stream, meta.Timestamp, m.Headers(), m.Data()))
	})
}
