package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// pending is how many messages of the bare loop may wait for their answers.
const pending = 256

// publishing measures the publisher, from the outbox on disk to the stream, beside
// loops that publish the same bodies from memory.
func (p Plan) publishing(ctx context.Context, show func(Row)) error {
	h, err := p.open(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer h.close()
	// Each has a connection of its own, and so its own window.
	conn, err := nats.Connect(h.nats.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(pending))
	if err != nil {
		return err
	}
	for _, name := range []string{"BARE", naiveStream} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}); err != nil {
			return err
		}
	}
	if _, err := publisher.EnsureStream(ctx, h.js, publisher.StreamSettings{Name: guestflowStream}); err != nil {
		return err
	}
	st, err := store.Open(filepath.Join(h.dir, "outbox.db"), store.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer st.Close()
	pub := publisher.New(h.js, st)
	pub.Stream, pub.Log = guestflowStream, slog.New(slog.DiscardHandler)
	var guestflow, naive, bare []float64
	rate := func(n int, publish func() error) (float64, error) {
		began := time.Now()
		err := publish()
		return float64(n) / time.Since(began).Seconds(), err
	}
	made := 0
	for range p.Repeat {
		bodies, err := fill(st, &made, p.Events)
		if err != nil {
			return err
		}
		r, err := rate(len(bodies), func() error { return pub.Drain(ctx) })
		if err != nil {
			return err
		}
		guestflow = append(guestflow, r)
		if r, err = rate(len(bodies), func() error { return loop(ctx, js, bodies) }); err != nil {
			return err
		}
		bare = append(bare, r)
		few := bodies[:len(bodies)/20]
		if r, err = rate(len(few), func() error { return naively(ctx, js, few) }); err != nil {
			return err
		}
		naive = append(naive, r)
	}
	if n, err := h.stored(ctx, guestflowStream); err != nil || n != uint64(made) {
		return fmt.Errorf("%d events of %d are in the stream: %w", n, made, err)
	}
	show(row(PublishPerS, 0, guestflow, naive, bare))
	return nil
}

// naively publishes one message after the other, each once the one before is stored.
func naively(ctx context.Context, js jetstream.JetStream, messages []*nats.Msg) error {
	for _, m := range messages {
		if _, err := js.Publish(ctx, naiveStream+".x", m.Data, jetstream.WithMsgID(m.Header.Get(jetstream.MsgIDHeader))); err != nil {
			return err
		}
	}
	return nil
}

// fill puts n events of new sessions into the outbox, and returns their messages.
func fill(st *store.Store, made *int, n int) ([]*nats.Msg, error) {
	var msgs []*nats.Msg
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for len(msgs) < n {
		var c store.Commit
		for range min(1000, n-len(msgs)) {
			*made++
			s := events.Session{
				ID: fmt.Sprintf("session%08d", *made), LocationID: fmt.Sprintf("venue%03d", *made%200), LocationName: "Terminal 2, Gate B",
				Online: true, StartedAt: at, GuestID: fmt.Sprintf("guest%08d", *made), DeviceMAC: "14:2d:27:e7:40:2b", DeviceIP: "172.16.3.4",
				DeviceDescription: "iPhone", LoginType: "E-mail", ServiceProfile: "Free, 60 minutes",
			}
			e := events.Event{Account: events.DefaultAccount, Kind: events.Started, Time: at,
				Data: events.Data{Revision: 1, Session: s, Observed: events.Observed{At: at, NotYetAt: at}}}.Sealed()
			body, err := events.Encode(e)
			if err != nil {
				return nil, err
			}
			m := &nats.Msg{Subject: "BARE.x", Data: body, Header: nats.Header{}}
			m.Header.Set(jetstream.MsgIDHeader, e.ID)
			msgs, c.Changes = append(msgs, m), append(c.Changes, e)
		}
		if err := st.Commit(c); err != nil {
			return nil, err
		}
	}
	return msgs, nil
}

// loop publishes with so many pending.
func loop(ctx context.Context, js jetstream.JetStream, msgs []*nats.Msg) error {
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, m := range msgs {
		var err error
		if futures[i], err = js.PublishMsgAsync(m); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
