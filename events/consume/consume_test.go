package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// both runs a test with a durable and with a reader.
func both(t *testing.T, test func(t *testing.T, c Consumer)) {
	t.Run("durable", func(t *testing.T) { test(t, Consumer{Durable: "test"}) })
	t.Run("reader", func(t *testing.T) { test(t, Consumer{}) })
}

func TestConsumerTakesEveryEventInOrder(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From = FromStart()
		all := samples()
		sequences := publish(t, js, all...)
		r := run(t, c, js, nil)
		for i, e := range all {
			d := r.next()
			if d.ID != e.ID || d.Sequence != sequences[i] || d.Subject != (events.Subjects{}).Of(e) || d.Attempt != 1 ||
				d.Pending != uint64(len(all)-1-i) || d.Stored.IsZero() || d.Stored.Location() != time.UTC {
				t.Fatalf("delivery %d: %+v, want event %s", i, d, e.ID)
			}
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r.quiet()
	})
}

func TestConsumerTakesWhatItsFieldsName(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	var all []events.Event
	for _, account := range []string{"a", "b.c"} {
		for _, location := range []string{"x", "y z", ">"} {
			for _, e := range samples() {
				e.Account, e.Data.Session.LocationID = account, location
				e.Data.Session.ID = account + "/" + location
				all = append(all, e.Sealed())
			}
		}
	}
	publish(t, js, all...)
	for _, c := range []Consumer{
		{},
		{Account: "b.c"},
		{Locations: []string{">"}},
		{Locations: []string{"x", "y z", "x"}},
		{Kinds: []events.Kind{events.Ended}},
		{Kinds: []events.Kind{events.Started, events.Ended, events.Started}},
		{Kinds: events.Kinds()},
		{Account: "a", Locations: []string{"y z", ">"}, Kinds: []events.Kind{events.Started, events.Ended}},
		{Locations: []string{"nowhere", "x"}, Kinds: []events.Kind{events.Discovered, events.Traffic}},
	} {
		t.Run(fmt.Sprintf("%s %v %v", c.Account, c.Locations, c.Kinds), func(t *testing.T) {
			for _, c.Durable = range []string{"", strings.ReplaceAll(fmt.Sprintf("%x", t.Name()), " ", "")} {
				c.From = FromStart()
				r := run(t, c, js, nil)
				for _, e := range all {
					if c.Account != "" && c.Account != e.Account || !in(c.Locations, e.Data.Session.LocationID) || !in(c.Kinds, e.Kind) {
						continue
					}
					if d := r.next(); d.ID != e.ID {
						t.Fatalf("delivered %s of %s, want %s of %s", d.Kind, d.Data.Session.ID, e.Kind, e.Data.Session.ID)
					}
				}
				if err := r.end(); err != nil {
					t.Fatal(err)
				}
				r.quiet()
			}
		})
	}
}

func in[T comparable](list []T, v T) bool {
	for _, w := range list {
		if v == w {
			return true
		}
	}
	return len(list) == 0
}

func TestConsumerStartsWhereFromSays(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		sequences := publish(t, js, visit("l", "1"), visit("l", "2"), visit("l", "3"))
		stream, err := js.Stream(t.Context(), events.DefaultStream)
		if err != nil {
			t.Fatal(err)
		}
		second, err := stream.GetMsg(t.Context(), sequences[1])
		if err != nil {
			t.Fatal(err)
		}
		for i, from := range []struct {
			From
			want []string
		}{
			{FromStart(), []string{"1", "2", "3", "4-0"}},
			{FromSequence(0), []string{"1", "2", "3", "4-0", "4-1"}},
			{FromSequence(sequences[1]), []string{"2", "3", "4-0", "4-1", "4-2"}},
			{FromTime(second.Time), []string{"2", "3", "4-0", "4-1", "4-2", "4-3"}},
			{FromTime(time.Now().Add(time.Hour)), []string{"4-4"}},
			{FromNow(), []string{"4-5"}},
			{From{}, []string{"4-6"}},
		} {
			c := c
			c.From = from.From
			if c.Durable != "" {
				c.Durable += fmt.Sprint(i)
			}
			r := run(t, c, js, nil)
			publish(t, js, visit("l", fmt.Sprintf("4-%d", i)))
			r.expect(from.want...)
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			r.quiet()
		}
	})
}

func TestDurableGoesOnWhereItStopped(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	c := Consumer{Durable: "crm", From: FromStart()}
	publish(t, js, visit("l", "1"), visit("l", "2"), visit("l", "3"))
	r := run(t, c, js, func(_ context.Context, d Delivery) error {
		if d.Data.Session.ID == "2" {
			return RetryAfter(0, errors.New("not now"))
		}
		return nil
	})
	r.expect("1", "2", "2", "2")
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	b.Stop()
	b.Start()
	publish(t, b.JetStream(), visit("l", "4"))
	r = run(t, c, b.JetStream(), nil)
	if d := r.expect("2", "3", "4"); d[0].Attempt < 3 || d[1].Attempt != 1 {
		t.Errorf("after the restart: attempts %d and %d", d[0].Attempt, d[1].Attempt)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
}

func TestFailedEventComesAgainBeforeLaterOnes(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From = FromStart()
		c.Backoff = func(attempt uint64) time.Duration { return time.Duration(attempt) * time.Millisecond }
		publish(t, js, visit("l", "1"), visit("l", "2"), visit("l", "3"))
		no := errors.New("no")
		r := run(t, c, js, func(_ context.Context, d Delivery) error {
			switch {
			case d.Data.Session.ID == "1" && d.Attempt < 3:
				return no
			case d.Data.Session.ID == "2" && d.Attempt < 2:
				return fmt.Errorf("wrapped: %w", RetryAfter(5*time.Millisecond, no))
			}
			return nil
		})
		for i, d := range r.expect("1", "1", "1", "2", "2", "3") {
			if want := []uint64{1, 2, 3, 1, 2, 1}[i]; d.Attempt != want {
				t.Errorf("delivery %d is attempt %d, want %d", i, d.Attempt, want)
			}
		}
		for _, want := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond} {
			if f := receive(t, r.failed, "a failure"); !errors.Is(f.Err, no) || f.Final || f.Retry != want || f.Delivery.ID == "" {
				t.Errorf("failure %+v, want a retry after %v", f, want)
			}
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDiscardedAndGivenUpEventsDoNotComeAgain(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From, c.MaxDeliver = FromStart(), 3
		publish(t, js, visit("l", "bad"), visit("l", "hopeless"), visit("l", "good"))
		no := errors.New("no\r\nway")
		r := run(t, c, js, func(_ context.Context, d Delivery) error {
			switch d.Data.Session.ID {
			case "bad":
				return Discard(no)
			case "hopeless":
				return RetryAfter(0, no)
			}
			return nil
		})
		r.expect("bad", "hopeless", "hopeless", "hopeless", "good")
		for i, final := range []bool{true, false, false, true} {
			if f := receive(t, r.failed, "a failure"); !errors.Is(f.Err, no) || f.Final != final {
				t.Errorf("failure %d: %+v, want final %t", i, f, final)
			}
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if c.Durable != "" {
			again := run(t, c, js, nil)
			publish(t, js, visit("l", "last"))
			again.expect("last")
		}
	})
}

func TestWhatIsNoEventIsReportedAndPassedOver(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From = FromStart()
		if _, err := js.Publish(t.Context(), "guest.sessions.a.b.started", []byte(`{"specversion":"1.0"}`)); err != nil {
			t.Fatal(err)
		}
		publish(t, js, visit("l", "1"))
		r := run(t, c, js, nil)
		r.expect("1")
		f := receive(t, r.failed, "a failure")
		if !errors.Is(f.Err, events.ErrNotEvent) || !f.Final || f.Delivery.Sequence != 1 || f.Delivery.Subject != "guest.sessions.a.b.started" || f.Delivery.ID != "" {
			t.Errorf("failure %+v, want a final ErrNotEvent of sequence 1", f)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r.quiet()
	})
}

func TestStopWaitsForTheHandlerInHand(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From = FromStart()
		publish(t, js, visit("l", "1"), visit("l", "2"))
		release := make(chan struct{})
		r := run(t, c, js, func(ctx context.Context, _ Delivery) error {
			<-release
			return ctx.Err()
		})
		r.expect("1")
		r.stop()
		select {
		case err := <-r.result:
			t.Fatalf("Run returned %v with a handler in hand", err)
		default:
		}
		close(release)
		if err := receive(t, r.result, "the end of Run"); err != nil {
			t.Fatal(err)
		}
		r.quiet()
		if c.Durable != "" {
			again := run(t, c, js, nil)
			if d := again.expect("2"); d[0].Attempt > 2 {
				t.Errorf("attempt %d of an event that was never handled", d[0].Attempt)
			}
		}
	})
}

func TestGraceEndsAHandlerThatDoesNot(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		c.From, c.Grace = FromStart(), time.Millisecond
		publish(t, js, visit("l", "1"))
		r := run(t, c, js, func(ctx context.Context, _ Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		})
		r.expect("1")
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if f := receive(t, r.failed, "a failure"); !errors.Is(f.Err, context.Canceled) || f.Final {
			t.Errorf("failure %+v, want a retry of the cancelled handler", f)
		}
	})
}

// TestSlowHandlerKeepsItsEvent: a handler may take longer than AckWait.
func TestSlowHandlerKeepsItsEvent(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	publish(t, js, visit("l", "1"), visit("l", "2"))
	c := Consumer{Durable: "slow", From: FromStart(), AckWait: 150 * time.Millisecond}
	news, err := js.Conn().SubscribeSync("$JS.ACK." + events.DefaultStream + ".slow.>")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	hold := func(context.Context, Delivery) error {
		<-release
		return nil
	}
	r := run(t, c, js, hold)
	r.expect("1")
	// If the stream gave up waiting, this one of the same name got the event.
	other := run(t, c, js, hold)
	for range 9 { // each a third of AckWait after the one before
		msg, err := news.NextMsg(patience)
		if err != nil || string(msg.Data) != "+WPI" {
			t.Fatalf("news %q of the handler in hand, error %v", msg.Data, err)
		}
	}
	other.quiet()
	close(release)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	other.expect("2")
}

func TestConsumerSaysWhatIsWrong(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	for _, c := range []struct {
		Consumer
		is   error
		text string
	}{
		{Consumer{Stream: "OTHER"}, ErrNoStream, "set Stream"},
		{Consumer{Stream: "OTHER", Durable: "d"}, ErrNoStream, "set Stream"},
		{Consumer{Prefix: "a.*"}, nil, "use letters"},
		{Consumer{Kinds: []events.Kind{"merged"}}, nil, `unknown kind "merged"`},
		{Consumer{Locations: []string{""}}, nil, "empty id"},
		{Consumer{MaxInFlight: -1}, nil, "MaxInFlight"},
		{Consumer{MaxDeliver: -1}, nil, "MaxDeliver"},
		{Consumer{AckWait: time.Millisecond}, nil, "AckWait"},
		{Consumer{Grace: -1}, nil, "Grace"},
		{Consumer{Durable: "a.b"}, jetstream.ErrInvalidConsumerName, "a.b"},
	} {
		err := c.Run(t.Context(), js, func(context.Context, Delivery) error { return nil })
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: error %v, want one with %q", c.Consumer, err, c.text)
		}
	}
}
