package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// TestSessionsOfSeveralHandlersStayInOrder: handlers run at the same time, fail at
// random, and yet no event of a session overtakes another.
func TestSessionsOfSeveralHandlersStayInOrder(t *testing.T) {
	both(t, func(t *testing.T, c Consumer) {
		b := startBroker(t)
		js := b.JetStream()
		const sessions = 12
		var total int
		for i := range len(samples()) {
			for s := range sessions {
				e := samples()[i]
				e.Data.Session.ID = fmt.Sprint(s)
				publish(t, js, e.Sealed())
				total++
			}
		}
		c.From, c.MaxInFlight = FromStart(), 8
		var mu sync.Mutex
		states := map[string]events.State{}
		running, most := 0, 0
		enough := make(chan struct{})
		done := make(chan struct{}, total)
		r := run(t, c, js, func(_ context.Context, d Delivery) error {
			mu.Lock()
			running++
			most = max(most, running)
			if running == c.MaxInFlight {
				select {
				case <-enough:
				default:
					close(enough)
				}
			}
			mu.Unlock()
			defer func() {
				mu.Lock()
				running--
				mu.Unlock()
			}()
			<-enough // until as many run at the same time as may
			if (d.Sequence+d.Attempt)%3 == 0 {
				return RetryAfter(time.Duration(d.Sequence%4)*time.Millisecond, errors.New("not now"))
			}
			mu.Lock()
			defer mu.Unlock()
			next, err := states[d.Data.Session.ID].Apply(d.Event)
			if err != nil {
				t.Errorf("sequence %d, attempt %d: %v", d.Sequence, d.Attempt, err)
				return nil
			}
			states[d.Data.Session.ID] = next
			done <- struct{}{}
			return nil
		})
		for range total {
			receive(t, done, "an event to be done")
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if most != c.MaxInFlight {
			t.Errorf("%d handlers ran at the same time, want %d", most, c.MaxInFlight)
		}
		for id, s := range states {
			if int(s.Revision) != len(samples()) {
				t.Errorf("session %s is at revision %d, want %d", id, s.Revision, len(samples()))
			}
		}
	})
}

// TestHeldBackEventsAreGivenBack: what waits behind a failed event is handed back
// when Run stops, and comes in order to the next.
func TestHeldBackEventsAreGivenBack(t *testing.T) {
	b := startBroker(t)
	js := b.JetStream()
	all := samples()
	publish(t, js, all...)
	c := Consumer{Durable: "held", From: FromStart(), MaxInFlight: 8}
	r := run(t, c, js, func(context.Context, Delivery) error { return RetryAfter(time.Hour, errors.New("not today")) })
	if d := r.next(); d.ID != all[0].ID {
		t.Fatalf("first came %s", d.Kind)
	}
	publish(t, js, visit("l", "other"))
	r.expect("other") // by now the others of the session have come as well
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r.quiet()
	r = run(t, c, js, nil)
	for _, e := range all[1:] {
		if d := r.next(); d.ID != e.ID {
			t.Fatalf("came %s, want %s", d.Kind, e.Kind)
		}
	}
}

// TestALaneDoesNotWaitForEver: the awaited event may have gone to another process.
func TestALaneDoesNotWaitForEver(t *testing.T) {
	done := make(chan uint64, 10)
	l := &lanes{stopping: t.Context(), byKey: map[sessionKey]*lane{}, patience: time.Millisecond}
	l.work = func(j *job) (time.Duration, bool) {
		done <- j.delivery.Sequence
		return 0, j.delivery.Sequence == 1
	}
	for _, seq := range []uint64{1, 3, 2} {
		if !l.put(&job{delivery: Delivery{Sequence: seq}}) {
			t.Fatal("there was no room")
		}
	}
	if first := receive(t, done, "the first event"); first != 1 {
		t.Fatalf("first was %d", first)
	}
	for range 2 {
		if seq := receive(t, done, "the others"); seq != 2 && seq != 3 {
			t.Fatalf("came %d", seq)
		}
	}
	if left := l.close(); len(left) != 0 || len(l.byKey) != 0 {
		t.Errorf("left %v, lanes %v", left, l.byKey)
	}
}

// TestALaneTakesEachEventOnce: a second delivery of what is queued or in hand is
// the same event.
func TestALaneTakesEachEventOnce(t *testing.T) {
	started, release := make(chan uint64, 10), make(chan struct{})
	l := &lanes{stopping: t.Context(), byKey: map[sessionKey]*lane{}, patience: time.Hour}
	l.work = func(j *job) (time.Duration, bool) {
		started <- j.delivery.Sequence
		<-release
		return 0, false
	}
	put := func(seq uint64) {
		if !l.put(&job{delivery: Delivery{Sequence: seq}}) {
			t.Fatal("there was no room")
		}
	}
	put(1)
	receive(t, started, "event 1")
	for _, seq := range []uint64{3, 1, 2, 3, 2} {
		put(seq)
	}
	close(release)
	for _, want := range []uint64{2, 3} {
		if seq := receive(t, started, "an event"); seq != want {
			t.Fatalf("came %d, want %d", seq, want)
		}
	}
	l.close()
	if len(started) != 0 {
		t.Errorf("also came %d", <-started)
	}
}
