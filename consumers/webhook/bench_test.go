package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
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
// What else the machine does changes within seconds, so that only neighbours are
// compared, each pair in the other order than the one before; the figures are
// medians of the pairs.
func BenchmarkOneDeadAmongTen(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	live := strings.Split(strings.Repeat("false ", 9), " ")[:9]
	const pairs = 9
	var alone, beside, lost []float64
	for i := range pairs {
		var rate [2]float64 // by the number of dead ones
		for j := range rate {
			dead := (i + j) % 2
			_, cpu := race(b, b.N, live, dead)
			rate[dead] = float64(9*b.N) / cpu.Seconds()
		}
		alone, beside = append(alone, rate[0]), append(beside, rate[1])
		lost = append(lost, 100*(1-rate[1]/rate[0]))
	}
	b.ReportMetric(median(alone), "alone-deliveries/cpu-s")
	b.ReportMetric(median(beside), "beside-dead-deliveries/cpu-s")
	b.ReportMetric(median(lost), "%lost")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
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
	cfg, err := Load(path, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	return cfg
}
