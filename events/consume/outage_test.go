package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

func TestConsumerOutlivesTheServer(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From = FromStart()
		publish(t, js, visit("l", "0"))
		r := run(t, c, js, nil)
		r.expect("0")
		for i := range 3 {
			b.Stop()
			b.Start()
			var ids []string
			for j := range 5 {
				ids = append(ids, fmt.Sprintf("%d.%d", i, j))
				publish(t, b.JetStream(), visit("l", ids[j]))
			}
			r.expect(ids...)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r.quiet()
	})
}

func TestHandlerInHandOutlivesTheServer(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	publish(t, js, visit("l", "1"), visit("l", "2"))
	release := make(chan struct{})
	r := run(t, Consumer{Durable: "d", From: FromStart()}, js, func(context.Context, Delivery) error {
		<-release
		return nil
	})
	r.expect("1")
	b.Stop()
	b.Start()
	publish(t, b.JetStream(), visit("l", "3"))
	close(release)
	r.expect("2", "3")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r.quiet()
}

func TestDeletionEndsRunWithAClearError(t *testing.T) {
	for _, c := range []struct {
		name    string
		durable string
		delete  func(ctx context.Context, js jetstream.JetStream) error
		is      error
		text    string
	}{
		{"durable", "d", func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteConsumer(ctx, events.DefaultStream, "d")
		}, ErrDurableGone, "call Run again"},
		{"stream of a durable", "d", func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, events.DefaultStream)
		}, ErrNoStream, "start guestflow"},
		{"stream of a reader", "", func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, events.DefaultStream)
		}, ErrNoStream, "start guestflow"},
		{"connection of a durable", "d", func(_ context.Context, js jetstream.JetStream) error { js.Conn().Close(); return nil }, nats.ErrConnectionClosed, "connect again"},
		{"connection of a reader", "", func(_ context.Context, js jetstream.JetStream) error { js.Conn().Close(); return nil }, nats.ErrConnectionClosed, "connect again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startBroker(t)
			js := b.JetStream()
			publish(t, js, visit("l", "1"))
			r := run(t, Consumer{Durable: c.durable, From: FromStart()}, js, nil)
			r.expect("1")
			if err := c.delete(t.Context(), js); err != nil {
				t.Fatal(err)
			}
			err := receive(t, r.result, "the end of Run")
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), events.DefaultStream) {
				t.Errorf("error %v, want %v that names the stream and says %q", err, c.is, c.text)
			}
		})
	}
}

// TestReaderGoesOnWhenItsConsumerIsGone: a server forgets consumers that nobody
// asks of.
func TestReaderGoesOnWhenItsConsumerIsGone(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	r := run(t, Consumer{}, js, nil)
	for i := range 3 {
		stream, err := js.Stream(t.Context(), events.DefaultStream)
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := js.DeleteConsumer(t.Context(), events.DefaultStream, name); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, js, visit("l", fmt.Sprint(i)))
		r.expect(fmt.Sprint(i))
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r.quiet()
	stream, err := js.Stream(t.Context(), events.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left on the server", n)
	}
}

func TestReaderNoticesThatTheStreamIsAnother(t *testing.T) {
	day := time.Date(2017, 1, 5, 0, 0, 0, 0, time.UTC)
	info := func(created time.Time, last uint64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{Created: created, State: jetstream.StreamState{LastSeq: last}}
	}
	for _, c := range []struct {
		name string
		now  *jetstream.StreamInfo
		want From // where it reads on
	}{
		{"the same", info(day, 20), FromSequence(11)},
		{"nothing new", info(day, 10), FromSequence(11)},
		{"lost its tail", info(day, 7), FromSequence(8)},
		{"lost everything", info(day, 0), FromSequence(1)},
		{"another of that name", info(day.Add(1), 20), FromStart()},
	} {
		r := &reader{}
		r.check(info(day, 10))
		r.from = FromSequence(11)
		if r.check(c.now); r.from != c.want {
			t.Errorf("%s: reads on from %+v, want %+v", c.name, r.from, c.want)
		}
	}
}

func TestReaderNoticesAGap(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	publish(t, js, visit("l", "1"), visit("l", "2"), visit("l", "3"))
	c := Consumer{From: FromStart()}
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	r, err := c.openReader(t.Context(), js, []string{(events.Subjects{}).All()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.open.messages.Next(); err != nil { // lost on the way
		t.Fatal(err)
	}
	for _, want := range []string{"2", "3"} {
		msg, err := r.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d, err := deliveryOf(msg); err != nil || d.Data.Session.ID != want {
			t.Fatalf("came %s (error %v), want %s", d.Data.Session.ID, err, want)
		}
	}
	r.stop()
	r.close()
}

func TestDurableThatExists(t *testing.T) {
	for _, c := range []struct {
		name   string
		have   jetstream.ConsumerConfig
		want   Consumer
		is     error
		text   string
		result func(jetstream.ConsumerConfig) bool
	}{
		{name: "the same", have: jetstream.ConsumerConfig{FilterSubject: (events.Subjects{}).All(), AckPolicy: jetstream.AckExplicitPolicy}},
		{
			name: "tuning is taken over, the rest stays",
			have: jetstream.ConsumerConfig{FilterSubject: (events.Subjects{}).All(), AckPolicy: jetstream.AckExplicitPolicy, Description: "mine", DeliverPolicy: jetstream.DeliverNewPolicy},
			want: Consumer{From: FromStart(), MaxInFlight: 7, MaxDeliver: 5, AckWait: time.Minute},
			result: func(c jetstream.ConsumerConfig) bool {
				return c.MaxAckPending == 7 && c.MaxDeliver == 5 && c.AckWait == time.Minute && c.Description == "mine" && c.DeliverPolicy == jetstream.DeliverNewPolicy
			},
		},
		{
			name: "another choice",
			have: jetstream.ConsumerConfig{FilterSubject: "guest.sessions.*.x.*", AckPolicy: jetstream.AckExplicitPolicy},
			is:   ErrDurableDiffers, text: "set Refilter",
		},
		{
			name: "another choice that may change",
			have: jetstream.ConsumerConfig{FilterSubject: "guest.sessions.*.x.*", AckPolicy: jetstream.AckExplicitPolicy},
			want: Consumer{Locations: []string{"y", "z"}, Refilter: true},
			result: func(c jetstream.ConsumerConfig) bool {
				return c.FilterSubject == "" && fmt.Sprint(c.FilterSubjects) == "[guest.sessions.*.y.* guest.sessions.*.z.*]"
			},
		},
		{
			name: "without acks",
			have: jetstream.ConsumerConfig{FilterSubject: (events.Subjects{}).All(), AckPolicy: jetstream.AckNonePolicy},
			is:   ErrDurableDiffers, text: "another name",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startBroker(t)
			js := b.JetStream()
			c.have.Durable, c.want.Durable = "d", "d"
			if _, err := js.CreateConsumer(t.Context(), events.DefaultStream, c.have); err != nil {
				t.Fatal(err)
			}
			if c.is != nil {
				err := c.want.Run(t.Context(), js, func(context.Context, Delivery) error { return nil })
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("error %v, want %v with %q", err, c.is, c.text)
				}
				return
			}
			for range 2 { // the second finds what the first left
				if err := run(t, c.want, js, nil).end(); err != nil {
					t.Fatal(err)
				}
			}
			consumer, err := js.Consumer(t.Context(), events.DefaultStream, "d")
			if err != nil {
				t.Fatal(err)
			}
			if have := consumer.CachedInfo().Config; c.result != nil && !c.result(have) {
				t.Errorf("the durable is now %+v", have)
			}
		})
	}
}

func TestPushConsumerOfThatNameIsRefused(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	if _, err := js.CreatePushConsumer(t.Context(), events.DefaultStream, jetstream.ConsumerConfig{Durable: "d", DeliverSubject: "x"}); err != nil {
		t.Fatal(err)
	}
	err := Consumer{Durable: "d"}.Run(t.Context(), js, func(context.Context, Delivery) error { return nil })
	if !errors.Is(err, ErrDurableDiffers) || !strings.Contains(err.Error(), "another name") {
		t.Errorf("error %v, want ErrDurableDiffers", err)
	}
}

func TestTwoProcessesShareADurable(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	c := Consumer{Durable: "shared", From: FromStart(), MaxInFlight: 4}
	started := make(chan struct{}, 4)
	release := make(chan struct{})
	hold := func(context.Context, Delivery) error {
		started <- struct{}{}
		<-release
		return nil
	}
	one, two := run(t, c, js, hold), run(t, c, b.JetStream(), hold)
	publish(t, js, visit("l", "1"), visit("l", "2"), visit("l", "3"), visit("l", "4"))
	for range 4 {
		receive(t, started, "four handlers at the same time")
	}
	close(release)
	for _, r := range []*running{one, two} {
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for range 4 {
		id := receive(t, either(one.delivered, two.delivered), "an event").Data.Session.ID
		if seen[id] {
			t.Errorf("event %s came to both", id)
		}
		seen[id] = true
	}
	one.quiet()
	two.quiet()
}
