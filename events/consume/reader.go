package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reader is the source of a consumer without a name. It keeps its place itself:
// the stream only sends, without acks. Messages that got lost on a connection
// leave a gap in the consumer's own numbering, or a reconnect; then the reader
// starts anew behind the last message that it returned. So it delivers each
// event once and in the order of the stream.
type reader struct {
	stream string
	js     jetstream.JetStream
	config jetstream.ConsumerConfig // of the next consumer

	created  time.Time // of the stream
	name     string
	messages jetstream.MessagesContext
	expect   uint64 // number that the consumer gives to its next message

	// current ends with Run's context, and when the connection came back: what
	// was on its way is lost then.
	current context.Context
	abandon context.CancelFunc
	status  chan nats.Status
	watch   sync.WaitGroup
}

// forget is how long a server keeps a consumer whose reader is gone.
const forget = 5 * time.Minute

func (c *Consumer) openReader(ctx context.Context, js jetstream.JetStream, filters []string) (*reader, error) {
	r := &reader{stream: c.Stream, js: js, config: jetstream.ConsumerConfig{
		Description: "guest session events", FilterSubjects: filters, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: forget, MemoryStorage: true, Replicas: 1,
	}}
	c.From.start(&r.config)
	if err := r.open(ctx); err != nil {
		return nil, c.explain("creating a consumer", err)
	}
	return r, nil
}

// open creates a consumer at the reader's place.
func (r *reader) open(ctx context.Context) error {
	stream, err := r.js.Stream(ctx, r.stream)
	if err != nil {
		return err
	}
	r.check(stream.CachedInfo())
	status := r.js.Conn().StatusChanged(nats.CONNECTED)
	consumer, err := stream.CreateConsumer(ctx, r.config)
	if err == nil {
		r.messages, err = consumer.Messages(jetstream.PullMaxMessages(batch), jetstream.PullHeartbeat(heartbeat))
	}
	if err != nil {
		r.js.Conn().RemoveStatusListener(status)
		return err
	}
	current, abandon := context.WithCancel(ctx)
	r.watch.Go(func() {
		if _, connected := <-status; connected {
			abandon()
		}
	})
	r.current, r.abandon, r.status = current, abandon, status
	info := consumer.CachedInfo()
	r.name, r.expect = info.Name, 1
	// From now on the place is a number, so that what is stored while no
	// consumer exists is not passed over.
	r.goOnAfter(info.Delivered.Stream)
	return nil
}

// check moves the reader's place if the stream no longer is what it was: to the
// start of another stream of that name, or to the end of one that has lost its
// tail. What is stored there later would be passed over otherwise.
func (r *reader) check(stream *jetstream.StreamInfo) {
	switch last := stream.State.LastSeq; {
	case r.created.IsZero():
	case !stream.Created.Equal(r.created):
		r.goOnAfter(0)
	case r.config.OptStartSeq > last+1:
		r.goOnAfter(last)
	}
	r.created = stream.Created
}

func (r *reader) goOnAfter(sequence uint64) {
	c := &r.config
	c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartSequencePolicy, sequence+1, nil
}

func (r *reader) acks() bool { return false }

func (r *reader) next(ctx context.Context) (jetstream.Msg, error) {
	for {
		msg, err := r.await()
		if err == nil {
			return msg, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := r.reopen(ctx); err != nil {
			return nil, err
		}
	}
}

// errAnew: the consumer has to be created anew.
var errAnew = errors.New("messages were lost on the way")

// await returns the next message; an error, unless ctx ended, means that the
// consumer has to be created anew.
func (r *reader) await() (jetstream.Msg, error) {
	msg, err := r.messages.Next(jetstream.NextContext(r.current))
	if err != nil {
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	if meta.Sequence.Consumer != r.expect {
		return nil, errAnew
	}
	r.expect++
	r.goOnAfter(meta.Sequence.Stream)
	return msg, nil
}

// reopen waits out what may pass: a server that is away or restarts.
func (r *reader) reopen(ctx context.Context) error {
	r.drop()
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		err := r.open(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return noStream(r.stream, err)
		case r.js.Conn().IsClosed():
			return fmt.Errorf("stream %s: %w: %w", r.stream, nats.ErrConnectionClosed, errClosed)
		}
		if !pause(ctx, wait.NextBackOff()) {
			return ctx.Err()
		}
	}
}

// drop leaves the consumer that is open.
func (r *reader) drop() {
	r.messages.Stop()
	r.js.Conn().RemoveStatusListener(r.status)
	r.abandon()
	r.watch.Wait()
}

func (r *reader) stop() { r.drop() }

func (r *reader) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_ = r.js.DeleteConsumer(ctx, r.stream, r.name) // else the server forgets it by itself
}
