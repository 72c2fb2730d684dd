package publisher

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// lines is a log handler that keeps messages and values.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.Value.String(); return true })
	l.list = append(l.list, line)
	return nil
}

// count returns how many lines begin with a text and hold the part.
func (l *lines) count(text, part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.list {
		if strings.HasPrefix(line, text) && strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// TestStreamThatTakesNothingIsSaidOnce: a line when it begins, one when events really
// go again, and the remedy in the state for as long.
func TestStreamThatTakesNothingIsSaidOnce(t *testing.T) {
	edit := func(change func(*jetstream.StreamConfig)) func(t *testing.T, js jetstream.JetStream) {
		return func(t *testing.T, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), testStream)
			if err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			change(&config)
			if _, err := js.UpdateStream(testContext(t), config); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name        string
		break_, fix func(t *testing.T, js jetstream.JetStream)
		want        error
		remedy      string
		left        int // events before, that are still there at the end
	}{
		{
			"full by bytes",
			edit(func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 100_000, jetstream.DiscardNew }),
			edit(func(c *jetstream.StreamConfig) { c.MaxBytes = -1 }),
			ErrStreamFull, "--max-bytes", 5,
		},
		{
			"full by number",
			edit(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 5, jetstream.DiscardNew }),
			edit(func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld; c.MaxMsgs = -1 }),
			ErrStreamFull, "--discard=old", 5,
		},
		{
			"sealed",
			edit(func(c *jetstream.StreamConfig) { c.Sealed = true }),
			func(t *testing.T, js jetstream.JetStream) {
				if err := js.DeleteStream(testContext(t), testStream); err != nil {
					t.Fatal(err)
				}
				ensure(t, js)
			},
			ErrStreamSealed, "nats stream rm " + testStream, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, way Way) {
				js := connect(t, startBroker(t).URL())
				ensure(t, js)
				store := newMemory("a")
				p, w := newTestPublisher(js, store, way)
				log := &lines{}
				p.Log = slog.New(log)
				run(t, p)
				store.add(5)
				w.until(t, "the first to be sent", func() bool { return w.sent == 5 })
				c.break_(t, js)
				store.add(400) // more than 100,000 bytes
				var s State
				w.until(t, "many refusals", func() bool { s = p.State(); return len(w.errs) > 12 && errors.Is(s.Err, c.want) })
				if !s.Lasting || !errors.Is(s.Err, c.want) || !strings.Contains(s.Err.Error(), c.remedy) || s.ErrAt.IsZero() {
					t.Errorf("state while nothing goes: %+v", s)
				}
				if n := log.count("publishing is held up", c.remedy); n != 1 {
					t.Errorf("%d lines say that publishing is held up: %q", n, log.list)
				}
				if n := log.count("publishing goes on", ""); n != 0 {
					t.Errorf("%d lines say that publishing goes on", n)
				}
				c.fix(t, js)
				w.until(t, "the rest to be sent", func() bool { return store.Cursor().OutboxSeq == 405 })
				w.until(t, "the state to be good", func() bool { return p.State().Err == nil })
				if n := log.count("publishing goes on", ""); n != 1 {
					t.Errorf("%d lines say that publishing goes on", n)
				}
				got, want := stored(t, js, "a"), store.ids()
				if c.left == 0 {
					want = want[5:]
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d events, want %d", len(got), len(want))
				}
			})
		})
	}
}

// TestDeletedStreamIsMadeAgain and holds what the outbox still keeps, sent before or
// not, once and in order.
func TestDeletedStreamIsMadeAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		forgot uint64 // entries that the outbox no longer keeps
	}{{"all is kept", 0}, {"some is kept", 7}, {"nothing sent is kept", 20}} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, way Way) {
				b := startBroker(t)
				js := connect(t, b.URL())
				ensure(t, js)
				store, other := newMemory("a"), newMemory("b")
				log := &lines{}
				makes := 0
				publisher := func(s *memory) (*Publisher, *watcher) {
					p, w := newTestPublisher(connect(t, b.URL()), s, way)
					p.Log = slog.New(log)
					p.Make = func(ctx context.Context) error {
						makes++
						_, err := EnsureStream(ctx, js, StreamSettings{Name: testStream, Again: true})
						return err
					}
					return p, w
				}
				store.add(20)
				p, w := publisher(store)
				drain(t, p)
				other.add(20)
				q, _ := publisher(other)
				drain(t, q)
				if err := js.DeleteStream(testContext(t), testStream); err != nil {
					t.Fatal(err)
				}
				store.forgot, other.forgot = c.forgot, c.forgot
				store.add(30)
				drain(t, p)
				want := store.ids()[c.forgot:]
				if got := stored(t, js, "a"); !slices.Equal(got, want) {
					t.Errorf("the stream made again holds %d, want %d: %v", len(got), len(want), got)
				}
				if w.healed != 20-int(c.forgot) || p.State().Err != nil || makes < 1 {
					t.Errorf("%d healed, made %d times, state %+v", w.healed, makes, p.State())
				}
				if n := log.count("the stream was deleted", ""); n != 1 {
					t.Errorf("%d lines say what was lost: %q", n, log.list)
				}
				// Another account of the stream, which was idle meanwhile, and the
				// next process of this one.
				other.add(3)
				drain(t, q)
				if got := stored(t, js, "b"); !slices.Equal(got, other.ids()[c.forgot:]) {
					t.Errorf("the stream holds %d of the other account, want %d", len(got), 23-c.forgot)
				}
				again, w2 := publisher(store)
				store.add(1)
				drain(t, again)
				if w2.sent != 1 || w2.healed != 0 {
					t.Errorf("the next process sent %d", w2.sent)
				}
			})
		})
	}
}

// TestDeletedStreamThatCannotBeMadeIsSaid, as where another stream took its
// subjects meanwhile.
func TestDeletedStreamThatCannotBeMadeIsSaid(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ensure(t, js)
	store := newMemory("a")
	p, w := newTestPublisher(js, store, Auto)
	p.Make = func(ctx context.Context) error {
		_, err := EnsureStream(ctx, js, StreamSettings{Name: testStream, Again: true})
		return err
	}
	run(t, p)
	store.add(5)
	w.until(t, "the first to be sent", func() bool { return w.sent == 5 })
	if err := js.DeleteStream(testContext(t), testStream); err != nil {
		t.Fatal(err)
	}
	taken, err := js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"guest.>"}})
	if err != nil {
		t.Fatal(err)
	}
	store.add(5)
	w.until(t, "the cause to be told", func() bool {
		err := p.State().Err
		return err != nil && errors.Is(err, ErrStreamMissing) && strings.Contains(err.Error(), "GUESTFLOW_SUBJECT_PREFIX") && p.State().Lasting
	})
	if err := js.DeleteStream(testContext(t), taken.CachedInfo().Config.Name); err != nil {
		t.Fatal(err)
	}
	w.until(t, "all to be sent", func() bool { return store.Cursor().OutboxSeq == 10 && p.State().Err == nil })
	if got := stored(t, js, "a"); !slices.Equal(got, store.ids()) {
		t.Errorf("%d events, want 10", len(got))
	}
}
