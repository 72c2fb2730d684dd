package publisher_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/publisher/embedded"
	"github.com/guestflow/guestflow/store"
)

// The whole way of one event: from the store to a stream on an embedded server.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output: 1 event in GUEST_SESSIONS on guest.sessions.default.lobby.started
}

func example() error {
	dir, err := os.MkdirTemp("", "guestflow")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)

	server, err := embedded.Start(ctx, embedded.Settings{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		return err
	}
	defer server.Close()
	nc, err := publisher.Connect(ctx, publisher.ConnectSettings{Embedded: server, Log: log})
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := publisher.EnsureStream(ctx, js, publisher.StreamSettings{MaxAge: 7 * 24 * time.Hour}); err != nil {
		return err
	}

	s, err := store.Open(filepath.Join(dir, "default.db"), store.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	e := events.Event{Account: events.DefaultAccount, Kind: events.Started}
	e.Data.Revision = 1
	e.Data.Session = events.Session{ID: "pR3zOKmvzqe", LocationID: "lobby", Online: true}
	e.Data.Observed.At = time.Date(2026, 1, 5, 6, 50, 55, 0, time.UTC)
	e = e.Sealed()
	if err := s.Commit(store.Commit{Changes: []events.Event{e}}); err != nil {
		return err
	}

	p := publisher.New(js, s)
	p.Log = log
	if err := p.Drain(ctx); err != nil { // a service calls Run
		return err
	}
	stream, err := js.Stream(ctx, events.DefaultStream)
	if err != nil {
		return err
	}
	m, err := stream.GetMsg(ctx, p.State().StreamSeq)
	if err != nil {
		return err
	}
	fmt.Printf("%d event in %s on %s\n", stream.CachedInfo().State.Msgs, events.DefaultStream, m.Subject)
	return nil
}
