package webhook

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// TestDeletedStreamsAreMadeAgain: whoever deletes the stream of dead letters, or that of
// skipped events, costs an endpoint what was in it, and nothing that comes after.
func TestDeletedStreamsAreMadeAgain(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	r := newReceiver(t, func(w http.ResponseWriter, got received) {
		if got.session == "refused" && got.kind == string(events.Started) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		accept(w, got)
	})
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: true", "max_age: 15m"))
	tr.Now, tr.RefusedTries = clock.now, 1
	tr.ReloadEvery = time.Hour // nobody counts the letters meanwhile
	tr.start(b)
	for _, name := range []string{DefaultDeadStream, DefaultSkippedStream} {
		tr.eventually(name, func() bool { return b.js.DeleteStream(b.ctx, name) == nil })
	}
	first, next := aged(clock, events.Started, "refused", 0), aged(clock, events.Ended, "refused", 0)
	late := aged(clock, events.Started, "late", time.Hour)
	b.publish(first, next, late)
	tr.untilSeen("a", Dead, 1)
	tr.untilSeen("a", Skipped, 1)
	r.untilAccepted(t, next)
	if n := r.count(); n != 2 {
		t.Errorf("%d requests, want 2: %v", n, idsOf(r.asked()))
	}
	if letters, err := tr.DeadLetters(b.ctx, "a", 0); err != nil || len(letters) != 1 || letters[0].EventID != first.ID {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
	if list, err := tr.Skipped(b.ctx, "a", 0); err != nil || len(list) != 1 || list[0].EventID != late.ID {
		t.Errorf("skipped %+v, %v", list, err)
	}
}

// TestDeletedGraveyardIsMadeAgainByCounting: also where nothing dies.
func TestDeletedGraveyardIsMadeAgainByCounting(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	o, err := (&Dispatcher{JetStream: b.js}).options()
	if err != nil {
		t.Fatal(err)
	}
	g, err := openGraveyard(b.ctx, b.js, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.js.DeleteStream(b.ctx, DefaultDeadStream); err != nil {
		t.Fatal(err)
	}
	if dead, err := g.count(b.ctx); err != nil || len(dead) != 0 {
		t.Errorf("%v, %v", dead, err)
	}
	l := DeadLetter{Endpoint: "a", EventID: "e", StreamSequence: 7}
	for range 2 { // the second time since the event's ack was lost
		if err := g.bury(b.ctx, l); err != nil {
			t.Error(err)
		}
	}
	if dead, err := g.count(b.ctx); err != nil || dead[g.subject("a")] != 1 {
		t.Errorf("%v, %v", dead, err)
	}
}

// TestDeletedStreamsThatAreDeclaredElsewhereStayAway, and what needs them says that.
func TestDeletedStreamsThatAreDeclaredElsewhereStayAway(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	o, err := (&Dispatcher{JetStream: b.js}).options()
	if err != nil {
		t.Fatal(err)
	}
	declared := o
	declared.Declared = true
	if _, err := openGraveyard(b.ctx, b.js, o); err != nil {
		t.Fatal(err)
	}
	if _, err := openSkipList(b.ctx, o); err != nil {
		t.Fatal(err)
	}
	g, err := openGraveyard(b.ctx, b.js, declared)
	if err != nil {
		t.Fatal(err)
	}
	list, err := openSkipList(b.ctx, declared)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{DefaultDeadStream, DefaultSkippedStream} {
		if err := b.js.DeleteStream(b.ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{
		"bury": g.bury(b.ctx, DeadLetter{Endpoint: "a"}), "add": list.add(b.ctx, SkippedEvent{Endpoint: "a"}),
	} {
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
