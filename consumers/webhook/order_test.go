package webhook

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// inOrder checks that the first acceptance of each event of a session comes in
// the order started, traffic, ended.
func inOrder(t *testing.T, accepted []received) {
	t.Helper()
	rank := map[string]int{"started": 1, "traffic": 2, "ended": 3}
	last := map[string]int{}
	for _, a := range accepted {
		if got := rank[a.kind]; got > last[a.session]+1 {
			t.Errorf("session %s: %s came too early", a.session, a.kind)
		} else {
			last[a.session] = max(got, last[a.session])
		}
	}
}

func TestOrderHoldsOverRestarts(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var r *receiver
	r = newReceiver(t, func(w http.ResponseWriter, got received) {
		if hash := fnv.New32a(); r.count() < 400 {
			fmt.Fprint(hash, got.id, r.count()/3)
			if hash.Sum32()%3 == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		}
		accept(w, got)
	})
	tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: true", "concurrency: 4"))
	tr.start(b)
	var evs []events.Event
	for round := range 6 {
		for i := range 10 {
			s := fmt.Sprint("s", i+round*10)
			evs = append(evs, sample(events.Started, s, 1), sample(events.Traffic, s, 2), sample(events.Ended, s, 3))
		}
		b.publish(evs[round*30:]...)
		r.untilRequests(t, round*20+10)
		tr.stop()
		tr.start(b)
	}
	r.untilAccepted(t, evs...)
	inOrder(t, r.taken())
}

// TestOrderHoldsAfterACrash lets another process take events and die: the later
// ones of their sessions must wait until the server hands the lost ones out again.
func TestOrderHoldsAfterACrash(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: true", "timeout: 50ms"))
	tr.start(b)
	tr.stop()
	var lost, later []events.Event
	for i := range 5 {
		s := fmt.Sprint("s", i)
		lost = append(lost, sample(events.Started, s, 1))
		later = append(later, sample(events.Traffic, s, 2), sample(events.Ended, s, 3))
	}
	b.publish(lost...)
	c, err := b.js.Consumer(b.ctx, events.DefaultStream, Durable("a"))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(len(lost))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range batch.Messages() { // never answered
		n++
	}
	if n != len(lost) {
		t.Fatalf("took %d events, want %d", n, len(lost))
	}
	b.publish(later...)
	tr.start(b)
	r.untilAccepted(t, append(lost, later...)...)
	inOrder(t, r.taken())
}
