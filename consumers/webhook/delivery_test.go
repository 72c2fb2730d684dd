package webhook

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/guestflow/guestflow/events"
)

func TestMatchingEventsAreDelivered(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	all, some := newReceiver(t, accept), newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("all", all.URL),
		endpointYAML("some", some.URL, "kinds: [started, traffic]", `locations: ["hotel-*"]`, `condition: kind == "started" || change.downloaded_bytes > 500`))
	tr.start(b)
	var evs []events.Event
	for i := range 20 {
		evs = append(evs, sample(events.Started, fmt.Sprint("s", i), 1), sample(events.Traffic, fmt.Sprint("s", i), 2), sample(events.Ended, fmt.Sprint("s", i), 3))
	}
	elsewhere := sample(events.Started, "elsewhere", 1)
	elsewhere.Data.Session.LocationID = "café.5" // needs encoding in the subject
	evs = append(evs, elsewhere.Sealed())
	b.publish(evs...)
	all.untilAccepted(t, evs...)
	some.until(t, "40 events", func(_, a []received) bool { return len(a) == 40 })
	for _, a := range some.accepted {
		if a.kind == "ended" || a.session == "elsewhere" {
			t.Errorf("got %s of %s, which was not asked for", a.kind, a.session)
		}
	}
	tr.eventually("everything settled", func() bool {
		s := tr.statusOf(b.ctx, "some")
		return s.Backlog == 0 && s.Waiting == 0 && tr.statusOf(b.ctx, "all").Waiting == 0
	})
}

func TestFailingReceiverGetsEveryEventInTheEnd(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			tries := map[string]int{}
			var r *receiver
			r = newReceiver(t, func(w http.ResponseWriter, got received) {
				r.mu.Lock()
				tries[got.id]++
				n := tries[got.id]
				r.mu.Unlock()
				if n <= 2 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				w.WriteHeader(http.StatusOK)
			})
			tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: "+ordered))
			tr.start(b)
			var evs []events.Event
			for i := range 10 {
				for rev := range int64(3) {
					kind := []events.Kind{events.Started, events.Traffic, events.Ended}[rev]
					evs = append(evs, sample(kind, fmt.Sprint("s", i), rev+1))
				}
			}
			b.publish(evs...)
			r.untilAccepted(t, evs...)
			if ordered == "true" {
				inOrder(t, r.accepted)
			}
		})
	}
}

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
