package events

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkConsumer reads a stream of 100,000 events, decoded and folded, from an
// embedded server with file storage.
func BenchmarkConsumer(b *testing.B) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: b.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		b.Fatal(err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: DefaultStream, Subjects: []string{Subjects{}.All()}}); err != nil {
		b.Fatal(err)
	}
	const total = 100_000
	e := benchmarkEvent()
	for i := range total {
		e.Data.Session.ID = fmt.Sprint(i % 1000)
		e.Data.Revision = int64(i/1000) + 2
		body, err := Encode(e.Sealed())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync(Subjects{}.Of(e), body); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()

	for _, c := range []struct {
		name  string
		limit int
		Consumer
	}{
		{"reader", total, Consumer{}},
		{"durable", total / 5, Consumer{Durable: "one"}},
		{"durable/64 in flight", total, Consumer{Durable: "many", MaxInFlight: 64}},
	} {
		b.Run(c.name, func(b *testing.B) {
			run := 0
			for b.Loop() {
				run++
				c.From = FromStart()
				if c.Durable != "" {
					c.Durable = fmt.Sprintf("%d-%d", c.MaxInFlight, run)
				}
				ctx, cancel := context.WithCancel(b.Context())
				states := map[string]State{}
				seen := make(chan Event, c.MaxInFlight)
				folded := make(chan struct{})
				go func() {
					defer close(folded)
					n := 0
					for e := range seen {
						states[e.Data.Session.ID] = StateOf(e)
						if n++; n == c.limit {
							cancel()
						}
					}
				}()
				err := c.Run(ctx, js, func(_ context.Context, d Delivery) error {
					seen <- d.Event
					return nil
				})
				close(seen)
				<-folded
				if err != nil || len(states) != 1000 {
					b.Fatalf("folded to %d sessions, error %v", len(states), err)
				}
			}
			b.ReportMetric(float64(c.limit)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
