package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// maxFilters is the largest number of subject filters that a consumer gets;
// beyond it events are filtered here.
const maxFilters = 64

// Durable returns the name of an endpoint's durable consumer.
func Durable(endpoint string) string { return "webhook-" + endpoint }

// filters returns the narrowest subjects that hold all of what e may want.
func filters(o options, e Endpoint) []string {
	locations, kinds := e.Locations, e.Kinds
	// A visit's place is a group's, where it has one: its locations are in the body alone.
	if e.topic != sessionTopic || len(locations) == 0 || slices.ContainsFunc(locations, func(g string) bool { return strings.ContainsAny(g, `*?[\`) }) {
		locations = []string{""}
	}
	if len(kinds) == 0 {
		kinds = append(kinds, "")
	}
	var out []string
	for _, l := range locations {
		for _, k := range kinds {
			out = append(out, o.filter(e.topic, l, k))
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxFilters {
		return []string{o.filter(e.topic, "", "")}
	}
	return out
}

// window is how many messages an endpoint has in hand at most: twice what it
// sends at once, and not more than its rate limit lets out in ten seconds, so
// that none waits here until the server takes it for lost.
func window(e Endpoint, maxWaiting int) int {
	n := 2 * e.Concurrency
	if e.RateLimit > 0 {
		n = min(n, max(1, int(10*e.RateLimit)))
	}
	return min(n, maxWaiting)
}

// ackWait is how long a message may be in hand: AckWait, and as long as the
// window takes with every request at its time limit, at the endpoint's rate.
func ackWait(o options, e Endpoint) time.Duration {
	n := window(e, o.MaxWaiting)
	d := o.AckWait + time.Duration((n+e.Concurrency-1)/e.Concurrency+1)*e.Timeout
	if e.RateLimit > 0 {
		d += time.Duration(float64(n) / e.RateLimit * float64(time.Second))
	}
	return d
}

// ensureConsumer makes or finds the durable consumer of the endpoint. The position
// of one that exists is kept, whatever else changes. One that is gone although the
// endpoint was served before was deleted: it goes on where that is known to have
// been. That of a new endpoint starts with events published from now on.
func ensureConsumer(ctx context.Context, o options, e Endpoint, before Standing, log *slog.Logger) (jetstream.Stream, jetstream.Consumer, error) {
	fail := func(err error) (jetstream.Stream, jetstream.Consumer, error) {
		return nil, nil, fmt.Errorf("consumer %s of stream %s: %w", Durable(e.Name), o.streamOf(e.topic), err)
	}
	stream, err := o.JetStream.Stream(ctx, o.streamOf(e.topic))
	if err != nil {
		return fail(err)
	}
	var cfg jetstream.ConsumerConfig
	c, err := stream.Consumer(ctx, Durable(e.Name))
	switch {
	case err == nil:
		cfg = c.CachedInfo().Config
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		cfg = startOf(stream.CachedInfo(), before, log)
	default:
		return fail(err)
	}
	cfg.Durable, cfg.Name = Durable(e.Name), Durable(e.Name)
	cfg.Description = "guestflow webhook endpoint " + e.Name
	cfg.AckPolicy = jetstream.AckExplicitPolicy
	cfg.AckWait = ackWait(o, e)
	cfg.MaxAckPending = o.MaxWaiting
	cfg.MaxDeliver = -1
	cfg.FilterSubject, cfg.FilterSubjects = "", filters(o, e)
	if c, err = stream.CreateOrUpdateConsumer(ctx, cfg); err != nil {
		return fail(err)
	}
	return stream, c, nil
}

// dropConsumer deletes an endpoint's consumer, where there is one.
func dropConsumer(ctx context.Context, o options, t *topic, endpoint string) error {
	err := o.JetStream.DeleteConsumer(ctx, o.streamOf(t), Durable(endpoint))
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// movedHere makes an endpoint that subscribed to another stream a new one: the tries that
// were counted are of events with other sequences.
func (r *runner) movedHere(ctx context.Context, before Standing) (Standing, error) {
	if before.Place == nil || cmp.Or(before.Place.Of, sessionTopic.name) == r.endpoint.topic.name {
		return before, nil
	}
	from, err := topicNamed(before.Place.Of)
	if err == nil {
		err = dropConsumer(ctx, r.o, from, r.endpoint.Name)
	}
	if err == nil {
		_, err = r.records.tries(ctx, r.endpoint.Name, ^uint64(0))
	}
	if err != nil {
		return before, fmt.Errorf("endpoint %s leaves the stream of %s: %w", r.endpoint.Name, before.Place.Of, err)
	}
	before.Place = nil
	return before, nil
}

// clockMargin is how far the server's clock may be behind: what it stored in this
// time is sent once more.
const clockMargin = time.Minute

// startOf says where a consumer that does not exist begins. Events that were
// settled since the place was written down are sent again, with their ids.
func startOf(stream *jetstream.StreamInfo, before Standing, log *slog.Logger) jetstream.ConsumerConfig {
	at := before.Place
	if at == nil {
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy}
	}
	if !at.Stream.Equal(stream.Created) {
		since := at.At.Add(-clockMargin)
		log.Warn("webhooks: the stream was made anew; going on with what it got since the endpoint was last served", "since", since)
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since}
	}
	next := at.Floor + 1
	if first := stream.State.FirstSeq; next < first {
		log.Warn("webhooks: events left the stream before they could be delivered", "from_sequence", next, "to_sequence", first-1)
	}
	log.Warn("webhooks: the endpoint's consumer was deleted; going on where it was last known to be", "sequence", next)
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next}
}
