package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// patience is how long a test waits for what must happen. Nothing takes that
// long unless it is broken.
const patience = time.Minute

// sample is an event of account acme at location hotel-1.
func sample(k events.Kind, session string, revision int64) events.Event {
	at := time.Date(2026, 5, 1, 12, 0, int(revision), 0, time.UTC)
	e := events.Event{
		Account: "acme", Kind: k, Time: at,
		Data: events.Data{
			Revision: revision,
			Session:  events.Session{ID: session, LocationID: "hotel-1", Online: k != events.Ended, StartedAt: at},
			Observed: events.Observed{At: at},
		},
	}
	if k == events.Traffic {
		e.Data.Session.Downloaded.Value = revision * 1000
		e.Data.Change = &events.Change{DownloadedBytes: 1000}
	}
	return e.Sealed()
}

// broker is an embedded NATS server with the stream of events.
type broker struct {
	js  jetstream.JetStream
	ctx context.Context
	t   testing.TB
}

// jetStreamOf connects to a server of this process for the time of the test.
func jetStreamOf(t testing.TB, s *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	js := jetStreamOf(t, natstest.Run(t, &server.Options{JetStream: true, DontListen: true}))
	b := &broker{js: js, ctx: t.Context(), t: t}
	b.makeStream()
	return b
}

func (b *broker) makeStream() {
	b.t.Helper()
	if _, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, Storage: jetstream.MemoryStorage,
	}); err != nil {
		b.t.Fatal(err)
	}
}

// remakeStream deletes the stream of sessions, and makes it anew.
func (b *broker) remakeStream() {
	b.t.Helper()
	if err := b.js.DeleteStream(b.ctx, events.DefaultStream); err != nil {
		b.t.Fatal(err)
	}
	b.makeStream()
}

func (b *broker) publish(evs ...events.Event) {
	b.t.Helper()
	for _, e := range evs {
		body, err := events.Encode(e)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.js.Publish(b.ctx, events.Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// tries counts the keys of the bucket that hold counts of tries.
func (b *broker) tries() int {
	b.t.Helper()
	s, err := b.js.Stream(b.ctx, "KV_"+DefaultBucket)
	if err != nil {
		b.t.Fatal(err)
	}
	info, err := s.Info(b.ctx, jetstream.WithSubjectFilter("$KV."+DefaultBucket+"."+triesKey+">"))
	if err != nil {
		b.t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// received is one request at a receiver.
type received struct {
	id, kind, session string
	header            http.Header
	body              []byte
	gone              <-chan struct{} // closed when the sender hangs up
}

// syncBuffer is a log's writer.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// receiver is an HTTP endpoint that verifies every request and keeps those that
// it accepted. answer may be replaced before the first request.
type receiver struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r received)
	// ownTime leaves the time of a request out of its verification, for a sender whose
	// clock is the test's.
	ownTime bool

	mu       sync.Mutex
	changed  chan struct{} // closed at each change
	requests []received
	accepted []received
}

func accept(w http.ResponseWriter, _ received) { w.WriteHeader(http.StatusNoContent) }

func newReceiver(t testing.TB, answer func(http.ResponseWriter, received)) *receiver {
	t.Helper()
	r := &receiver{answer: answer, changed: make(chan struct{})}
	r.Server = httptest.NewServer(r.handler(t))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) handler(t testing.TB) http.Handler {
	wh, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender went away
		}
		verify := wh.Verify
		if r.ownTime {
			verify = wh.VerifyIgnoringTimestamp
		}
		if err := verify(body, req.Header); err != nil {
			t.Errorf("request does not verify: %v", err)
		}
		got := received{id: req.Header.Get(standardwebhooks.HeaderWebhookID), header: req.Header, body: body, gone: req.Context().Done()}
		if ev, err := events.Decode(body); err == nil {
			got.kind, got.session = string(ev.Kind), ev.Data.Session.ID
			if ev.ID != got.id {
				t.Errorf("webhook-id %s for event %s", got.id, ev.ID)
			}
		}
		r.mu.Lock()
		r.requests = append(r.requests, got)
		r.announce()
		r.mu.Unlock()
		s := &statusWriter{ResponseWriter: w}
		r.answer(s, got)
		r.mu.Lock()
		if s.status >= 200 && s.status < 300 {
			r.accepted = append(r.accepted, got)
		}
		r.announce()
		r.mu.Unlock()
	})
}

func (r *receiver) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// asked returns the requests that have come in, taken those that were accepted. More
// may come at any time: a sender on a busy machine repeats what timed out.
func (r *receiver) asked() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

func (r *receiver) taken() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.accepted)
}

// count returns how many requests have come in.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

func (r *receiver) untilRequests(t testing.TB, n int) {
	t.Helper()
	r.until(t, fmt.Sprintf("%d requests", n), func(requests, _ []received) bool { return len(requests) >= n })
}

// kill ends the receiver in the middle of whatever it does; revive starts it
// again on the same port.
func (r *receiver) kill() {
	r.CloseClientConnections()
	r.Config.Close()
}

func (r *receiver) revive(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := &http.Server{Handler: r.Config.Handler, ReadHeaderTimeout: patience}
	t.Cleanup(func() { again.Close() })
	go again.Serve(l) //nolint:errcheck // ends with Close
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(code int) { s.status = code; s.ResponseWriter.WriteHeader(code) }

func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// until waits until the condition holds on what was requested and accepted.
func (r *receiver) until(t testing.TB, what string, ok func(requests, accepted []received) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		done, changed := ok(r.requests, r.accepted), r.changed
		summary := fmt.Sprintf("%d requests, %d accepted", len(r.requests), len(r.accepted))
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited in vain for %s; %s", what, summary)
		}
	}
}

// untilAccepted waits until every one of the events was accepted at least once.
func (r *receiver) untilAccepted(t testing.TB, evs ...events.Event) {
	t.Helper()
	r.until(t, fmt.Sprintf("%d events", len(evs)), func(_, accepted []received) bool {
		have := map[string]bool{}
		for _, a := range accepted {
			have[a.id] = true
		}
		for _, e := range evs {
			if !have[e.ID] {
				return false
			}
		}
		return true
	})
}

// endpointYAML is one entry of a file; more is further lines, "key: value". Its
// time-out keeps AckWait, which grows with it, well below patience: on a busy
// machine an event that was returned with a delay of milliseconds now and then
// comes again only after AckWait.
func endpointYAML(name, url string, more ...string) string {
	if !slices.ContainsFunc(more, func(line string) bool { return strings.HasPrefix(line, "timeout:") }) {
		more = append(slices.Clone(more), "timeout: 3s")
	}
	lines := append([]string{"  - name: " + name, "url: " + url, "secrets: [" + testSecret + "]", "allow_private: true"}, more...)
	return strings.Join(lines, "\n    ") + "\n"
}

// trial is a dispatcher with waits of milliseconds, and what it observed.
type trial struct {
	*Dispatcher
	t    testing.TB
	stop func()

	mu      sync.Mutex
	changed chan struct{}
	seen    []Observation
}

func newTrial(t testing.TB, b *broker, endpoints ...string) *trial {
	t.Helper()
	path := filepath.Join(t.TempDir(), "endpoints.yaml")
	write(t, path, "endpoints:\n"+strings.Join(endpoints, ""))
	tr := &trial{t: t, changed: make(chan struct{})}
	tr.Dispatcher = &Dispatcher{
		JetStream: b.js, Path: path,
		Backoff: Backoff{Min: 2 * time.Millisecond, Max: 20 * time.Millisecond}, Recheck: 50 * time.Millisecond,
		ReloadEvery: 5 * time.Millisecond, StopGrace: patience, AckWait: 100 * time.Millisecond, fetchWait: 30 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler),
		Observe: func(o Observation) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.seen = append(tr.seen, o)
			close(tr.changed)
			tr.changed = make(chan struct{})
		},
	}
	return tr
}

// start runs the dispatcher until the test ends or stop is called, and returns
// when every endpoint of the file has its place in the stream.
func (tr *trial) start(b *broker) {
	tr.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	tr.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tr.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			tr.t.Error("Run does not end")
		}
	})
	tr.t.Cleanup(tr.stop)
	tr.eventually("consumers", func() bool {
		status, err := tr.Status(b.ctx)
		if err != nil {
			return false
		}
		for _, s := range status {
			if !s.Started && s.Disabled == nil {
				return false
			}
		}
		return true
	})
}

// eventually asks until ok, with a short breath in between: for states of the
// server, which nothing announces.
func (tr *trial) eventually(what string, ok func() bool) {
	tr.t.Helper()
	breath := time.NewTicker(2 * time.Millisecond)
	defer breath.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-breath.C:
		case <-timeout:
			tr.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// untilSeen waits for n tries of an endpoint with that result.
func (tr *trial) untilSeen(endpoint string, result Result, n int) {
	tr.t.Helper()
	timeout := time.After(patience)
	for {
		tr.mu.Lock()
		have, changed := 0, tr.changed
		for _, o := range tr.seen {
			if o.Endpoint == endpoint && o.Result == result {
				have++
			}
		}
		tr.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			tr.t.Fatalf("waited in vain for %d × %s at %s, have %d", n, result, endpoint, have)
		}
	}
}

func (tr *trial) statusOf(ctx context.Context, name string) EndpointStatus {
	tr.t.Helper()
	all, err := tr.Status(ctx)
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	tr.t.Fatalf("no status of %s", name)
	return EndpointStatus{}
}
