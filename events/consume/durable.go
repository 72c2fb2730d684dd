package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errClosed is what Run returns when the connection was closed for good.
var errClosed = errors.New("connect again and call Run")

// How messages are pulled. The stream tells every heartbeat that a pull is
// alive; when two are missing, Run asks whether stream and consumer still exist
// and pulls anew. nats.go can miss to pull when a whole batch is used up while it
// asks for the next one: hence large batches, and heartbeats that make up for it
// within two seconds.
const (
	heartbeat = time.Second
	batch     = 2000
)

// closing bounds each request that is made after Run was told to stop.
const closing = 2 * time.Second

// durable is the source that keeps its place in the stream.
type durable struct {
	stream   string
	js       jetstream.JetStream
	consumer jetstream.Consumer
	messages jetstream.MessagesContext
	ahead    []jetstream.Msg // fetched but never returned by next
}

// openDurable creates the durable or goes on with the one that exists.
func (c *Consumer) openDurable(ctx context.Context, js jetstream.JetStream, filters []string) (*durable, error) {
	consumer, err := c.ensureDurable(ctx, js, filters)
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(batch), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, fmt.Errorf("consumer %s of stream %s: subscribing: %w", c.Durable, c.Stream, err)
	}
	return &durable{stream: c.Stream, js: js, consumer: consumer, messages: messages}, nil
}

func (c *Consumer) ensureDurable(ctx context.Context, js jetstream.JetStream, filters []string) (jetstream.Consumer, error) {
	want := jetstream.ConsumerConfig{
		Durable: c.Durable, Description: "guest session events",
		FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: c.AckWait, MaxDeliver: unlimited(c.MaxDeliver), MaxAckPending: c.MaxInFlight,
	}
	c.From.start(&want)
	for {
		consumer, err := js.Consumer(ctx, c.Stream, c.Durable)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			consumer, err = js.CreateConsumer(ctx, c.Stream, want)
			if errors.Is(err, jetstream.ErrConsumerExists) {
				continue // another process was faster
			}
			if err != nil {
				return nil, c.explain("creating consumer "+c.Durable, err)
			}
			return consumer, nil
		case errors.Is(err, jetstream.ErrNotPullConsumer):
			return nil, c.differs("it pushes; delete it with `nats consumer rm`, or choose another name")
		case err != nil:
			return nil, c.explain("reading consumer "+c.Durable, err)
		}
		return c.adopt(ctx, js, consumer, want)
	}
}

// adopt checks the durable that exists, and brings what is only tuning to the
// wanted settings. Where it stands and what an operator set besides stays.
func (c *Consumer) adopt(ctx context.Context, js jetstream.JetStream, consumer jetstream.Consumer, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	have := consumer.CachedInfo().Config
	if have.AckPolicy != want.AckPolicy {
		return nil, c.differs(fmt.Sprintf("its ack policy is %q; delete it with `nats consumer rm`, or choose another name", have.AckPolicy))
	}
	now := have.FilterSubjects
	if have.FilterSubject != "" {
		now = []string{have.FilterSubject}
	}
	slices.Sort(now)
	slices.Sort(want.FilterSubjects)
	same := slices.Equal(now, want.FilterSubjects)
	if !same && !c.Refilter {
		return nil, c.differs(fmt.Sprintf("it takes %q, not %q; set Refilter to change that, or choose another name", now, want.FilterSubjects))
	}
	if same && have.AckWait == want.AckWait && have.MaxDeliver == want.MaxDeliver && have.MaxAckPending == want.MaxAckPending {
		return consumer, nil
	}
	have.FilterSubject, have.FilterSubjects = "", want.FilterSubjects
	have.AckWait, have.MaxDeliver, have.MaxAckPending = want.AckWait, want.MaxDeliver, want.MaxAckPending
	consumer, err := js.UpdateConsumer(ctx, c.Stream, have)
	if err != nil {
		return nil, c.explain("updating consumer "+c.Durable, err)
	}
	return consumer, nil
}

func unlimited(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (c *Consumer) differs(how string) error {
	return fmt.Errorf("consumer %s of stream %s: %w: %s", c.Durable, c.Stream, ErrDurableDiffers, how)
}

// explain wraps an error of the stream's set-up.
func (c *Consumer) explain(doing string, err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return noStream(c.Stream, err)
	}
	return fmt.Errorf("stream %s: %s: %w", c.Stream, doing, err)
}

func noStream(stream string, err error) error {
	return fmt.Errorf("stream %s: %w: start guestflow, which creates it, or set Stream to its name: %w", stream, ErrNoStream, err)
}

func (d *durable) acks() bool { return true }

func (d *durable) next(ctx context.Context) (jetstream.Msg, error) {
	for {
		msg, err := d.messages.Next(jetstream.NextContext(ctx))
		if err == nil {
			return msg, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if lost := d.lost(ctx, err); lost != nil {
			return nil, lost
		}
	}
}

// lost returns why err, of waiting for a message, is the end; nil if it is not.
func (d *durable) lost(ctx context.Context, err error) error {
	name := d.consumer.CachedInfo().Name
	if errors.Is(err, jetstream.ErrConnectionClosed) || d.js.Conn().IsClosed() {
		return fmt.Errorf("consumer %s of stream %s: %w: %w", name, d.stream, nats.ErrConnectionClosed, errClosed)
	}
	_, asked := d.js.Consumer(ctx, d.stream, name)
	switch {
	case errors.Is(asked, jetstream.ErrStreamNotFound):
		return noStream(d.stream, err)
	case errors.Is(asked, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDeleted):
		return fmt.Errorf("consumer %s of stream %s: %w: call Run again to create it anew, from where From says: %w", name, d.stream, ErrDurableGone, err)
	case errors.Is(err, jetstream.ErrNoHeartbeat):
		return nil // the connection or a server is away for now; the pull is made anew
	}
	return fmt.Errorf("consumer %s of stream %s: %w", name, d.stream, err)
}

// stop waits until the stream has heard that no more is wanted, so that what is
// given back afterwards goes to others.
func (d *durable) stop() {
	d.messages.Drain()
	for {
		msg, err := d.messages.Next(jetstream.NextMaxWait(closing))
		if err != nil {
			break
		}
		d.ahead = append(d.ahead, msg)
	}
	// Asked for the consumer, the server forgets a pull that nobody waits for any more. For
	// such a pull nats-server 2.15.2 takes the first message that comes back, and puts it
	// behind the others when it finds nobody there.
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_, _ = d.consumer.Info(ctx)
}

func (d *durable) close() {
	for _, msg := range d.ahead {
		_ = giveBack(msg) // else it comes after AckWait
	}
	_ = d.js.Conn().FlushTimeout(closing) // else the acks are lost, and their events come again
}
