// Package consume reads guestflow's stream of events from NATS JetStream.
//
//	consumer := consume.Consumer{Durable: "crm", Kinds: []events.Kind{events.Started}}
//	err := consumer.Run(ctx, js, func(ctx context.Context, d consume.Delivery) error {
//		return welcome(ctx, d.Data.Session)
//	})
//
// Each event is delivered at least once: again after a failure or a crash, then
// with the same ID and the same revision, which events.State.Apply tells. Of the
// project it imports events alone, so a downstream program links no more of it.
//
// The examples show filters, replays and retries.
package consume
