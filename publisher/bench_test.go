package publisher

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// BenchmarkPublish measures the publisher draining a full outbox against a bare
// PublishMsgAsync loop with the same server, connection, payloads and headers, in
// turns within one run. "ratio" is the publisher's rate over the loop's.
//
// With a synced server each message of the loop is synced, but each batch of the
// publisher once.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name string
		sync time.Duration
		way  Way
		n    int // entries in a turn
	}{
		{"synced/auto", 0, Auto, 4000},
		{"synced/atomic", 0, Atomic, 4000},
		{"synced/chained", 0, Chained, 4000},
		{"synced/fast", 0, Fast, 4000},
		{"unsynced/auto", 2 * time.Minute, Auto, 20_000},
		{"unsynced/atomic", 2 * time.Minute, Atomic, 20_000},
		{"unsynced/chained", 2 * time.Minute, Chained, 20_000},
		{"unsynced/fast", 2 * time.Minute, Fast, 20_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			server := &broker{t: b, dir: b.TempDir(), addr: "127.0.0.1:0", sync: c.sync}
			server.start()
			defer server.stop()
			js := connect(b, server.URL())
			if _, err := EnsureStream(context.Background(), js, StreamSettings{Name: testStream}); err != nil {
				b.Fatal(err)
			}
			source, store := newMemory("bare"), newMemory("a")
			p := New(js, store)
			p.Account, p.Stream, p.Way, p.Log = "a", testStream, c.way, quiet()
			var bare, drained time.Duration
			for b.Loop() {
				bare += publishBare(b, js, source, c.n)
				store.add(c.n)
				start := time.Now()
				if err := p.Drain(context.Background()); err != nil {
					b.Fatal(err)
				}
				drained += time.Since(start)
			}
			rate := func(d time.Duration) float64 { return float64(b.N*c.n) / d.Seconds() }
			b.ReportMetric(rate(drained), "events/s")
			b.ReportMetric(rate(bare), "bare_events/s")
			b.ReportMetric(rate(drained)/rate(bare), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// publishBare publishes n new events of source, and returns how long it took.
func publishBare(b *testing.B, js jetstream.JetStream, source *memory, n int) time.Duration {
	source.add(n)
	fresh := source.entries[len(source.entries)-n:]
	m := newMessages(testStream, "bare", strings.Repeat("x", 26), events.Subjects{})
	start := time.Now()
	for i := range fresh {
		// A machine that does other work stalls now and then.
		if _, err := js.PublishMsgAsync(m.of(&fresh[i]), jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return time.Since(start)
}
