package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// brokenReceiver refuses everything with 422 until it is mended.
func brokenReceiver(t *testing.T) (*receiver, *atomic.Bool) {
	mended := new(atomic.Bool)
	return newReceiver(t, func(w http.ResponseWriter, r received) {
		if mended.Load() {
			accept(w, r)
			return
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
	}), mended
}

func TestDeadLettersAreListedAndReplayed(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r, mended := brokenReceiver(t)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.start(b)
	evs := starts(6)
	b.publish(evs...)
	tr.untilSeen("a", Dead, 6)
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(letters) != 6 {
		t.Fatalf("%d dead letters, want 6", len(letters))
	}
	for _, l := range letters {
		ev, err := events.Decode(l.Event)
		if err != nil || ev.ID != l.EventID || l.Endpoint != "a" || l.Tries != 3 || l.Status != 422 || l.StreamSequence == 0 || !strings.Contains(l.Reason, "422") || l.DiedAt.IsZero() || l.Kind != string(ev.Kind) || l.Stream != "sessions" || l.Subject != ev.Data.Session.ID || l.Location != "hotel-1" {
			t.Errorf("dead letter %+v, %v", l, err)
		}
	}
	if two, err := tr.DeadLetters(b.ctx, "", 2); err != nil || len(two) != 2 || two[0].Sequence != letters[0].Sequence {
		t.Errorf("the two oldest of all endpoints: %v, %v", two, err)
	}
	if s := tr.statusOf(b.ctx, "a"); s.DeadLetters != 6 || !strings.Contains(s.LastError, "422") {
		t.Errorf("status %+v", s)
	}

	tr.eventually("the serving process to count them", func() bool { return tr.Served()[0].DeadLetters == 6 })

	// Still broken: the letters stay.
	report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", All: true})
	if err != nil || report != (ReplayReport{Failed: 6}) || tr.statusOf(b.ctx, "a").DeadLetters != 6 {
		t.Errorf("replay to a broken receiver: %+v, %v", report, err)
	}
	mended.Store(true)
	if report, err = tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Sequence: letters[0].Sequence}); err != nil || report != (ReplayReport{Delivered: 1}) {
		t.Errorf("replay by sequence: %+v, %v", report, err)
	}
	var told []Replayed
	report, err = tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", EventID: letters[1].EventID, Each: func(p Replayed) { told = append(told, p) }})
	if err != nil || report != (ReplayReport{Delivered: 1}) || len(told) != 1 || told[0].EventID != letters[1].EventID || told[0].Err != nil || told[0].Status != 204 {
		t.Errorf("replay by id: %+v, %+v, %v", report, told, err)
	}
	if _, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Sequence: letters[0].Sequence}); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("replay of a letter that is gone: %v", err)
	}
	if report, err = tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", All: true}); err != nil || report != (ReplayReport{Delivered: 4}) {
		t.Errorf("replay of all: %+v, %v", report, err)
	}
	r.untilAccepted(t, evs...)
	tr.eventually("the serving process to see them gone", func() bool { return tr.Served()[0].DeadLetters == 0 })
	if left, err := tr.DeadLetters(b.ctx, "a", 0); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestDeadLettersOfNobodyAreAnError: an empty list would be taken for good news.
func TestDeadLettersOfNobodyAreAnError(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, endpointYAML("crm", "http://127.0.0.1:1"))
	if letters, err := tr.DeadLetters(b.ctx, "crm", 0); err != nil || len(letters) != 0 {
		t.Errorf("an endpoint of the file: %v, %v", letters, err)
	}
	if _, err := tr.DeadLetters(b.ctx, "cmr", 0); !errors.Is(err, ErrUnknownEndpoint) || !strings.Contains(err.Error(), "did you mean crm?") {
		t.Errorf("a misspelt endpoint: %v", err)
	}
	for _, bad := range []string{"a.b", "*", ">", "a b"} {
		if _, err := tr.DeadLetters(b.ctx, bad, 0); !errors.Is(err, ErrUnknownEndpoint) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	tr.Path = ""
	if _, err := tr.DeadLetters(b.ctx, "crm", 0); !errors.Is(err, ErrUnknownEndpoint) || !strings.HasSuffix(err.Error(), `"crm": no such webhook endpoint; nothing is kept of any`) {
		t.Errorf("without a file: %v", err)
	}
	tr.Path = filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(tr.Path, []byte("endpoints: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Skipped(b.ctx, "crm", 0); !errors.Is(err, ErrUnknownEndpoint) || !strings.HasSuffix(err.Error(), "; "+tr.Path+" has none, and nothing is kept of any") {
		t.Errorf("a file without endpoints: %v", err)
	}
}

func TestDeadLettersArePurged(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r, _ := brokenReceiver(t)
	tr := newTrial(t, b, endpointYAML("a", r.URL), endpointYAML("other", r.URL))
	tr.start(b)
	b.publish(starts(4)...)
	tr.untilSeen("a", Dead, 4)
	tr.untilSeen("other", Dead, 4)
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		req           PurgeRequest
		removed, left int
		err           error
	}{
		{PurgeRequest{Endpoint: "a", Sequence: letters[0].Sequence}, 1, 3, nil},
		{PurgeRequest{Endpoint: "a", EventID: letters[1].EventID}, 1, 2, nil},
		{PurgeRequest{Endpoint: "a", Sequence: letters[0].Sequence}, 0, 2, ErrNoDeadLetter},
		{PurgeRequest{Endpoint: "nobody", All: true}, 0, 2, ErrUnknownEndpoint},
		{PurgeRequest{Endpoint: "a", All: true}, 2, 0, nil},
		{PurgeRequest{Endpoint: "a", All: true}, 0, 0, nil},
	} {
		n, err := tr.Purge(b.ctx, step.req)
		left, listErr := tr.DeadLetters(b.ctx, "a", 0)
		if n != step.removed || !errors.Is(err, step.err) || len(left) != step.left || listErr != nil {
			t.Errorf("%+v: removed %d, %d left, %v, %v; want %+v", step.req, n, len(left), err, listErr, step)
		}
	}
	for _, req := range []PurgeRequest{{Endpoint: "a"}, {Endpoint: "a", All: true, Sequence: 1}, {All: true}} {
		if _, err := tr.Purge(b.ctx, req); err == nil {
			t.Errorf("%+v was taken", req)
		}
	}
	if left, err := tr.DeadLetters(b.ctx, "other", 0); err != nil || len(left) != 4 {
		t.Errorf("another endpoint has %d letters, %v", len(left), err)
	}
}

func TestTimeRangeOfTheStreamIsReplayed(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			r := newReceiver(t, accept)
			tr := newTrial(t, b, endpointYAML("a", r.URL, "kinds: [started, traffic, ended]", "condition: session.id != 's3'", "ordered: "+ordered))
			began := time.Now()
			var evs []events.Event
			for i := range 100 {
				s := fmt.Sprint("s", i)
				evs = append(evs, sample(events.Started, s, 1), sample(events.Traffic, s, 2), sample(events.Ended, s, 3))
			}
			b.publish(evs...)
			report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: began.Add(-time.Second)})
			if err != nil || report != (ReplayReport{Delivered: 297, Skipped: 3}) {
				t.Errorf("%+v, %v", report, err)
			}
			if ordered == "true" {
				inOrder(t, r.taken())
			}
			report, err = tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: began.Add(-time.Hour), Until: began.Add(-time.Minute)})
			if err != nil || report != (ReplayReport{}) {
				t.Errorf("before everything: %+v, %v", report, err)
			}
		})
	}
}

func TestReplayToADeadEndpointEndsEarly(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, endpointYAML("a", "http://127.0.0.1:1/", "concurrency: 1"))
	b.publish(starts(50)...)
	report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: time.Now().Add(-time.Hour)})
	if !errors.Is(err, ErrStillFailing) || report.Failed != maxFailures {
		t.Errorf("%+v, %v; want an end after %d", report, err, maxFailures)
	}
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil || len(letters) != maxFailures || !strings.HasPrefix(letters[0].Reason, "replay: ") || letters[0].Tries != replayTries {
		t.Errorf("dead letters: %+v, %v", letters, err)
	}

	r, _ := brokenReceiver(t) // what is refused is tried once
	write(t, tr.Path, "endpoints:\n"+endpointYAML("b", r.URL, "concurrency: 1"))
	if _, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "b", Since: time.Now().Add(-time.Hour)}); !errors.Is(err, ErrStillFailing) {
		t.Errorf("replay to a receiver that refuses: %v", err)
	}
	if letters, err = tr.DeadLetters(b.ctx, "b", 1); err != nil || len(letters) != 1 || letters[0].Tries != 1 {
		t.Errorf("dead letters: %+v, %v", letters, err)
	}
}

func TestReplayNeedsOneChoice(t *testing.T) {
	t.Parallel()
	d := Dispatcher{}
	for _, req := range []ReplayRequest{{Endpoint: "a"}, {Endpoint: "a", All: true, EventID: "x"}, {Endpoint: "a", Sequence: 1, Since: time.Now()}} {
		if _, err := d.Replay(t.Context(), req); err == nil || !strings.Contains(err.Error(), "one of") {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

func TestEventThatFailsForTooLongDies(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) { w.WriteHeader(http.StatusBadGateway) })
	tr := newTrial(t, b, endpointYAML("a", r.URL, "max_retry: 30ms")) // 2 + 4 + 8 + 16 ms
	tr.start(b)
	b.publish(sample(events.Started, "s", 1))
	tr.untilSeen("a", Dead, 1)
	if n := r.count(); n != 4 {
		t.Errorf("%d tries, want 4", n)
	}
	tr.eventually("counts of tries removed", func() bool {
		return b.tries() == 0
	})
}

func TestTriesAreCountedOverRestarts(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) { w.WriteHeader(http.StatusBadGateway) })
	tr := newTrial(t, b, endpointYAML("a", r.URL, "max_retry: 100ms")) // 2+4+8+16+20+20+20+20
	b0 := tr.Backoff
	tr.start(b)
	b.publish(sample(events.Started, "s", 1))
	for range 3 {
		before := r.count()
		r.untilRequests(t, before+1)
		tr.stop()
		tr.start(b)
	}
	tr.untilSeen("a", Dead, 1)
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil || len(letters) != 1 {
		t.Fatalf("dead letters %v, %v", letters, err)
	}
	want := 1
	for !b0.spent(want, 100*time.Millisecond) {
		want++
	}
	if n := r.count(); letters[0].Tries != want || n != want {
		t.Errorf("died after %d requests, %d of them counted; want %d", n, letters[0].Tries, want)
	}
}

func TestWhatIsNoEventBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL, "ordered: true"))
	tr.start(b)
	if _, err := b.js.Publish(b.ctx, "guest.sessions.acme.hotel-1.started", []byte("{nonsense")); err != nil {
		t.Fatal(err)
	}
	e := sample(events.Started, "s", 1)
	b.publish(e)
	r.untilAccepted(t, e)
	tr.untilSeen("a", Dead, 1)
	letters, err := tr.DeadLetters(b.ctx, "a", 0)
	if err != nil || len(letters) != 1 || string(letters[0].Event) != "{nonsense" || letters[0].EventID != "" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

func TestTestShowsRequestAndAnswer(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
	})
	tr := newTrial(t, &broker{}, endpointYAML("a", r.URL+"/hook?key=t0ken", "headers: {Authorization: t0ken}", "format: cloudevents-binary"))
	x, err := tr.Test(t.Context(), "a", "")
	if err != nil {
		t.Fatal(err)
	}
	if x.Accepted || x.Status != 418 || string(x.ResponseBody) != "short and stout" || x.ResponseHeader.Get("X-Answer") != "yes" ||
		x.RequestHeader.Get("Ce-Type") != "guestflow.session.started.v1" || x.RequestHeader.Get(HeaderSignature) == "" || len(x.RequestBody) == 0 || x.Duration <= 0 {
		t.Errorf("exchange %+v", x)
	}
	if all := fmt.Sprintf("%+v", x); strings.Contains(all, "t0ken") || !strings.HasSuffix(x.URL, "/hook?(hidden)") {
		t.Errorf("shows a token: %s", all)
	}
	if r.asked()[0].header.Get("Authorization") != "t0ken" {
		t.Error("the header was not sent")
	}
	if _, err := tr.Test(t.Context(), "b", ""); err == nil || !strings.Contains(err.Error(), tr.Path) {
		t.Errorf("unknown endpoint: %v", err)
	}
	r.kill()
	if x, err := tr.Test(t.Context(), "a", ""); err != nil || x.Accepted || x.Status != 0 || x.Reason == "" {
		t.Errorf("nobody there: %+v, %v", x, err)
	}
}
