package occupancy

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// startServer runs a NATS server with its files in dir.
func startServer(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	return natstest.Run(t, &server.Options{ServerName: "test", Port: port, JetStream: true, StoreDir: dir})
}

func connect(t testing.TB, ns *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(ns.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
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

func makeStream(t testing.TB, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// publish sends events as a publisher does, and gives them the sequences and
// times that the stream gave.
func publish(t testing.TB, js jetstream.JetStream, list ...Message) {
	t.Helper()
	waits := make([]jetstream.PubAckFuture, len(list))
	for i := range list {
		e := list[i].Event
		msg := &nats.Msg{Subject: events.Subjects{}.Of(e), Data: encoded(t, e), Header: nats.Header{}}
		msg.Header.Set(jetstream.MsgIDHeader, e.ID)
		var err error
		if waits[i], err = js.PublishMsgAsync(msg); err != nil {
			t.Fatal(err)
		}
	}
	for i, w := range waits {
		select {
		case ack := <-w.Ok():
			list[i].Sequence = ack.Sequence
		case err := <-w.Err():
			t.Fatal(err)
		case <-time.After(60 * time.Second):
			t.Fatal("no ack from JetStream")
		}
	}
}

// quickSettings let a test see every change soon.
func quickSettings() Settings {
	return Settings{
		WriteEvery: 10 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
}

// running starts a service; stop ends it and waits.
func running(t testing.TB, js jetstream.JetStream, settings Settings) (s *Service, stop func()) {
	t.Helper()
	s = New(settings)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, js) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(60 * time.Second):
			t.Error("Run does not end")
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// until waits for a condition, looking again whenever there may be news.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	deadline, look := time.After(60*time.Second), time.NewTicker(2*time.Millisecond)
	defer look.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-look.C:
		}
	}
}

func reaches(s *Service, sequence uint64) func() bool {
	return func() bool { st := s.Status(); return st.State == Live && st.Sequence >= sequence }
}

func get(t testing.TB, h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func decode[T any](t testing.TB, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

// golden compares got with the file, or writes it when UPDATE_GOLDEN is set.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(UPDATE_GOLDEN=1 writes it, when the change is meant)", path, got, want)
	}
}

func portOf(t testing.TB, address string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}
