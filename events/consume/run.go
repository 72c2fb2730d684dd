package consume

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// source is where the messages of a running consumer come from: a durable or a
// reader.
type source interface {
	// next waits for a message. An error ends the consumer.
	next(ctx context.Context) (jetstream.Msg, error)
	// acks reports whether the stream waits for each message to be settled.
	acks() bool
	// stop takes no more messages.
	stop()
	// close gives back what next has not returned, and sees to it that the
	// stream knows what was settled.
	close()
}

// consumption is one call of Run.
type consumption struct {
	*Consumer
	src    source
	handle func(context.Context, Delivery) error
	// handling ends when handlers have to, stopping when Run has been told to
	// stop.
	handling, stopping context.Context
}

// consume is the body of Run. It starts the handlers, by way of the lanes, and
// one goroutine that keeps messages in hand alive, and waits for all of them.
func (c *Consumer) consume(ctx context.Context, src source, handle func(context.Context, Delivery) error) error {
	handling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(c.Grace, cancel)
		context.AfterFunc(handling, func() { timer.Stop() })
	})()

	r := consumption{Consumer: c, src: src, handle: handle, handling: handling, stopping: ctx}
	l := &lanes{stopping: ctx, work: r.attempt, patience: c.AckWait, single: c.MaxInFlight == 1, byKey: map[sessionKey]*lane{}}
	var alive sync.WaitGroup
	if src.acks() {
		alive.Go(func() { l.keepAlive(handling, c.AckWait/3) })
	} else {
		l.slots = make(chan struct{}, c.MaxInFlight)
	}
	err := r.feed(l)
	src.stop()
	for _, j := range l.close() {
		r.settle(j, giveBack)
	}
	src.close()
	cancel()
	alive.Wait()
	return err
}

// feed hands messages to the lanes until the source ends or Run has to stop.
func (r *consumption) feed(l *lanes) error {
	for r.stopping.Err() == nil {
		msg, err := r.src.next(r.stopping)
		if err != nil {
			if r.stopping.Err() != nil {
				return nil
			}
			return err
		}
		d, err := deliveryOf(msg)
		j := &job{msg: msg, delivery: d}
		if err != nil {
			r.settle(j, func(m jetstream.Msg) error { return m.TermWithReason(reason(err)) })
			r.OnError(Failure{Delivery: d, Err: err, Final: true})
			continue
		}
		if !l.put(j) {
			return nil
		}
	}
	return nil
}

// attempt calls the handler for j and settles it. It returns true and the wait
// if the stream will deliver the event again; a source without acks cannot, so
// there the handler is called again after the wait.
func (r *consumption) attempt(j *job) (time.Duration, bool) {
	for {
		err := r.handle(r.handling, j.delivery)
		if err == nil {
			r.settle(j, jetstream.Msg.Ack)
			return 0, false
		}
		f := r.verdictOn(&j.delivery, err)
		if f.Final {
			r.settle(j, func(m jetstream.Msg) error { return m.TermWithReason(reason(f.Err)) })
		} else {
			r.settle(j, func(m jetstream.Msg) error { return m.NakWithDelay(max(f.Retry, soonest)) })
		}
		r.OnError(f)
		if f.Final || r.src.acks() {
			return f.Retry, !f.Final
		}
		if !pause(r.stopping, f.Retry) {
			return 0, false
		}
		j.delivery.Attempt++
	}
}

func (r *consumption) settle(j *job, how func(jetstream.Msg) error) {
	if r.src.acks() {
		j.settle(how)
	}
}

// soonest is the delay for a message that is to come again at once. The server
// stores delays, but forgets at its restart which messages to send without one,
// and then waits for the rest of AckWait.
const soonest = time.Nanosecond

func giveBack(m jetstream.Msg) error { return m.NakWithDelay(soonest) }

// reason is err as it may stand in a line of the protocol.
func reason(err error) string {
	text := []byte(err.Error())
	for i, c := range text {
		if c < ' ' {
			text[i] = ' '
		}
	}
	return string(text[:min(len(text), 512)])
}

// pause reports whether d has passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
