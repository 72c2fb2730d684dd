package consume_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

// A CRM welcomes guests. The durable remembers what it has handled, so that no
// guest is left out while the CRM is down.
func Example() {
	js, stop := venue()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())

	consumer := consume.Consumer{
		Durable: "crm",
		From:    consume.FromStart(),
		Kinds:   []events.Kind{events.Started},
	}
	err := consumer.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		fmt.Printf("welcome, %s, to %s\n", d.Data.Session.GuestID, d.Data.Session.LocationName)
		if d.Pending == 0 {
			cancel() // a real program runs until it is told to stop
		}
		return nil
	})
	fmt.Println(err)

	// Output:
	// welcome, ann, to Lobby
	// welcome, bob, to Pool bar
	// <nil>
}

// A screen at the pool bar shows who comes and goes there.
func ExampleConsumer_locations() {
	js, stop := venue()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())

	consumer := consume.Consumer{
		From:      consume.FromStart(),
		Locations: []string{"pool.bar"},
		Kinds:     []events.Kind{events.Started, events.Ended},
	}
	err := consumer.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		fmt.Println(d.Subject, d.Data.Session.GuestID)
		if d.Pending == 0 {
			cancel()
		}
		return nil
	})
	fmt.Println(err)

	// Output:
	// guest.sessions.default.pool%2Ebar.started bob
	// guest.sessions.default.pool%2Ebar.ended ann
	// <nil>
}

// Who is online now? Folding the whole stream gives what guestflow itself knows.
func Example_whoIsOnline() {
	js, stop := venue()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())

	states := map[string]events.State{}
	consumer := consume.Consumer{From: consume.FromStart()}
	err := consumer.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		next, err := states[d.Data.Session.ID].Apply(d.Event)
		switch {
		case errors.Is(err, events.ErrStale):
			return nil // delivered again
		case err != nil:
			next = events.StateOf(d.Event) // the stream's start has expired; go on from here
		}
		states[d.Data.Session.ID] = next
		if d.Pending == 0 {
			cancel() // caught up
		}
		return nil
	})
	fmt.Println(err)
	for _, id := range []string{"s1", "s2"} {
		s := states[id].Session
		fmt.Printf("%s online %t, %d kB\n", s.GuestID, s.Online, s.Downloaded.Value/1000)
	}

	// Output:
	// <nil>
	// ann online false, 2500 kB
	// bob online true, 0 kB
}

// A handler decides by its error what becomes of an event.
func ExampleRetryAfter() {
	js, stop := venue()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())

	consumer := consume.Consumer{
		Durable: "mailer",
		From:    consume.FromStart(),
		Kinds:   []events.Kind{events.Started},
		OnError: func(f consume.Failure) {
			fmt.Printf("%s: %v, final %t\n", f.Delivery.Data.Session.GuestID, f.Err, f.Final)
		},
	}
	err := consumer.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		switch {
		case d.Data.Session.GuestID == "ann":
			return consume.Discard(errors.New("has unsubscribed"))
		case d.Attempt == 1:
			return consume.RetryAfter(10*time.Millisecond, errors.New("mail server is busy"))
		}
		fmt.Printf("%s: sent at attempt %d\n", d.Data.Session.GuestID, d.Attempt)
		cancel()
		return nil
	})
	fmt.Println(err)

	// Output:
	// ann: has unsubscribed, final true
	// bob: mail server is busy, final false
	// bob: sent at attempt 2
	// <nil>
}

// venue starts a NATS server whose stream holds a short evening: ann comes to the
// lobby, bob to the pool bar; ann downloads something, moves to the pool bar, and
// leaves.
func venue() (js jetstream.JetStream, stop func()) {
	dir, err := os.MkdirTemp("", "guestflow-example")
	must(err)
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(err)
	ns.Start()
	nc, err := nats.Connect(ns.ClientURL(), nats.RetryOnFailedConnect(true))
	must(err)
	js, err = jetstream.New(nc)
	must(err)
	_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}})
	must(err)

	at := time.Date(2026, 6, 1, 20, 0, 0, 0, time.UTC)
	tell := func(kind events.Kind, revision int64, s events.Session, d events.Data) {
		at = at.Add(time.Minute)
		d.Revision, d.Session, d.Observed.At = revision, s, at
		e := events.Event{Account: events.DefaultAccount, Kind: kind, Time: at, Data: d}.Sealed()
		body, err := events.Encode(e)
		must(err)
		_, err = js.Publish(context.Background(), events.Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID))
		must(err)
	}
	ann := events.Session{ID: "s1", GuestID: "ann", LocationID: "lobby", LocationName: "Lobby", Online: true}
	bob := events.Session{ID: "s2", GuestID: "bob", LocationID: "pool.bar", LocationName: "Pool bar", Online: true}
	tell(events.Started, 1, ann, events.Data{})
	tell(events.Started, 1, bob, events.Data{})
	old := ann
	ann.Downloaded = events.Bytes{Value: 2_500_000, Error: 5_000}
	tell(events.Traffic, 2, ann, events.Data{Previous: ann.Replaced(&old), Change: &events.Change{DownloadedBytes: 2_500_000}})
	old = ann
	ann.LocationID, ann.LocationName = bob.LocationID, bob.LocationName
	tell(events.Updated, 3, ann, events.Data{Previous: ann.Replaced(&old)})
	ann.Online = false
	tell(events.Ended, 4, ann, events.Data{Observed: events.Observed{End: events.EndReported}})

	return js, func() {
		nc.Close()
		ns.Shutdown()
		ns.WaitForShutdown()
		must(os.RemoveAll(dir))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
