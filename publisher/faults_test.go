package publisher

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

func TestServerIsKilledAgainAndAgain(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		store := newMemory("a")
		p, w := newTestPublisher(js, store, way)
		run(t, p)
		total := 0
		for range 8 {
			store.add(150)
			total += 150
			before := 0
			w.note(func() { before = w.sent })
			w.until(t, "publishing to go on", func() bool { return w.sent > before || w.sent == total })
			b.stop()
			store.add(5)
			total += 5
			b.start()
		}
		w.until(t, "all to be sent", func() bool { return store.Cursor().OutboxSeq == uint64(total) })
		holdsExactly(t, js, store)
	})
}

// TestLostAnswers: the server stores what was sent, and the connection breaks
// before it says so.
func TestLostAnswers(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		through := startProxy(t, b.addr)
		store := newMemory("a")
		p, w := newTestPublisher(connect(t, through.url()), store, way)
		run(t, p)
		total := 0
		for _, n := range []int{1, 1, 40, 1, 100, 16, 17} {
			through.set(func() { through.swallow = true })
			store.add(n)
			total += n
			through.await(t)
			w.until(t, "all to be in the stream", func() bool { return store.Cursor().OutboxSeq == uint64(total) || p.State().OutboxSeq == uint64(total) })
		}
		holdsExactly(t, js, store)
	})
}

// TestOutageLongerThanTheDedupeWindow: an answer is lost, and by the time that
// the server can be reached again it has forgotten the message ids.
func TestOutageLongerThanTheDedupeWindow(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		through := startProxy(t, b.addr)
		store := newMemory("a")
		p, w := newTestPublisher(connect(t, through.url()), store, way)
		through.set(func() { through.swallow = true })
		store.add(10)
		run(t, p)
		through.await(t)
		through.set(func() { through.shut = true })
		through.cut()
		forgetIDs(t, js)
		store.add(10)
		through.set(func() { through.shut = false })
		w.until(t, "all to be in the stream", func() bool { return store.Cursor().OutboxSeq == 20 })
		holdsExactly(t, js, store)
	})
}

// TestLateMessagesAreRefused: what an earlier connection had on the way reaches
// the server after the same was sent again.
func TestLateMessagesAreRefused(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		for _, first := range []string{"the late ones come last", "the late ones come first"} {
			t.Run(first, func(t *testing.T) {
				b := startBroker(t)
				js := connect(t, b.URL())
				ensure(t, js)
				through := startProxy(t, b.addr)
				store := newMemory("a")
				p, w := newTestPublisher(connect(t, through.url()), store, way)
				run(t, p)
				store.add(10)
				w.until(t, "the first to be in the stream", func() bool { return store.Cursor().OutboxSeq == 10 })
				through.set(func() { through.holding = true })
				store.add(14)
				through.await(t)
				through.set(func() { through.holding = false })
				if first == "the late ones come first" {
					through.set(func() { through.shut = true })
					through.cut()
					through.release()
					through.set(func() { through.shut = false })
				} else {
					through.cut()
				}
				w.until(t, "all to be in the stream", func() bool { return store.Cursor().OutboxSeq == 24 })
				forgetIDs(t, js)
				through.release()
				store.add(3)
				w.until(t, "the rest to be in the stream", func() bool { return store.Cursor().OutboxSeq == 27 })
				holdsExactly(t, js, store)
			})
		}
	})
}

// TestLostTailIsSentAgain: the server loses power and with it what it had
// acknowledged and not synced: its directory is as it was some time before.
func TestLostTailIsSentAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		for _, c := range []struct {
			name    string
			forgot  uint64 // entries no longer retained in the outbox
			others  int    // messages of another account after the loss
			missing int
		}{
			{"all retained", 0, 0, 0},
			{"another account goes on first", 0, 60, 0},
			{"some no longer retained", 70, 0, 20},
			{"some no longer retained, another account goes on first", 70, 60, 20},
			{"none retained", 100, 0, 50},
		} {
			t.Run(c.name, func(t *testing.T) {
				b := startBroker(t)
				js := connect(t, b.URL())
				ensure(t, js)
				store, other := newMemory("a"), newMemory("b")
				p, w := newTestPublisher(js, store, way)
				store.add(50)
				drain(t, p)
				b.stop()
				kept := t.TempDir()
				if err := os.CopyFS(kept, os.DirFS(b.dir)); err != nil {
					t.Fatal(err)
				}
				b.start()
				store.add(50)
				drain(t, p)
				b.stop()
				restore(t, kept, b.dir)
				b.start()
				if c.others > 0 {
					other.add(c.others)
					q, _ := newTestPublisher(js, other, way)
					drain(t, q)
				}
				store.forgot = c.forgot
				store.add(5)
				drain(t, p)
				want := store.ids()
				want = slices.Delete(want, 50, 50+c.missing)
				if got := stored(t, js, "a"); !slices.Equal(got, want) {
					t.Errorf("%d events in the stream, want %d", len(got), len(want))
				}
				if w.healed != 50-c.missing || p.State().Healed != uint64(50-c.missing) {
					t.Errorf("%d healed, state says %d, want %d", w.healed, p.State().Healed, 50-c.missing)
				}
				var lost [][2]uint64
				if c.missing > 0 {
					lost = [][2]uint64{{51, uint64(50 + c.missing)}}
				}
				if !slices.Equal(w.lost, lost) || p.State().Lost != uint64(c.missing) {
					t.Errorf("lost %v, state says %d, want %v", w.lost, p.State().Lost, lost)
				}
				// Nothing is left to be healed by another process.
				again, w2 := newTestPublisher(js, store, way)
				store.add(1)
				drain(t, again)
				if w2.sent != 1 || w2.healed != 0 {
					t.Errorf("the next process sent %d", w2.sent)
				}
			})
		}
	})
}

// TestAcknowledgedEventsAreNotSentAgain when somebody purged or made the stream
// anew, or deleted messages: that was meant.
func TestAcknowledgedEventsAreNotSentAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, js jetstream.JetStream)
		left int
	}{
		{"purged", func(t *testing.T, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), testStream)
			if err == nil {
				err = s.Purge(testContext(t))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"last message deleted", func(t *testing.T, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), testStream)
			if err == nil {
				err = s.DeleteMsg(testContext(t), 20)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, 19},
		{"made anew", func(t *testing.T, js jetstream.JetStream) {
			if err := js.DeleteStream(testContext(t), testStream); err != nil {
				t.Fatal(err)
			}
			ensure(t, js)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, way Way) {
				js := connect(t, startBroker(t).URL())
				ensure(t, js)
				store := newMemory("a")
				p, w := newTestPublisher(js, store, way)
				store.add(20)
				drain(t, p)
				c.do(t, js)
				store.add(30)
				drain(t, p)
				store.add(1)
				drain(t, p)
				if w.sent != 51 || w.healed != 0 || store.Cursor().OutboxSeq != 51 {
					t.Errorf("sent %d, healed %d, cursor %+v", w.sent, w.healed, store.Cursor())
				}
				state := streamState(t, js)
				if state.Msgs != uint64(c.left+31) {
					t.Errorf("%d messages, want %d", state.Msgs, c.left+31)
				}
			})
		})
	}
}

func TestMissingStreamIsWaitedFor(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ensure(t, js)
		store := newMemory("a")
		p, w := newTestPublisher(js, store, way)
		run(t, p)
		store.add(5)
		w.until(t, "the first to be sent", func() bool { return w.sent == 5 })
		if err := js.DeleteStream(testContext(t), testStream); err != nil {
			t.Fatal(err)
		}
		store.add(5)
		w.until(t, "the missing stream to be noticed", func() bool {
			return len(w.errs) > 1 && errors.Is(w.errs[len(w.errs)-1], ErrStreamMissing) && p.State().Lasting
		})
		ensure(t, js)
		w.until(t, "the rest to be sent", func() bool { return w.sent == 10 })
		if s := p.State(); s.Err != nil || s.Lasting {
			t.Errorf("state %+v", s)
		}
	})
}

func TestTooLargeEventIsNamedAndNothingIsLost(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		js := connect(t, startBroker(t).URL())
		ensure(t, js)
		store := newMemory("a")
		store.add(9)
		small := store.entries[6].Body
		store.entries[6].Body = make([]byte, 1<<20)
		p, w := newTestPublisher(js, store, way)
		run(t, p)
		w.until(t, "the event to be refused", func() bool {
			return len(w.errs) > 1 && errors.Is(w.errs[len(w.errs)-1], ErrTooLarge)
		})
		if got := stored(t, js, "a"); !slices.Equal(got, store.ids()[:6]) || store.Cursor().OutboxSeq != 6 {
			t.Errorf("before it are %v, cursor %+v", got, store.Cursor())
		}
		store.mu.Lock()
		store.entries[6].Body = small
		store.mu.Unlock()
		w.until(t, "the rest to be sent", func() bool { return w.sent == 9 })
		holdsExactly(t, js, store)
	})
}

// forgetIDs waits until the server has forgotten the message ids of before.
func forgetIDs(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	id := jetstream.WithMsgID(rand.Text())
	for first := true; ; first = false {
		// An id that came later is forgotten later.
		ack, err := js.Publish(testContext(t), "guest.sessions.probe.x.started", nil, id)
		if err != nil {
			t.Fatal(err)
		}
		if !first && !ack.Duplicate {
			return
		}
	}
}

func drain(t *testing.T, p *Publisher) {
	t.Helper()
	if err := p.Drain(testContext(t)); err != nil {
		t.Fatal(err, p.State())
	}
}

func restore(t *testing.T, from, to string) {
	t.Helper()
	err := os.RemoveAll(to)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func streamState(t *testing.T, js jetstream.JetStream) jetstream.StreamState {
	t.Helper()
	s, err := js.Stream(testContext(t), testStream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// TestStreamThatTakesNoMoreFastBatchesGetsTheChain: each batch of which a message was not
// stored counts as one under way for as long as the server runs, so that the limit of
// them may stay reached.
func TestStreamThatTakesNoMoreFastBatchesGetsTheChain(t *testing.T) {
	server := natstest.Run(t, &server.Options{JetStream: true, JetStreamLimits: server.JSLimitOpts{MaxBatchInflightPerStream: 1}})
	js := connect(t, server.ClientURL())
	if _, err := js.CreateStream(testContext(t), jetstream.StreamConfig{Name: testStream, Subjects: []string{"guest.sessions.*.*.*"}, AllowBatchPublish: true}); err != nil {
		t.Fatal(err)
	}
	for i, operation := range []int{fastStart, fastCommit} {
		m := nats.NewMsg("guest.sessions.another.x.started")
		m.Reply = fmt.Sprintf("nobody.left.%d.fail.%d.%d.$FI", fastFlow, i+1, operation)
		if i > 0 {
			m.Header.Set(jetstream.ExpectedLastMsgIDHeader, "of nobody")
		}
		if err := js.Conn().PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []Way{Fast, Auto} {
		t.Run("way "+string(way), func(t *testing.T) {
			store := newMemory("a" + string(way))
			store.add(40)
			p, _ := newTestPublisher(js, store, way)
			if err := p.Drain(testContext(t)); err != nil {
				t.Fatalf("%v: %v", err, p.State().Err)
			}
			holdsExactly(t, js, store)
			if way := p.State().Way; way != Chained {
				t.Errorf("the way was %s", way)
			}
		})
	}
}
