package consume

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// startBroker starts a NATS server with an empty stream of guest sessions.
func startBroker(t testing.TB) *natstest.Server {
	t.Helper()
	s := natstest.New(t)
	s.CreateStream(events.DefaultStream, events.Subjects{}.All())
	return s
}

// samples is the life of one session, with one event of each kind but discovered.
func samples() []events.Event {
	var all []events.Event
	for _, kind := range []events.Kind{events.Started, events.Traffic, events.Updated, events.Ended, events.Resumed} {
		body, err := os.ReadFile("../testdata/" + string(kind) + ".json")
		if err != nil {
			panic(err)
		}
		e, err := events.Decode(body)
		if err != nil {
			panic(err)
		}
		all = append(all, e)
	}
	return all
}

// publish stores events and returns their sequences in the stream.
func publish(t *testing.T, js jetstream.JetStream, all ...events.Event) []uint64 {
	t.Helper()
	var sequences []uint64
	for _, e := range all {
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID))
		if err != nil {
			t.Fatal(err)
		}
		sequences = append(sequences, ack.Sequence)
	}
	return sequences
}

// visit is the start of session id at a location.
func visit(location, id string) events.Event {
	e := samples()[0]
	e.Data.Session.LocationID, e.Data.Session.ID = location, id
	return e.Sealed()
}

// running is a call of Consumer.Run in the background.
type running struct {
	t         *testing.T
	delivered chan Delivery // what the handler was called with
	failed    chan Failure
	stop      context.CancelFunc
	result    chan error
}

// run starts c and returns when it is ready. handle may be nil.
func run(t *testing.T, c Consumer, js jetstream.JetStream, handle func(context.Context, Delivery) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, delivered: make(chan Delivery, 1000), failed: make(chan Failure, 1000), stop: cancel, result: make(chan error, 1)}
	ready := make(chan struct{})
	c.OnReady = func() { close(ready) }
	c.OnError = func(f Failure) { r.failed <- f }
	go func() {
		r.result <- c.Run(ctx, js, func(ctx context.Context, d Delivery) error {
			r.delivered <- d
			if handle == nil {
				return nil
			}
			return handle(ctx, d)
		})
	}()
	t.Cleanup(cancel)
	select {
	case <-ready:
	case err := <-r.result:
		t.Fatalf("Run ended before it was ready: %v", err)
	}
	return r
}

const patience = time.Minute // far beyond what any step takes

func (r *running) next() Delivery {
	r.t.Helper()
	return receive(r.t, r.delivered, "a delivery")
}

// end stops Run and returns its result.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	return receive(r.t, r.result, "the end of Run")
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

// expect fails unless the next deliveries are of the sessions, in order.
func (r *running) expect(ids ...string) []Delivery {
	r.t.Helper()
	var all []Delivery
	for _, id := range ids {
		d := r.next()
		if d.Data.Session.ID != id {
			r.t.Fatalf("delivered session %s (sequence %d, attempt %d), want %s", d.Data.Session.ID, d.Sequence, d.Attempt, id)
		}
		all = append(all, d)
	}
	return all
}

// quiet fails if anything was delivered that no expect asked for. Call it after
// end: then nothing can come any more.
func (r *running) quiet() {
	r.t.Helper()
	select {
	case d := <-r.delivered:
		r.t.Fatalf("also delivered session %s, sequence %d, attempt %d", d.Data.Session.ID, d.Sequence, d.Attempt)
	default:
	}
}

// either receives from whichever channel has something.
func either[T any](a, b <-chan T) <-chan T {
	out := make(chan T, 1)
	go func() {
		select {
		case v := <-a:
			out <- v
		case v := <-b:
			out <- v
		}
	}()
	return out
}
