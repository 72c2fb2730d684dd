package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

func TestMatchingEventsAreDelivered(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	all, some := newReceiver(t, accept), newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("all", all.URL),
		endpointYAML("some", some.URL, "kinds: [started, traffic]", `locations: ["hotel-*"]`, `condition: kind == "started" || change.downloaded_bytes > 500`))
	tr.start(b)
	var evs []events.Event
	for i := range 20 {
		evs = append(evs, sample(events.Started, fmt.Sprint("s", i), 1), sample(events.Traffic, fmt.Sprint("s", i), 2), sample(events.Ended, fmt.Sprint("s", i), 3))
	}
	elsewhere := sample(events.Started, "elsewhere", 1)
	elsewhere.Data.Session.LocationID = "café.5" // needs encoding in the subject
	evs = append(evs, elsewhere.Sealed())
	b.publish(evs...)
	all.untilAccepted(t, evs...)
	some.until(t, "40 events", func(_, a []received) bool { return len(a) == 40 })
	for _, a := range some.taken() {
		if a.kind == "ended" || a.session == "elsewhere" {
			t.Errorf("got %s of %s, which was not asked for", a.kind, a.session)
		}
	}
	tr.eventually("everything settled", func() bool {
		s := tr.statusOf(b.ctx, "some")
		return s.Backlog == 0 && s.Waiting == 0 && tr.statusOf(b.ctx, "all").Waiting == 0
	})
}

func TestFailingReceiverGetsEveryEventInTheEnd(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			tries := map[string]int{}
			var r *receiver
			r = newReceiver(t, func(w http.ResponseWriter, got received) {
				r.mu.Lock()
				tries[got.id]++
				n := tries[got.id]
				r.mu.Unlock()
				if n <= 2 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				w.WriteHeader(http.StatusOK)
			})
			tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: "+ordered))
			tr.start(b)
			var evs []events.Event
			for i := range 10 {
				for rev := range int64(3) {
					kind := []events.Kind{events.Started, events.Traffic, events.Ended}[rev]
					evs = append(evs, sample(kind, fmt.Sprint("s", i), rev+1))
				}
			}
			b.publish(evs...)
			r.untilAccepted(t, evs...)
			if ordered == "true" {
				inOrder(t, r.taken())
			}
			tr.eventually("a bucket in which nothing is left of the tries", func() bool {
				return b.tries() == 0
			})
		})
	}
}

func starts(n int) []events.Event {
	var out []events.Event
	for i := range n {
		out = append(out, sample(events.Started, fmt.Sprint("s", i), 1))
	}
	return out
}

func TestHangingReceiverDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	hanging := newReceiver(t, func(_ http.ResponseWriter, r received) { <-r.gone })
	well := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("hanging", hanging.URL, "timeout: 10m", "concurrency: 2"), endpointYAML("well", well.URL))
	tr.StopGrace = 50 * time.Millisecond
	tr.start(b)
	evs := starts(50)
	b.publish(evs...)
	hanging.untilRequests(t, 2)
	well.untilAccepted(t, evs...)
	tr.stop() // breaks the requests off
	if s := tr.statusOf(b.ctx, "hanging"); s.Waiting+int(s.Backlog) != 50 {
		t.Errorf("the hanging endpoint has %d waiting and %d to come, want all 50", s.Waiting, s.Backlog)
	}
}

func TestHangingRequestTimesOutAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var r *receiver
	r = newReceiver(t, func(w http.ResponseWriter, got received) {
		if r.count() == 1 {
			<-got.gone
			return
		}
		accept(w, got)
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL, "timeout: 100ms"))
	tr.start(b)
	e := sample(events.Started, "s", 1)
	b.publish(e)
	r.untilAccepted(t, e)
	tr.untilSeen("a", Failed, 1)
	tr.untilSeen("a", Delivered, 1)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	// On a busy machine a repetition may time out as well.
	first, last := tr.seen[0], tr.seen[len(tr.seen)-1]
	if first.Try != 1 || first.Result != Failed || first.Status != 0 || last.Try != len(tr.seen) || last.Status != 204 {
		t.Errorf("observed %+v", tr.seen)
	}
}

func TestGarbageIsAFailureThatIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	garbage := []string{
		"\x00\x01\x02 nonsense\r\n\r\n", "HTTP/1.1 banana OK\r\n\r\n", "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nab", "",
		"HTTP/1.1 200 OK\r\nX: " + string(make([]byte, maxAnswer+1)) + "\r\n\r\n",
	}
	var r *receiver
	r = newReceiver(t, func(w http.ResponseWriter, got received) {
		n := r.count()
		if n > len(garbage) {
			accept(w, got)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(garbage[n-1])); err != nil {
			t.Error(err)
		}
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.start(b)
	e := sample(events.Started, "s", 1)
	b.publish(e)
	r.untilAccepted(t, e)
	if n := r.count(); n != len(garbage)+1 {
		t.Errorf("%d requests, want %d", n, len(garbage)+1)
	}
	for _, got := range r.asked() {
		if got.id != e.ID {
			t.Errorf("a repetition has id %s, want %s", got.id, e.ID)
		}
	}
}

func TestReceiverThatIsKilledAndComesBackMissesNothing(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			r := newReceiver(t, accept)
			tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: "+ordered))
			tr.start(b)
			var evs []events.Event
			for i := range 30 {
				evs = append(evs, sample(events.Started, fmt.Sprint("s", i), 1), sample(events.Traffic, fmt.Sprint("s", i), 2), sample(events.Ended, fmt.Sprint("s", i), 3))
			}
			b.publish(evs[:30]...)
			r.untilRequests(t, 5)
			r.kill()
			b.publish(evs[30:]...)
			tr.untilSeen("a", Failed, 5)
			r.revive(t)
			r.untilAccepted(t, evs...)
			if ordered == "true" {
				inOrder(t, r.taken())
			}
		})
	}
}

func TestGoneDisablesTheEndpointUntilItsEntryChangesOrItIsEnabled(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var r *receiver
	r = newReceiver(t, func(w http.ResponseWriter, got received) {
		if r.count() == 1 || got.session == "s2" && got.header.Get("X-Version") != "3" {
			w.WriteHeader(http.StatusGone)
			return
		}
		accept(w, got)
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL, "concurrency: 1"))
	tr.start(b)
	evs := starts(3)
	b.publish(evs[0])
	tr.untilSeen("a", Gone, 1)
	tr.eventually("disabled", func() bool { return tr.statusOf(b.ctx, "a").Disabled != nil })
	tr.stop()

	tr.start(b) // a restart does not enable it
	b.publish(evs[1])
	if d := tr.statusOf(b.ctx, "a").Disabled; d == nil || d.Reason != "status 410 Gone" {
		t.Fatalf("after a restart: %+v", d)
	}
	tr.eventually("both events to wait, for whoever looks at the process itself", func() bool {
		served := tr.Served()
		return len(served) == 1 && served[0].Backlog+uint64(served[0].Waiting) == 2
	})
	if was, err := tr.Enable(b.ctx, "a"); err != nil || was == nil || was.Reason != "status 410 Gone" {
		t.Fatalf("enabled: %+v, %v; want what was lifted", was, err)
	}
	if was, err := tr.Enable(b.ctx, "a"); err != nil || was != nil {
		t.Errorf("enabled again: %+v, %v; want nothing that was lifted", was, err)
	}
	r.untilAccepted(t, evs[:2]...)
	if n := r.count(); n != 3 {
		t.Errorf("%d requests, want 3: the one that was gone, and one for each event", n)
	}

	write(t, tr.Path, "endpoints:\n"+endpointYAML("a", r.URL, "concurrency: 1", "headers: {X-Version: '2'}"))
	b.publish(evs[2])
	tr.eventually("disabled again", func() bool { return tr.statusOf(b.ctx, "a").Disabled != nil })
	write(t, tr.Path, "endpoints:\n"+endpointYAML("a", r.URL, "concurrency: 1", "headers: {X-Version: '3'}"))
	r.untilAccepted(t, evs...)
	if d := tr.statusOf(b.ctx, "a").Disabled; d != nil {
		t.Errorf("still disabled after the entry changed: %+v", d)
	}
}

func TestRetryAfterHoldsTheWholeEndpointBack(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			var asked, next time.Time
			var r *receiver
			r = newReceiver(t, func(w http.ResponseWriter, got received) {
				switch r.count() {
				case 1:
					asked = time.Now()
					w.Header().Set("Retry-After", "86400") // capped
					w.WriteHeader(http.StatusTooManyRequests)
					return
				case 2:
					next = time.Now()
				}
				accept(w, got)
			})
			tr := newTrial(t, b, endpointYAML("a", r.URL, "concurrency: 1", "ordered: "+ordered))
			tr.MaxRetryAfter = wait
			tr.start(b)
			evs := starts(20)
			b.publish(evs...)
			r.untilAccepted(t, evs...)
			if d := next.Sub(asked); d < wait-10*time.Millisecond { // clocks are read on both sides
				t.Errorf("the next request came after %s, want at least %s", d, wait)
			}
		})
	}
}

func TestRateLimitIsKept(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL, "rate_limit: 100"))
	tr.start(b)
	began := time.Now()
	evs := starts(31)
	b.publish(evs...)
	r.untilAccepted(t, evs...)
	if d := time.Since(began); d < 290*time.Millisecond {
		t.Errorf("31 requests at 100/s took %s", d)
	}
}

func TestNewEndpointStartsWithTheNextEvent(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	one, two := newReceiver(t, accept), newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("one", one.URL))
	tr.start(b)
	evs := starts(4)
	b.publish(evs[0])
	one.untilAccepted(t, evs[0])
	write(t, tr.Path, "endpoints:\n"+endpointYAML("one", one.URL)+endpointYAML("two", two.URL))
	tr.eventually("the new endpoint", func() bool { return tr.statusOf(b.ctx, "two").Started })
	b.publish(evs[1])
	two.untilAccepted(t, evs[1])
	one.untilAccepted(t, evs[:2]...)

	// Away and back again, it goes on where it was.
	write(t, tr.Path, "endpoints:\n"+endpointYAML("one", one.URL))
	b.publish(evs[2])
	one.untilAccepted(t, evs[:3]...)
	write(t, tr.Path, "endpoints:\n"+endpointYAML("one", one.URL)+endpointYAML("two", two.URL))
	two.untilAccepted(t, evs[1:3]...)
	for _, got := range two.taken() {
		if got.id == evs[0].ID {
			t.Error("the new endpoint got an event from before it was added")
		}
	}

	if err := tr.Forget(b.ctx, "two"); err == nil {
		t.Error("forgot an endpoint that is in the file")
	}
	tr.stop()
	write(t, tr.Path, "endpoints:\n"+endpointYAML("one", one.URL))
	if err := tr.Forget(b.ctx, "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Consumer(b.ctx, events.DefaultStream, Durable("two")); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("consumer of a forgotten endpoint: %v", err)
	}
}

func TestRunRefusesABrokenFile(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, "  - nonsense: 1\n")
	if err := tr.Run(b.ctx); err == nil || !strings.Contains(err.Error(), tr.Path) {
		t.Errorf("Run: %v, want an error that names the file", err)
	}
	tr.Path += ".missing"
	if err := tr.Run(b.ctx); err == nil || !strings.Contains(err.Error(), tr.Path) {
		t.Errorf("Run: %v, want an error that names the file", err)
	}
}

// TestRunWaitsForJetStream: it runs beside the poller, which an absent NATS must
// not end.
func TestRunWaitsForJetStream(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t, &server.Options{DontListen: true})
	js := jetStreamOf(t, s)
	b := &broker{js: js, ctx: t.Context(), t: t}
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	dir := t.TempDir()
	enable := sync.OnceValue(func() error { // at the first wait, which is for JetStream
		if err := s.EnableJetStream(&server.JetStreamConfig{StoreDir: dir}); err != nil {
			return err
		}
		_, err := js.CreateStream(b.ctx, jetstream.StreamConfig{
			Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, Storage: jetstream.MemoryStorage,
		})
		return err
	})
	tr.Sleep = func(ctx context.Context, d time.Duration) error {
		if err := enable(); err != nil {
			t.Errorf("enabling JetStream: %v", err)
		}
		return sleep(ctx, d)
	}
	tr.start(b)
	e := sample(events.Started, "s", 1)
	b.publish(e)
	r.untilAccepted(t, e)
}

// TestLogTellsWhenAnEndpointFails: and when it answers again; once each, and not
// the first failures, which mend themselves.
func TestLogTellsWhenAnEndpointFails(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var down atomic.Bool
	down.Store(true)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	log := &syncBuffer{}
	tr.Log = slog.New(slog.NewTextHandler(log, nil))
	tr.start(b)
	e := sample(events.Started, "s", 1)
	b.publish(e)
	tr.untilSeen("a", Failed, failingAfter+3)
	down.Store(false)
	r.untilAccepted(t, e)
	tr.eventually("the line of the answer", func() bool { return strings.Contains(log.String(), "answers again") })
	text := log.String()
	if n := strings.Count(text, "the endpoint fails"); n != 1 || !strings.Contains(text, "endpoint=a") || !strings.Contains(text, "502 Bad Gateway") {
		t.Errorf("%d lines of failure in\n%s", n, text)
	}
}

// TestUnreadableRecordIsToldOnce, and tried again by one goroutine, however often somebody
// writes it.
func TestUnreadableRecordIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, endpointYAML("a", "http://127.0.0.1:1/"))
	log := &syncBuffer{}
	tr.Log = slog.New(slog.NewTextHandler(log, nil))
	var asleep, slept atomic.Int64
	most := func() (n int64) {
		began := slept.Load()
		tr.eventually("200 waits", func() bool {
			n = max(n, asleep.Load())
			return slept.Load() >= began+200
		})
		return n
	}
	tr.Sleep = func(ctx context.Context, d time.Duration) error {
		asleep.Add(1)
		defer func() { asleep.Add(-1); slept.Add(1) }()
		return sleep(ctx, d)
	}
	tr.start(b)
	before := most()
	kv, err := b.js.KeyValue(b.ctx, DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := kv.PutString(b.ctx, disabledKey+"a", "rubbish"); err != nil {
			t.Fatal(err)
		}
	}
	tr.eventually("the warning", func() bool { return strings.Contains(log.String(), "cannot read whether") })
	if after := most(); after > before+2 {
		t.Errorf("%d goroutines wait for their turn, %d before", after, before)
	}
	if n := strings.Count(log.String(), "cannot read whether"); n != 1 {
		t.Errorf("%d lines of one fault:\n%s", n, log.String())
	}
}

func TestLogShowsNoSecretAndNoURL(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) { w.WriteHeader(http.StatusNotFound) })
	tr := newTrial(t, b, endpointYAML("a", r.URL+"/path-t0ken?key=t0ken", "headers: {Authorization: t0ken}"), endpointYAML("down", "http://127.0.0.1:1/path-t0ken", "max_retry: 1ms"))
	var log syncBuffer
	tr.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tr.start(b)
	b.publish(sample(events.Started, "s", 1))
	tr.untilSeen("a", Dead, 1)
	tr.untilSeen("down", Dead, 1)
	tr.stop()
	if out := log.String(); !strings.Contains(out, "dead letter") || strings.Contains(out, "t0ken") || strings.Contains(out, testKey) {
		t.Errorf("log:\n%s", out)
	}
}
