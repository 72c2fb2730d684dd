package webhook

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// TestDeletedConsumerLosesNothing: a durable consumer that somebody deleted took
// the endpoint's place in the stream with it, and its backlog.
func TestDeletedConsumerLosesNothing(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"while it is served": true, "while it is not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			r := newReceiver(t, accept)
			tr := newTrial(t, b, endpointYAML("a", r.URL))
			tr.start(b)
			evs := starts(6)
			b.publish(evs[:3]...)
			r.untilAccepted(t, evs[:3]...)
			if !running {
				tr.stop()
			}
			r.kill()
			b.publish(evs[3:]...)
			if running {
				tr.untilSeen("a", Failed, 1)
			}
			if err := b.js.DeleteConsumer(b.ctx, events.DefaultStream, Durable("a")); err != nil {
				t.Fatal(err)
			}
			r.revive(t)
			if !running {
				tr.start(b)
			}
			r.untilAccepted(t, evs...)
		})
	}
}

// TestPlaceIsRememberedBeforeTheFirstEvent: a new endpoint has a place too.
func TestPlaceIsRememberedBeforeTheFirstEvent(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	evs := starts(4)
	b.publish(evs[0]) // before its time
	tr.start(b)
	tr.eventually("a place", func() bool { return tr.statusOf(b.ctx, "a").Place != nil })
	tr.stop()
	b.publish(evs[1:]...)
	if err := b.js.DeleteConsumer(b.ctx, events.DefaultStream, Durable("a")); err != nil {
		t.Fatal(err)
	}
	tr.start(b)
	r.untilAccepted(t, evs[1:]...)
	for _, got := range r.taken() {
		if got.id == evs[0].ID {
			t.Error("an event from before the endpoint was sent")
		}
	}
}

// TestAnotherStreamIsReadFromWhenTheOldOneEnded: sequences of a stream that was
// made anew mean nothing to the old place.
func TestAnotherStreamIsReadFromWhenTheOldOneEnded(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.start(b)
	evs := starts(5)
	b.publish(evs[:3]...)
	r.untilAccepted(t, evs[:3]...)
	tr.stop()
	b.remakeStream()
	b.publish(evs[3:]...)
	tr.start(b)
	r.untilAccepted(t, evs...)
}

// TestForgottenEndpointBeginsAnew, with the next event.
func TestForgottenEndpointBeginsAnew(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.start(b)
	tr.eventually("a place", func() bool { return tr.statusOf(b.ctx, "a").Place != nil })
	tr.stop()
	evs := starts(2)
	write(t, tr.Path, "endpoints: []")
	if err := tr.Forget(b.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	b.publish(evs[0])
	write(t, tr.Path, "endpoints:\n"+endpointYAML("a", r.URL))
	tr.start(b)
	b.publish(evs[1])
	r.untilAccepted(t, evs[1])
	if got := r.taken(); len(got) != 1 {
		t.Errorf("%d events were sent, want the one after", len(got))
	}
	if _, err := b.js.Consumer(b.ctx, events.DefaultStream, Durable("a")); errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Error(err)
	}
}

// TestTriesAreNotThoseOfAnotherStream: sequences begin anew in a stream that was made anew, and
// so do the tries of its events.
func TestTriesAreNotThoseOfAnotherStream(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var status atomic.Int32
	status.Store(http.StatusInternalServerError)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) { w.WriteHeader(int(status.Load())) })
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.start(b)
	evs := starts(2)
	b.publish(evs[0])
	tr.untilSeen("a", Failed, 5)
	tr.stop()
	b.remakeStream()
	b.publish(evs[1])
	status.Store(http.StatusBadRequest)
	tr.start(b)
	tr.untilSeen("a", Dead, 1)
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil || len(letters) != 1 || letters[0].Tries != 3 {
		t.Errorf("dead letters %+v, %v; want one after 3 tries", letters, err)
	}
	if n := b.tries(); n != 0 {
		t.Errorf("%d counts of tries are left", n)
	}
}
