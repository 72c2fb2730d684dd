package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reader is the source of a consumer without a name. When its Reader is over, it
// opens another behind the last message that it returned. So it delivers each event
// once and in the order of the stream.
type reader struct {
	stream  string
	js      jetstream.JetStream
	filters []string
	from    From // of the next Reader

	created time.Time // of the stream
	open    *Reader
}

func (c *Consumer) openReader(ctx context.Context, js jetstream.JetStream, filters []string) (*reader, error) {
	r := &reader{stream: c.Stream, js: js, filters: filters, from: c.From}
	if err := r.begin(ctx); err != nil {
		return nil, c.explain("creating a consumer", err)
	}
	return r, nil
}

// begin opens a Reader at the place.
func (r *reader) begin(ctx context.Context) error {
	stream, err := r.js.Stream(ctx, r.stream)
	if err != nil {
		return err
	}
	r.check(stream.CachedInfo())
	opened, err := Open(ctx, r.js.Conn(), stream, r.from, r.filters...)
	if err != nil {
		return err
	}
	r.open = opened
	// From now on the place is a number, so that what is stored while no
	// consumer exists is not passed over.
	r.from = FromSequence(r.open.Behind + 1)
	return nil
}

// check moves the reader's place if the stream no longer is what it was: to the
// start of another stream of that name, or to the end of one that has lost its
// tail. What is stored there later would be passed over otherwise.
func (r *reader) check(stream *jetstream.StreamInfo) {
	switch last := stream.State.LastSeq; {
	case r.created.IsZero():
	case !stream.Created.Equal(r.created):
		r.from = FromStart()
	case r.from.sequence > last+1:
		r.from = FromSequence(last + 1)
	}
	r.created = stream.Created
}

func (r *reader) acks() bool { return false }

func (r *reader) next(ctx context.Context) (jetstream.Msg, error) {
	for {
		msg, meta, err := r.open.Next()
		if err == nil {
			r.from = FromSequence(meta.Sequence.Stream + 1)
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

// reopen waits out what may pass: a server that is away or restarts.
func (r *reader) reopen(ctx context.Context) error {
	r.open.Close()
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		err := r.begin(ctx)
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

func (r *reader) stop() { r.open.Close() }

func (r *reader) close() {}
