package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/publisher/embedded"
)

// patience bounds every wait of the tests; none takes nearly as long.
const patience = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// memory is an outbox in memory.
type memory struct {
	mu      sync.Mutex
	account string
	entries []Entry
	forgot  uint64 // entries up to here are no longer retained
	cursor  Cursor
	notes   map[string][]byte
	wake    chan struct{}
	moved   func() // called when the cursor moved
}

func newMemory(account string) *memory {
	return &memory{account: account, notes: map[string][]byte{}, wake: make(chan struct{}, 1), moved: func() {}}
}

// add appends n entries of several locations and kinds.
func (m *memory) add(n int) {
	m.mu.Lock()
	for range n {
		seq := uint64(len(m.entries) + 1)
		kind := events.Kinds()[seq%6]
		m.entries = append(m.entries, Entry{
			Seq:        seq,
			ID:         fmt.Sprintf("%s-%06d", m.account, seq),
			Account:    m.account,
			LocationID: fmt.Sprintf("loc%d", seq%7),
			Kind:       kind,
			Body:       []byte(strings.Repeat("x", 700)),
		})
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *memory) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make([]string, len(m.entries))
	for i := range ids {
		ids[i] = m.entries[i].ID
	}
	return ids
}

func (m *memory) Take(after uint64, n int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := min(max(after, m.forgot), uint64(len(m.entries)))
	to := min(from+uint64(n), uint64(len(m.entries)))
	return slices.Clone(m.entries[from:to]), nil
}

func (m *memory) Cursor() Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor
}

func (m *memory) Acked(c Cursor) error {
	defer m.moved() // after the lock is released
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.OutboxSeq < m.cursor.OutboxSeq || c.OutboxSeq > uint64(len(m.entries)) {
		return fmt.Errorf("cursor moves from %d to %d of %d", m.cursor.OutboxSeq, c.OutboxSeq, len(m.entries))
	}
	m.cursor = c
	return nil
}

func (m *memory) Rewind(seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq > m.cursor.OutboxSeq || seq < m.forgot {
		return fmt.Errorf("cursor moves back from %d to %d", m.cursor.OutboxSeq, seq)
	}
	m.cursor.OutboxSeq = seq
	return nil
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notes[key], nil
}

func (m *memory) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes[key] = value
	return nil
}

func (m *memory) Wake() <-chan struct{} { return m.wake }

// copied returns a store as a copy of the data directory would give it.
func (m *memory) copied() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemory(m.account)
	c.entries, c.forgot, c.cursor = slices.Clone(m.entries), m.forgot, m.cursor
	for k, v := range m.notes {
		c.notes[k] = v
	}
	return c
}

// watcher is an Observer that lets tests wait for what happens.
type watcher struct {
	mu      sync.Mutex
	changed chan struct{}
	sent    int
	healed  int
	lost    [][2]uint64
	errs    []error
}

func newWatcher() *watcher { return &watcher{changed: make(chan struct{})} }

func (w *watcher) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watcher) Published(b Batch) {
	w.note(func() { w.sent += len(b.Entries); w.healed += b.Healed })
}
func (w *watcher) Retrying(err error, _ time.Duration) {
	w.note(func() { w.errs = append(w.errs, err) })
}
func (w *watcher) Lost(from, to uint64) {
	w.note(func() { w.lost = append(w.lost, [2]uint64{from, to}) })
}

// until waits for a condition on w's fields.
func (w *watcher) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		changed, is := w.changed, ok()
		w.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Fatalf("waited for %s: %d sent, %d healed, errors %v", what, w.sent, w.healed, w.errs)
		}
	}
}

// broker is an embedded server that can be stopped and started again on the same
// address and directory.
type broker struct {
	t    testing.TB
	dir  string
	addr string
	sync time.Duration
	log  *slog.Logger // nil for none
	*embedded.Server
}

func startBroker(t testing.TB) *broker {
	// Not synced each time, for speed: the tests do not take the power away.
	b := &broker{t: t, dir: t.TempDir(), addr: "127.0.0.1:0", sync: time.Minute}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *broker) start() {
	b.t.Helper()
	e, err := embedded.Start(context.Background(), embedded.Settings{Dir: b.dir, Listen: b.addr, SyncInterval: b.sync, Log: cmp.Or(b.log, quiet())})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Server = e
	b.addr = strings.TrimPrefix(e.URL(), "nats://")
}

func (b *broker) stop() {
	if b.Server == nil {
		return
	}
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
	b.Server = nil
}

// connect returns a connection that reconnects quickly.
func connect(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	options, err := ConnectSettings{URL: url, Name: t.Name(), Log: quiet()}.options()
	if err != nil {
		t.Fatal(err)
	}
	options = append(options, nats.ReconnectWait(2*time.Millisecond), nats.ReconnectJitter(0, 0))
	nc, err := nats.Connect(url, options...)
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

const testStream = "TEST"

func ensure(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	ctx := testContext(t)
	for {
		_, err := EnsureStream(ctx, js, StreamSettings{Name: testStream, Duplicates: 100 * time.Millisecond})
		// The server may still be removing the files of one that was deleted.
		var refused *jetstream.APIError
		if err != nil && errors.As(err, &refused) && refused.ErrorCode == 10049 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

// testing publisher: short waits, small batches.
func newTestPublisher(js jetstream.JetStream, store *memory, way Way) (*Publisher, *watcher) {
	w := newWatcher()
	p := New(js, store)
	p.Account, p.Stream, p.Way = store.account, testStream, way
	p.MaxBatch = 16
	p.AckWait = 500 * time.Millisecond
	p.RetryFirst, p.RetryMax = time.Millisecond, 20*time.Millisecond
	p.Observer, p.Log = w, quiet()
	store.moved = func() { w.note(func() {}) }
	return p, w
}

// run runs p until the returned function stops it and returns its error.
func run(t testing.TB, p *Publisher) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return fmt.Errorf("Run does not return")
		}
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// stored returns the ids of an account's messages in the stream, in order.
func stored(t testing.TB, js jetstream.JetStream, account string) []string {
	t.Helper()
	ctx := testContext(t)
	stream, err := js.Stream(ctx, testStream)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	state := stream.CachedInfo().State
	prefix := new(events.Subjects).Prefix() + "." + account + "."
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			t.Fatalf("message %d: %v", seq, err)
		}
		if strings.HasPrefix(m.Subject, prefix) {
			ids = append(ids, m.Header.Get(nats.MsgIdHdr))
		}
	}
	return ids
}

// holdsExactly checks the guarantee: each event once, in order.
func holdsExactly(t testing.TB, js jetstream.JetStream, stores ...*memory) {
	t.Helper()
	for _, s := range stores {
		got, want := stored(t, js, s.account), s.ids()
		if slices.Equal(got, want) {
			continue
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("account %s: %d messages, want %d; they differ from place %d on:\ngot  %v\nwant %v", s.account, len(got), len(want), i,
					got[min(i, len(got)):min(i+5, len(got))], want[min(i, len(want)):min(i+5, len(want))])
			}
		}
	}
}

// everyWay is eachWay and Auto, which turns from one to another in a backlog.
func everyWay(t *testing.T, f func(t *testing.T, way Way)) {
	eachWay(t, f)
	t.Run("auto", func(t *testing.T) { f(t, Auto) })
}

// eachWay runs a test for each way to publish.
func eachWay(t *testing.T, f func(t *testing.T, way Way)) {
	for _, way := range []Way{Atomic, Chained, Fast} {
		t.Run(string(way), func(t *testing.T) { f(t, way) })
	}
}
