package consume

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reader reads the messages of a stream in order and without acks: those that are
// there, then those to come. It is for whoever keeps its place in the stream itself;
// a Consumer without a name is built on it.
//
// No message is passed over: when one may have been lost on the way, Next returns an
// error. After an error the Reader is over, and whoever wants to go on opens another
// behind the last message that came. It is not safe for concurrent use.
type Reader struct {
	// Pending is how many messages there were to read when it was opened.
	Pending uint64
	// Behind is the sequence in the stream behind which it began to read.
	Behind uint64

	stream   jetstream.Stream
	nc       *nats.Conn
	name     string
	messages jetstream.MessagesContext
	expect   uint64 // number that the server gives to the next message

	ctx    context.Context // ends with that of Open, or with the connection
	cancel context.CancelCauseFunc
	status chan nats.Status
	watch  sync.WaitGroup
	closed bool
}

// ErrAway is returned by Open and Reader.Next when the connection is lost, at once: the
// client library waits for it in silence.
var ErrAway = errors.New("the connection to the NATS server is lost; it is made again as soon as the server answers")

// errGap: the server has sent a message that did not come.
var errGap = errors.New("messages were lost on the way; read again from the last one")

// Open begins to read those messages of the stream, from a place on, that match one
// of the subjects. nc is the stream's connection. Reading ends with ctx. The caller
// closes the Reader.
func Open(ctx context.Context, nc *nats.Conn, stream jetstream.Stream, from From, subjects ...string) (*Reader, error) {
	r := &Reader{stream: stream, nc: nc, expect: 1}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.status = nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	r.watch.Go(func() {
		if _, lost := <-r.status; lost { // else it was closed
			r.cancel(ErrAway)
		}
	})
	if !nc.IsConnected() {
		r.cancel(ErrAway)
	}
	if err := r.create(from, subjects); err != nil {
		err = r.why(err)
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) create(from From, subjects []string) error {
	consumer, err := reading(r.ctx, r.stream, from, subjects)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	r.name, r.Pending, r.Behind = info.Name, info.NumPending, info.Delivered.Stream
	r.messages, err = consumer.Messages(jetstream.PullMaxMessages(batch), jetstream.PullHeartbeat(heartbeat))
	return err
}

// forget is how long a server keeps a consumer whose reader is gone.
const forget = 5 * time.Minute

// reading makes a consumer without a place of its own.
func reading(ctx context.Context, stream jetstream.Stream, from From, subjects []string) (jetstream.Consumer, error) {
	config := jetstream.ConsumerConfig{
		Description: "guest session events", FilterSubjects: subjects, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: forget, MemoryStorage: true, Replicas: 1,
	}
	from.start(&config)
	return stream.CreateConsumer(ctx, config)
}

// discard deletes what reading made; where that fails, the server does after forget.
func discard(stream jetstream.Stream, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_ = stream.DeleteConsumer(ctx, name)
}

// Next waits for a message. Of the metadata, Sequence.Stream is its place, and
// NumPending is how many were behind it when the server sent it.
func (r *Reader) Next() (jetstream.Msg, *jetstream.MsgMetadata, error) {
	msg, err := r.messages.Next(jetstream.NextContext(r.ctx))
	if err != nil {
		return nil, nil, r.why(err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, nil, err
	}
	if meta.Sequence.Consumer != r.expect {
		return nil, nil, errGap
	}
	r.expect++
	return msg, meta, nil
}

// why is what err comes from.
func (r *Reader) why(err error) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	return err
}

// Close ends reading, and has the server forget the reader; without a connection the
// server does so after five minutes. It may be called again.
func (r *Reader) Close() {
	if r.closed {
		return
	}
	r.closed = true
	if r.messages != nil {
		r.messages.Stop()
	}
	r.nc.RemoveStatusListener(r.status)
	r.watch.Wait()
	r.cancel(nil)
	if r.name != "" && r.nc.IsConnected() {
		discard(r.stream, r.name)
	}
}
