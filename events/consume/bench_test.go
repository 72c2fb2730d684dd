package consume

import (
	"context"
	"fmt"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// BenchmarkConsumer reads a stream of 100,000 events, decoded and folded, from an
// embedded server with file storage.
func BenchmarkConsumer(b *testing.B) {
	js := startBroker(b).JetStream()
	const total = 100_000
	e := samples()[1]
	for i := range total {
		e.Data.Session.ID = fmt.Sprint(i % 1000)
		e.Data.Revision = int64(i/1000) + 2
		body, err := events.Encode(e.Sealed())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync(events.Subjects{}.Of(e), body); err != nil {
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
				states := map[string]events.State{}
				seen := make(chan events.Event, c.MaxInFlight)
				folded := make(chan struct{})
				go func() {
					defer close(folded)
					n := 0
					for e := range seen {
						states[e.Data.Session.ID] = events.StateOf(e)
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
