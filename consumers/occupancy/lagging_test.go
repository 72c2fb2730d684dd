package occupancy

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// lagging shows a stream of two servers. The first consumer lives on one that has just been
// started again, and says that it has nothing; what it has comes all the same.
type lagging struct {
	jetstream.JetStream
	made int
}

type laggingStream struct {
	jetstream.Stream
	js *lagging
}

func (l *lagging) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := l.JetStream.Stream(ctx, name)
	return &laggingStream{stream, l}, err
}

func (l *laggingStream) CachedInfo() *jetstream.StreamInfo {
	info := *l.Stream.CachedInfo()
	info.Cluster = &jetstream.ClusterInfo{Leader: "leader", Replicas: []*jetstream.PeerInfo{{Name: "another"}}}
	return &info
}

func (l *laggingStream) Info(ctx context.Context, o ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	if _, err := l.Stream.Info(ctx, o...); err != nil {
		return nil, err
	}
	return l.CachedInfo(), nil
}

func (l *laggingStream) CreateConsumer(ctx context.Context, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := l.Stream.CreateConsumer(ctx, c)
	if err != nil {
		return nil, err
	}
	info := *consumer.CachedInfo()
	info.Cluster = &jetstream.ClusterInfo{Leader: "leader"}
	if l.js.made++; l.js.made == 1 {
		info.Cluster.Leader, info.NumPending = "another", 0
	}
	return &consumerOn{consumer, &info}, nil
}

type consumerOn struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (p *consumerOn) CachedInfo() *jetstream.ConsumerInfo { return p.info }

// liveAt is a log that notes after how many events the service said that it is live.
type liveAt struct {
	slog.Handler
	events chan uint64
}

func (l liveAt) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "occupancy: live" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "events" {
				l.events <- a.Value.Uint64()
			}
			return true
		})
	}
	return l.Handler.Handle(ctx, r)
}

// TestNothingIsShownBeforeAServerHasAll: else a location looks empty after a server of a
// cluster was started again.
func TestNothingIsShownBeforeAServerHasAll(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	publish(t, js, newVenue(13, 3, 30).messages(20, 1)...)
	settings, events := quickSettings(), make(chan uint64, 10)
	settings.Log = slog.New(liveAt{slog.NewTextHandler(io.Discard, nil), events})
	running(t, &lagging{JetStream: js}, settings)
	if n := <-events; n != 20 {
		t.Errorf("live after %d events, want all 20", n)
	}
}
