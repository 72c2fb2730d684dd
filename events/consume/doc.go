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
// Consumer is for programs that do something about events; Reader and Past are for
// those that keep a place in the stream themselves, or only look at what is there.
//
// The examples show filters, replays and retries.
package consume
