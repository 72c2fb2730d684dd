package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
}

// graveyard is the stream of dead letters.
type graveyard struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

func openGraveyard(ctx context.Context, js jetstream.JetStream, o options) (*graveyard, error) {
	s, err := js.Stream(ctx, o.DeadStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
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
	return &graveyard{js, s, o.DeadPrefix}, nil
}

func (g *graveyard) subject(endpoint string) string { return g.prefix + "." + endpoint }

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
	if _, err := g.js.PublishMsg(ctx, m, jetstream.WithMsgID(id)); err != nil {
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
	return l
}

// scan hands the messages of a stream that match the filters to each, in order,
// up to the last one that the stream holds when the scan begins. each returns
// false to stop early.
func scan(ctx context.Context, s jetstream.Stream, cfg jetstream.ConsumerConfig, each func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)) error {
	cfg.AckPolicy = jetstream.AckNonePolicy
	cfg.InactiveThreshold = 5 * time.Minute
	cfg.MemoryStorage = true
	c, err := s.CreateConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	info := c.CachedInfo()
	// The name is the server's own: deleting it early only saves the threshold.
	defer func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), info.Name) }()
	for left := info.NumPending; left > 0; {
		batch, err := c.FetchNoWait(int(min(left, 100)))
		if err != nil {
			return err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			got++
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if more, err := each(m, meta); err != nil || !more {
				return err
			}
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return err
		}
		if got == 0 { // the rest was deleted meanwhile
			return nil
		}
		left -= min(got, left)
	}
	return nil
}
