package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// BenchmarkDispatch measures deliveries a second on one core, with the receiver
// and the NATS server in the same process and on the same core.
func BenchmarkDispatch(b *testing.B) {
	for _, ordered := range []string{"false", "true"} {
		b.Run("ordered="+ordered, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			r := startRace(b, []string{ordered}, 0)
			b.ReportMetric(r.rate(b), "deliveries/s")
		})
	}
}

// BenchmarkOneDeadAmongTen sets ten live endpoints beside nine live and one dead
// one and compares what the live ones get done in the same time.
func BenchmarkOneDeadAmongTen(b *testing.B) {
	rate := map[string]float64{}
	for _, dead := range []int{0, 1} {
		b.Run(fmt.Sprintf("dead=%d", dead), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			live := make([]string, 9)
			for i := range live {
				live[i] = "false"
			}
			// The tenth is idle in the one case and dead in the other, so that the
			// nine have the same work in both.
			r := startRace(b, live, dead)
			got := r.rate(b) / 9
			rate[b.Name()] = got
			b.ReportMetric(got, "deliveries/s/endpoint")
		})
	}
	for name, with := range rate {
		if without := rate[strings.Replace(name, "dead=1", "dead=0", 1)]; strings.Contains(name, "dead=1") && without > 0 {
			b.Logf("one dead endpoint costs the others %.1f %%", 100*(1-with/without))
		}
	}
}

// race is a dispatcher with its receivers.
type race struct {
	b         *broker
	delivered atomic.Int64
	target    int64
	done      chan struct{}
}

// startRace publishes b.N events and starts delivering them to one endpoint for
// each entry of ordered, and to dead ones besides, which refuse connections.
func startRace(b *testing.B, ordered []string, dead int) *race {
	b.Helper()
	br := newBroker(b)
	r := &race{b: br, target: int64(b.N * len(ordered)), done: make(chan struct{})}
	var once sync.Once
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if r.delivered.Add(1) >= r.target {
			once.Do(func() { close(r.done) })
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	go server.Serve(l) //nolint:errcheck // ends with Close
	var file strings.Builder
	file.WriteString("endpoints:\n")
	for i, o := range ordered {
		file.WriteString(endpointYAML(fmt.Sprint("live", i), "http://"+l.Addr().String(), "ordered: "+o))
	}
	for i := range dead {
		file.WriteString(endpointYAML(fmt.Sprint("dead", i), "http://127.0.0.1:1/"))
	}
	path := filepath.Join(b.TempDir(), "e.yaml")
	write(b, path, file.String())
	for i := range b.N {
		br.publish(sample(events.Started, fmt.Sprint("s", i), 1))
	}
	d := &Dispatcher{JetStream: br.js, Path: path, Log: slog.New(slog.DiscardHandler)}
	for _, e := range mustLoad(b, path).Endpoints { // from the start of the stream
		if _, err := br.js.CreateConsumer(br.ctx, events.DefaultStream, jetstream.ConsumerConfig{
			Durable: Durable(e.Name), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		}); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(br.ctx)
	ended := make(chan error, 1)
	b.ResetTimer()
	go func() { ended <- d.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return r
}

// rate waits until everything was delivered and returns deliveries a second.
func (r *race) rate(b *testing.B) float64 {
	b.Helper()
	select {
	case <-r.done:
	case <-time.After(2 * time.Minute):
		b.Fatalf("%d of %d delivered", r.delivered.Load(), r.target)
	}
	b.StopTimer()
	return float64(r.target) / b.Elapsed().Seconds()
}

func mustLoad(b *testing.B, path string) Config {
	b.Helper()
	cfg, err := Load(path)
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}
