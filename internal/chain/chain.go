// Package chain publishes messages to a stream that nobody else is to write into
// meanwhile: in order, and none behind one that was not stored. Package publisher says why
// each message names the id of the one before it, and why that takes one at a time where the
// stream is replicated.
package chain

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrOther says that somebody else has written into the stream. What is in it has to be
// read before a new Writer goes on.
var ErrOther = errors.New("the stream has grown by other hands")

// maxUnacked bounds the messages that wait for their acks where the stream is not replicated.
const maxUnacked = 1000

// Writer publishes a chain. After an error it is of no more use.
type Writer struct {
	js       jetstream.JetStream
	stream   jetstream.StreamConfig
	last     uint64 // sequence that the stream has when all is acked
	previous string // id of the message that was published last
	unacked  []unacked
}

type unacked struct {
	ack  jetstream.PubAckFuture
	want uint64
}

// New returns a Writer that begins behind a sequence of the stream, its last one.
func New(js jetstream.JetStream, stream jetstream.StreamConfig, last uint64) *Writer {
	return &Writer{js: js, stream: stream, last: last}
}

// Last returns the sequence of the stream's last message once all is acked.
func (w *Writer) Last() uint64 { return w.last }

// Publish publishes a message, which needs an id (Nats-Msg-Id) of its own. An error may be
// that of an earlier one.
func (w *Writer) Publish(ctx context.Context, m *nats.Msg) error {
	if len(w.unacked) >= maxUnacked {
		if err := w.settle(ctx, maxUnacked/2); err != nil {
			return err
		}
	}
	after := jetstream.WithExpectLastSequence(w.last)
	if len(w.unacked) > 0 {
		after = jetstream.WithExpectLastMsgID(w.previous)
	}
	ack, err := w.js.PublishMsgAsync(m, jetstream.WithExpectStream(w.stream.Name), after)
	if err != nil {
		return err
	}
	w.last, w.previous = w.last+1, m.Header.Get(jetstream.MsgIDHeader)
	if w.unacked = append(w.unacked, unacked{ack, w.last}); w.stream.Replicas > 1 {
		return w.settle(ctx, 0)
	}
	return nil
}

// Settle waits until all is acked. The error is ErrOther where the stream did not take the
// next one of the chain, since it has others.
func (w *Writer) Settle(ctx context.Context) error { return w.settle(ctx, 0) }

// wrongLastID is the server's code for another message id than the expected last one.
const wrongLastID jetstream.ErrorCode = 10070

// settle waits until no more than so many messages wait for their acks.
func (w *Writer) settle(ctx context.Context, left int) error {
	for len(w.unacked) > left {
		u := w.unacked[0]
		select {
		case ack := <-u.ack.Ok():
			if ack.Duplicate || ack.Sequence != u.want {
				return ErrOther
			}
		case err := <-u.ack.Err():
			var refused *jetstream.APIError
			if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == wrongLastID) {
				return ErrOther
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		w.unacked = w.unacked[1:]
	}
	return nil
}
