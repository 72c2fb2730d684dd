package publisher

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestEachEventOnceAndInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ensure(t, js)
		store := newMemory("a")
		p, w := newTestPublisher(js, store, way)
		store.add(1) // a single message, then batches of every size
		stop := run(t, p)
		total := 1
		for n := range 40 {
			store.add(n)
			total += n
			if n%3 == 0 {
				w.until(t, "all to be sent", func() bool { return w.sent == total })
			}
		}
		w.until(t, "all to be sent", func() bool { return w.sent == total })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		holdsExactly(t, js, store)
		if c := store.Cursor(); c.OutboxSeq != uint64(total) || c.StreamSeq != uint64(total) {
			t.Errorf("cursor %+v, want %d", c, total)
		}
		if s := p.State(); !s.Connected || !s.Settled || s.Way != way || s.Err != nil || s.InFlight != 0 || s.Published != uint64(total) || s.OutboxSeq != uint64(total) {
			t.Errorf("state %+v", s)
		}
	})
}

func TestDrainSendsAllAndReturns(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ensure(t, js)
		store := newMemory("a")
		store.add(333)
		p, _ := newTestPublisher(js, store, way)
		if err := p.Drain(testContext(t)); err != nil {
			t.Fatal(err)
		}
		holdsExactly(t, js, store)
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	b := startBroker(t)
	js := connect(t, b.URL())
	ensure(t, js)
	b.stop()
	store := newMemory("a")
	store.add(3)
	p, w := newTestPublisher(js, store, Auto)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Drain(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v", err)
	}
	if w.sent != 0 || store.Cursor().OutboxSeq != 0 {
		t.Error("something was sent to a server that is down")
	}
}

func TestTwoAccountsShareAStream(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		one, two := newMemory("one"), newMemory("two")
		p1, w1 := newTestPublisher(js, one, way)
		p2, w2 := newTestPublisher(connect(t, b.URL()), two, way)
		run(t, p1)
		run(t, p2)
		for range 30 {
			one.add(10)
			two.add(7)
		}
		w1.until(t, "account one", func() bool { return w1.sent == 300 })
		w2.until(t, "account two", func() bool { return w2.sent == 210 })
		holdsExactly(t, js, one, two)
	})
}

func TestSecondWriterIsFenced(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		store := newMemory("a")
		store.add(20)
		p, _ := newTestPublisher(js, store, way)
		if err := p.Drain(testContext(t)); err != nil {
			t.Fatal(err)
		}

		t.Run("with a copy of the store", func(t *testing.T) {
			copied := store.copied()
			for i := range 5 { // its events are others
				copied.add(1)
				copied.entries[20+i].ID = "copy-" + copied.entries[20+i].ID
			}
			store.add(5)
			if err := p.Drain(testContext(t)); err != nil {
				t.Fatal(err)
			}
			q, _ := newTestPublisher(connect(t, b.URL()), copied, way)
			if err := q.Run(testContext(t)); !errors.Is(err, ErrFenced) {
				t.Fatalf("the copy: %v", err)
			}
			holdsExactly(t, js, store)
		})

		t.Run("with an older copy of the store", func(t *testing.T) {
			copied := store.copied()
			store.add(5)
			if err := p.Drain(testContext(t)); err != nil {
				t.Fatal(err)
			}
			q, _ := newTestPublisher(connect(t, b.URL()), copied, way)
			if err := q.Run(testContext(t)); !errors.Is(err, ErrFenced) {
				t.Fatalf("the copy: %v", err)
			}
			holdsExactly(t, js, store)
		})

		t.Run("after a new store took over", func(t *testing.T) {
			done := make(chan error, 1)
			go func() { done <- p.Run(testContext(t)) }()
			fresh := newMemory("a")
			fresh.add(30)
			for i := range fresh.entries {
				fresh.entries[i].ID = "fresh-" + fresh.entries[i].ID
			}
			q, _ := newTestPublisher(connect(t, b.URL()), fresh, way)
			if err := q.Drain(testContext(t)); err != nil {
				t.Fatal(err)
			}
			store.add(3)
			// Run may have looked at the stream before, amid or after the other's 30.
			var fenced *FencedError
			if err := <-done; !errors.As(err, &fenced) || fenced.Sequence <= 30 || fenced.Sequence > 60 || fenced.Account != "a" || fenced.Writer == fenced.Own {
				t.Fatalf("the former owner: %v", err)
			}
			if !errors.Is(p.State().Err, ErrFenced) {
				t.Errorf("state: %v", p.State().Err)
			}
			if got := stored(t, js, "a"); len(got) != 60 || got[59] != fresh.ids()[29] {
				t.Errorf("%d messages, last %s", len(got), got[len(got)-1])
			}
		})
	})
}

// TestBehind: a store knows whether others have published since it did, before it publishes.
func TestBehind(t *testing.T) {
	js := connect(t, startBroker(t).URL())
	ensure(t, js)
	behind := func(m *memory, want bool) {
		t.Helper()
		p, _ := newTestPublisher(js, m, Auto)
		if got, err := p.Behind(testContext(t)); err != nil || got != want {
			t.Errorf("behind: %v, %v, want %v", got, err, want)
		}
	}
	publish := func(m *memory) {
		t.Helper()
		p, _ := newTestPublisher(js, m, Auto)
		m.add(3)
		if err := p.Drain(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	one, other := newMemory("a"), newMemory("a")
	behind(one, false) // nobody has published
	publish(one)
	behind(one, false)
	behind(other, true) // it knows nothing
	behind(newMemory("b"), false)
	older := one.copied()
	publish(one)
	behind(older, false) // the same outbox: its last answers were lost
	for i := range 3 {
		other.add(1)
		other.entries[i].ID = "other-" + other.entries[i].ID
	}
	publish(other)
	behind(one, true)
	behind(other, false)
	// Somebody's `nats pub` hides nothing of what is before it.
	if _, err := js.Publish(testContext(t), "guest.sessions.a.x.started", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	behind(newMemory("a"), true)
	behind(one, true)
	behind(other, false)
}

// TestStrayMessageDoesNotStop: somebody tries `nats pub` on the account's subjects.
func TestStrayMessageDoesNotStop(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ensure(t, js)
		store := newMemory("a")
		store.add(20)
		p, _ := newTestPublisher(js, store, way)
		for range 3 {
			if err := p.Drain(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(testContext(t), "guest.sessions.a.x.started", []byte("hello"), jetstream.WithMsgID("stray")); err != nil {
				t.Fatal(err)
			}
			store.add(20)
		}
		if err := p.Drain(testContext(t)); err != nil {
			t.Fatal(err)
		}
		got, strays := []string{}, 0
		for _, id := range stored(t, js, "a") {
			if id == "stray" {
				strays++
			} else {
				got = append(got, id)
			}
		}
		if want := store.ids(); len(got) != len(want) || got[len(got)-1] != want[len(want)-1] || strays == 0 {
			t.Errorf("%d events and %d strays, want %d", len(got), strays, len(want))
		}
	})
}

// TestEventsOfAnEarlierDataDirectoryAreSkipped: a new store finds the same
// changes again, while the server still knows their ids.
func TestEventsOfAnEarlierDataDirectoryAreSkipped(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		if _, err := EnsureStream(testContext(t), js, StreamSettings{Name: testStream}); err != nil {
			t.Fatal(err)
		}
		before, after := newMemory("a"), newMemory("a")
		before.add(5)
		after.add(12)
		for _, s := range []*memory{before, after} {
			p, _ := newTestPublisher(js, s, way)
			if err := p.Drain(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		holdsExactly(t, js, after)
		after.add(4)
		p, _ := newTestPublisher(js, after, way)
		if err := p.Drain(testContext(t)); err != nil {
			t.Fatal(err)
		}
		holdsExactly(t, js, after)
	})
}
