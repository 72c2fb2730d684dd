package webhook

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// adversary does everything that a receiver may do wrong, by the event and the
// number of its try, and takes most events in the end. Events of the session
// "refused" it never takes, until it is mended.
type adversary struct {
	mu     sync.Mutex
	tries  map[string]int
	did    map[string]int // misbehaviour: how often
	back   bool           // it answers 410 no more
	mended bool           // it takes everything
}

func (a *adversary) choose(got received) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries[got.id]++
	n := a.tries[got.id]
	hash := fnv.New32a()
	fmt.Fprint(hash, got.id, n)
	choice := "accept"
	switch moods := []string{"fail", "hang", "redirect", "limit", "garbage", "cut", "lose", "accept", "accept"}; {
	case a.mended:
	case got.session == "refused":
		choice = "refuse"
	case !a.back && len(a.tries) > 40: // every time, since the sender may miss one
		choice = "gone"
	case n <= 2:
		if choice = moods[int(hash.Sum32())%len(moods)]; choice == "redirect" && n == 2 {
			choice = "fail" // several of them would be the end of it
		}
	}
	a.did[choice]++
	return choice
}

func (a *adversary) answer(w http.ResponseWriter, got received) {
	hijack := func(text string) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = conn.Write([]byte(text)) // the sender may be gone
			conn.Close()
		}
	}
	switch a.choose(got) {
	case "fail":
		w.WriteHeader(http.StatusInternalServerError)
	case "hang":
		<-got.gone
	case "redirect":
		w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "limit":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case "garbage":
		hijack("HTTP/1.1 banana OK\r\n\r\n")
	case "cut":
		hijack("HTTP/1.1 500 Oops\r\nContent-Length: 50\r\n\r\nab")
	case "lose":
		hijack("") // it has the event, and the sender does not learn so
	case "gone":
		w.WriteHeader(http.StatusGone)
	case "refuse":
		w.WriteHeader(http.StatusUnprocessableEntity)
	default:
		accept(w, got)
	}
}

// TestAdversarialReceiverGetsEveryEvent: whatever it does, and though it is killed
// and comes back, every event that matches arrives at least once and verifies
// (the receiver checks each request with the specification's own library), a
// repetition has the id of the first try, and order per session holds where it
// was asked for. What it refuses for good is listed, and arrives by replay.
func TestAdversarialReceiverGetsEveryEvent(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			a := &adversary{tries: map[string]int{}, did: map[string]int{}}
			r := newReceiver(t, a.answer)
			entry := func(timeout string) string {
				return endpointYAML("a", r.URL, "ordered: "+ordered, "timeout: "+timeout, "kinds: [started, traffic, ended]", "condition: session.id != 'other'")
			}
			tr := newTrial(t, b, entry("250ms"))
			tr.MaxRetryAfter = 20 * time.Millisecond
			tr.RefusedTries = 6 // the sender counts time-outs of a slow machine too
			tr.start(b)

			began := time.Now()
			var evs, refused []events.Event
			batch := func(from, to int) {
				for i := from; i < to; i++ {
					s := fmt.Sprint("s", i)
					evs = append(evs, sample(events.Started, s, 1), sample(events.Traffic, s, 2), sample(events.Ended, s, 3))
				}
				b.publish(evs[3*from:]...)
			}
			batch(0, 20)
			refused = []events.Event{sample(events.Started, "refused", 1), sample(events.Traffic, "refused", 2)}
			b.publish(append(refused, sample(events.Started, "other", 1), sample(events.Resumed, "s0", 4))...)
			tr.eventually("disabled by the 410", func() bool { return tr.statusOf(b.ctx, "a").Disabled != nil })
			a.mu.Lock()
			a.back = true
			a.mu.Unlock()
			before := r.count()
			tr.eventually("requests once it is enabled", func() bool {
				if tr.statusOf(b.ctx, "a").Disabled != nil { // perhaps again: a 410 was under way
					if _, err := tr.Enable(b.ctx, "a"); err != nil {
						t.Fatal(err)
					}
				}
				return r.count() >= before+10
			})
			r.kill()
			batch(20, 30)
			tr.untilSeen("a", Failed, 30)
			r.revive(t)
			tr.stop() // and the sender is restarted as well
			tr.start(b)
			batch(30, 40)
			r.untilAccepted(t, evs...)
			if ordered == "true" {
				inOrder(t, r.taken())
			}

			tr.untilSeen("a", Dead, 2)
			letters, err := tr.DeadLetters(b.ctx, "a", 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(letters) != 2 || letters[0].Status != http.StatusUnprocessableEntity {
				t.Errorf("dead letters %+v, want the two that were refused", letters)
			}
			a.mu.Lock()
			a.mended = true
			a.mu.Unlock()
			// Nothing hangs any more, and a replay gives up after a few time-outs.
			write(t, tr.Path, "endpoints:\n"+entry(patience.String()))
			if report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", All: true}); err != nil || report.Delivered != 2 {
				t.Errorf("replay of the dead letters: %+v, %v", report, err)
			}
			r.untilAccepted(t, slices.Concat(evs, refused)...)
			if report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: began.Add(-time.Second)}); err != nil || report != (ReplayReport{Delivered: 122, Skipped: 1}) {
				t.Errorf("replay of the time range: %+v, %v", report, err)
			}

			a.mu.Lock()
			defer a.mu.Unlock()
			for _, what := range []string{"fail", "hang", "redirect", "limit", "garbage", "cut", "lose", "gone", "refuse", "accept"} {
				if a.did[what] == 0 {
					t.Errorf("the receiver never did %q: %v", what, a.did)
				}
			}
			ids := map[string]bool{}
			for _, e := range slices.Concat(evs, refused) {
				ids[e.ID] = true
			}
			for _, got := range r.asked() {
				if !ids[got.id] {
					t.Errorf("a request with id %s of no event that matches: %s of %s", got.id, got.kind, got.session)
				}
			}
		})
	}
}
