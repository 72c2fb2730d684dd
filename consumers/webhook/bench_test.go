package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// BenchmarkDispatch measures deliveries a second on one core, with the receiver
// and the NATS server in the same process and on the same core. The figure by
// processor time is what an idle machine shows; that by the clock depends on what
// else runs.
func BenchmarkDispatch(b *testing.B) {
	for _, ordered := range []string{"false", "true"} {
		b.Run("ordered="+ordered, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			wall, cpu := race(b, b.N, []string{ordered}, 0)
			b.ReportMetric(float64(b.N)/wall.Seconds(), "deliveries/s")
			b.ReportMetric(float64(b.N)/cpu.Seconds(), "deliveries/cpu-s")
		})
	}
}

// BenchmarkOneDeadAmongTen sets nine live endpoints with a dead one beside the
// nine alone, in turns, and compares what one delivery costs in processor time.
// The dead one refuses connections, which takes more work than one that hangs.
func BenchmarkOneDeadAmongTen(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	live := strings.Split(strings.Repeat("false ", 9), " ")[:9]
	var best [2]time.Duration // the least of several, since noise only adds
	for range 5 {
		for dead := range best {
			if _, cpu := race(b, b.N, live, dead); best[dead] == 0 || cpu < best[dead] {
				best[dead] = cpu
			}
		}
	}
	b.ReportMetric(float64(9*b.N)/best[0].Seconds(), "alone-deliveries/cpu-s")
	b.ReportMetric(float64(9*b.N)/best[1].Seconds(), "beside-dead-deliveries/cpu-s")
	b.ReportMetric(100*(1-best[0].Seconds()/best[1].Seconds()), "%lost")
}

// race publishes n events and delivers them to one endpoint for each entry of
// ordered, beside dead ones, which refuse connections. It returns how long the
// live ones took, by the clock and in processor time of the whole process.
func race(b *testing.B, n int, ordered []string, dead int) (wall, cpu time.Duration) {
	b.Helper()
	b.StopTimer()
	br := newBroker(b)
	target, delivered, done := int64(n*len(ordered)), new(atomic.Int64), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		if delivered.Add(1) == target {
			close(done)
		}
	}))
	defer server.Close()
	var entries []string
	for i, o := range ordered {
		entries = append(entries, endpointYAML(fmt.Sprint("live", i), server.URL, "ordered: "+o))
	}
	for i := range dead {
		entries = append(entries, endpointYAML(fmt.Sprint("dead", i), "http://127.0.0.1:1/"))
	}
	path := filepath.Join(b.TempDir(), "e.yaml")
	write(b, path, "endpoints:\n"+strings.Join(entries, ""))
	for i := range n {
		br.publish(sample(events.Started, fmt.Sprint("s", i), 1))
	}
	for _, e := range mustLoad(b, path).Endpoints { // from the start of the stream
		if _, err := br.js.CreateConsumer(br.ctx, events.DefaultStream, jetstream.ConsumerConfig{
			Durable: Durable(e.Name), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		}); err != nil {
			b.Fatal(err)
		}
	}
	d := &Dispatcher{JetStream: br.js, Path: path, Log: slog.New(slog.DiscardHandler), fetchWait: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(br.ctx)
	ended := make(chan error, 1)
	b.StartTimer()
	began, spent := time.Now(), processorTime(b)
	go func() { ended <- d.Run(ctx) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		b.Fatalf("%d of %d delivered", delivered.Load(), target)
	}
	wall, cpu = time.Since(began), processorTime(b)-spent
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return wall, cpu
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func mustLoad(b *testing.B, path string) Config {
	b.Helper()
	cfg, err := Load(path)
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}
