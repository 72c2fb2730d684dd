package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// testClock stands still until it is moved.
type testClock struct{ at atomic.Int64 }

func newTestClock() *testClock {
	c := &testClock{}
	c.at.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *testClock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *testClock) advance(d time.Duration) { c.at.Add(int64(d)) }

// aged is an event that happened so long before the clock's time.
func aged(c *testClock, k events.Kind, session string, age time.Duration) events.Event {
	e := sample(k, session, 1)
	e.Time = c.now().Add(-age)
	e.Data.Observed.At = e.Time
	return e.Sealed()
}

func idsOf(requests []received) []string {
	var out []string
	for _, r := range requests {
		out = append(out, r.id)
	}
	slices.Sort(out)
	return out
}

// TestAfterAnOutageNoLateEventGoesOut: whoever was away, what is too old is not sent,
// and can be looked up.
func TestAfterAnOutageNoLateEventGoesOut(t *testing.T) {
	t.Parallel()
	for _, ordered := range []string{"false", "true"} {
		t.Run("ordered "+ordered, func(t *testing.T) {
			t.Parallel()
			b, clock := newBroker(t), newTestClock()
			r := newReceiver(t, accept)
			r.ownTime = true
			tr := newTrial(t, b, endpointYAML("welcome", r.URL, "max_age: 15m", "ordered: "+ordered))
			tr.Now = clock.now
			tr.start(b)
			tr.stop() // guestflow is away from here on

			var late, fresh []events.Event
			for i := range 40 {
				e := aged(clock, events.Started, fmt.Sprint("s", i), time.Duration(i)*time.Minute)
				b.publish(e)
				if i > 15 {
					late = append(late, e)
				} else {
					fresh = append(fresh, e)
				}
			}
			tr.start(b)
			r.untilAccepted(t, fresh...)
			tr.untilSeen("welcome", Skipped, len(late))
			if n := r.count(); n != len(fresh) {
				t.Errorf("%d requests, want %d: %v", n, len(fresh), idsOf(r.asked()))
			}
			list, err := tr.Skipped(b.ctx, "welcome", 0)
			if err != nil || len(list) != len(late) {
				t.Fatalf("%d skipped, %v; want %d", len(list), err, len(late))
			}
			for _, s := range list {
				i := slices.IndexFunc(late, func(e events.Event) bool { return e.ID == s.EventID })
				if i < 0 || s.Endpoint != "welcome" || s.Kind != "started" || s.Stream != "sessions" || s.Subject != late[i].Data.Session.ID || s.Location != "hotel-1" ||
					!s.Happened.Equal(late[i].Time) || s.Age != clock.now().Sub(late[i].Time) || s.MaxAge != 15*time.Minute || s.StreamSequence == 0 || s.At.IsZero() {
					t.Errorf("skipped %+v", s)
				}
			}
			tr.eventually("the count", func() bool {
				s := tr.statusOf(b.ctx, "welcome")
				return s.Skipped == uint64(len(late)) && s.Delivered == uint64(len(fresh)) && s.State == Delivering && s.Waiting == 0
			})
		})
	}
}

// TestLateEventsOfADisabledEndpointStayAway: enabled again, it gets what is new.
func TestLateEventsOfADisabledEndpointStayAway(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	var open atomic.Bool
	r := newReceiver(t, func(w http.ResponseWriter, r received) {
		if open.Load() {
			accept(w, r)
			return
		}
		w.WriteHeader(http.StatusGone)
	})
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("welcome", r.URL, "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	first := aged(clock, events.Started, "first", 0)
	b.publish(first)
	tr.untilSeen("welcome", Gone, 1)
	tried := r.count()
	b.publish(aged(clock, events.Started, "second", 0))
	clock.advance(16 * time.Minute)
	third := aged(clock, events.Started, "third", 0)
	b.publish(third)
	open.Store(true)
	if _, err := tr.Enable(b.ctx, "welcome"); err != nil {
		t.Fatal(err)
	}
	r.untilAccepted(t, third)
	tr.untilSeen("welcome", Skipped, 2)
	if got := idsOf(r.asked()[tried:]); !slices.Equal(got, []string{third.ID}) {
		t.Errorf("requests for %v after the endpoint was enabled, want %s alone", got, third.ID)
	}
}

// TestAgeIsDecidedAtTheFirstTry: a receiver that may have got an event is asked again,
// since only its answer tells.
func TestAgeIsDecidedAtTheFirstTry(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	r := newReceiver(t, nil)
	r.answer = func(w http.ResponseWriter, req received) {
		if r.count() == 1 {
			clock.advance(time.Hour)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		accept(w, req)
	}
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("welcome", r.URL, "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	e := aged(clock, events.Started, "s", 14*time.Minute)
	b.publish(e)
	r.untilAccepted(t, e)
}

// TestAgeCountsFromTheEarliestTime: an end that was only seen now may be as old as the
// last look before it.
func TestAgeCountsFromTheEarliestTime(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	r := newReceiver(t, accept)
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("farewell", r.URL, "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	inferred := aged(clock, events.Ended, "inferred", 0)
	inferred.Data.Observed.End, inferred.Data.Observed.NotYetAt = events.EndInferred, clock.now().Add(-time.Hour)
	reported := aged(clock, events.Ended, "reported", time.Minute)
	reported.Data.Observed = events.Observed{At: clock.now(), NotYetAt: clock.now().Add(-time.Hour), End: events.EndReported}
	b.publish(inferred, reported)
	r.untilAccepted(t, reported)
	tr.untilSeen("farewell", Skipped, 1)
	if list, err := tr.Skipped(b.ctx, "farewell", 0); err != nil || len(list) != 1 || list[0].EventID != inferred.ID || list[0].Age != time.Hour {
		t.Errorf("skipped %+v, %v", list, err)
	}
	if r.count() != 1 {
		t.Errorf("%d requests, want 1", r.count())
	}
}

// TestSkippedEventIsNotLostUnlisted: where it cannot be written down, it waits.
func TestSkippedEventIsNotLostUnlisted(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	r := newReceiver(t, accept)
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("welcome", r.URL, "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	var list jetstream.StreamConfig
	tr.eventually("the list", func() bool {
		s, err := b.js.Stream(b.ctx, DefaultSkippedStream)
		if err == nil {
			list = s.CachedInfo().Config
		}
		return err == nil
	})
	full := list
	full.MaxMsgSize = 1
	if _, err := b.js.UpdateStream(b.ctx, full); err != nil {
		t.Fatal(err)
	}
	late, fresh := aged(clock, events.Started, "late", time.Hour), aged(clock, events.Started, "fresh", 0)
	b.publish(late, fresh)
	r.untilAccepted(t, fresh)
	tr.eventually("the event that waits", func() bool { return tr.statusOf(b.ctx, "welcome").Waiting == 1 })
	if _, err := b.js.UpdateStream(b.ctx, list); err != nil {
		t.Fatal(err)
	}
	tr.untilSeen("welcome", Skipped, 1)
	if list, err := tr.Skipped(b.ctx, "welcome", 0); err != nil || len(list) != 1 || list[0].EventID != late.ID {
		t.Errorf("skipped %+v, %v", list, err)
	}
	if r.count() != 1 {
		t.Errorf("%d requests, want 1", r.count())
	}
}

func TestSkippedListOfNobodyIsAnError(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tr := newTrial(t, b, endpointYAML("welcome", "http://127.0.0.1:1", "max_age: 15m"), endpointYAML("crm", "http://127.0.0.1:1"))
	for _, name := range []string{"", "welcome", "crm"} {
		if list, err := tr.Skipped(b.ctx, name, 0); err != nil || len(list) != 0 {
			t.Errorf("%q before anything was served: %+v, %v", name, list, err)
		}
	}
	if _, err := b.js.Stream(b.ctx, DefaultSkippedStream); err == nil {
		t.Error("looking made the stream")
	}
	if _, err := tr.Skipped(b.ctx, "welcom", 0); err == nil || !strings.Contains(err.Error(), "did you mean welcome?") {
		t.Errorf("a misspelt name: %v", err)
	}
}

// TestReplaySaysSo: in a header of every format, and in what the body allows, which
// the signature covers. What is replayed is never too old: a person asked for it.
func TestReplaySaysSo(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{CloudEvents, CloudEventsBinary, PlainData} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			r := newReceiver(t, accept)
			tr := newTrial(t, b, endpointYAML("a", r.URL, "max_age: 15m", "format: "+string(format)))
			e := sample(events.Started, "s", 1)
			b.publish(e)
			if report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "a", Since: time.Now().Add(-time.Hour)}); err != nil || report.Delivered != 1 {
				t.Fatalf("%+v, %v", report, err)
			}
			got := r.asked()[0]
			if got.header.Get(HeaderDelivery) != "replay" {
				t.Errorf("header %v", got.header)
			}
			var body map[string]any
			if err := json.Unmarshal(got.body, &body); err != nil {
				t.Fatal(err)
			}
			if format == CloudEventsBinary {
				if got.header.Get("Ce-Delivery") != "replay" || body["delivery"] != nil {
					t.Errorf("header %v, body %s", got.header, got.body)
				}
			} else if body["delivery"] != "replay" {
				t.Errorf("body %s", got.body)
			}
			if format == CloudEvents {
				if again, err := events.Decode(got.body); err != nil || again.ID != e.ID || again.Data.Session.ID != "s" {
					t.Errorf("the body is no longer the event: %s, %v", got.body, err)
				}
			}
		})
	}
}

// TestDeliverySaysWhenItIsBackfilled, and nothing when it is the usual one.
func TestDeliverySaysWhenItIsBackfilled(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("a", r.URL))
	tr.Now = newTestClock().now
	r.ownTime = true
	tr.start(b)
	usual, filled := sample(events.Started, "usual", 1), sample(events.Started, "filled", 1)
	filled.Data.Observed.Backfilled = true
	b.publish(usual, filled)
	r.untilAccepted(t, usual, filled)
	for _, got := range r.taken() {
		want := map[string]string{usual.ID: "", filled.ID: "backfill"}[got.id]
		if got.header.Get(HeaderDelivery) != want || strings.Contains(string(got.body), `"delivery"`) != (want != "") {
			t.Errorf("%s: header %q, body %s", got.id, got.header.Get(HeaderDelivery), got.body)
		}
	}
}

func TestMarkedKeepsTheRest(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1}`: `{"delivery":"replay","a":1}`,
		` { } `:   `{"delivery":"replay"} `,
		`[1]`:     `[1]`,
		``:        ``,
	} {
		if got := string(marked([]byte(in), replayed)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// TestRetriesEndWithTheAge unless the entry says otherwise: otherwise a receiver that
// was away would get late events all the same.
func TestRetriesEndWithTheAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"max_age: 15m": 15 * time.Minute, "max_age: 48h": DefaultMaxRetry, "max_age: 15m\n    max_retry: 2h": 2 * time.Hour, "ordered: false": DefaultMaxRetry,
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    "+text)
		if err != nil || cfg.Endpoints[0].MaxRetry != want {
			t.Errorf("%s: %v, %v; want %s", text, cfg.Endpoints, err, want)
		}
	}
	if _, err := parse(t, "endpoints:\n  - GOOD\n    max_age: 0s"); err == nil || !strings.Contains(err.Error(), `line 5: endpoint "a": max_age: "0s" is not a duration`) {
		t.Errorf("no age at all: %v", err)
	}
}

// TestSkippedListIsBounded: after a long outage the newest are kept; the count has all.
func TestSkippedListIsBounded(t *testing.T) {
	t.Parallel()
	b, clock := newBroker(t), newTestClock()
	tr := newTrial(t, b, endpointYAML("welcome", newReceiver(t, accept).URL, "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	var s jetstream.Stream
	tr.eventually("the list", func() bool {
		var err error
		s, err = b.js.Stream(b.ctx, DefaultSkippedStream)
		return err == nil
	})
	if cfg := s.CachedInfo().Config; cfg.MaxMsgsPerSubject != maxSkippedListed || cfg.Discard != jetstream.DiscardOld || cfg.MaxAge <= 0 {
		t.Errorf("stream %+v", cfg)
	}
}

// TestWhatWasBackfilledFromLongAgoGoesNowhere unless the endpoint's max_age says how
// old it may be: nobody is welcomed for a visit of last year.
func TestWhatWasBackfilledFromLongAgoGoesNowhere(t *testing.T) {
	t.Parallel()
	for setting, hours := range map[string]int{"max_age: 480h": 480, "max_retry: 1h": 24} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			b, clock := newBroker(t), newTestClock()
			r := newReceiver(t, accept)
			r.ownTime = true
			tr := newTrial(t, b, endpointYAML("crm", r.URL, setting))
			tr.Now = clock.now
			tr.start(b)
			var sent []events.Event
			skipped := 0
			for i, age := range []time.Duration{time.Hour, 23 * time.Hour, 25 * time.Hour, 400 * time.Hour, 500 * time.Hour} {
				e := aged(clock, events.Started, fmt.Sprint("s", i), age)
				e.Data.Observed.Backfilled = true
				e = e.Sealed()
				b.publish(e)
				if age < time.Duration(hours)*time.Hour {
					sent = append(sent, e)
				} else {
					skipped++
				}
			}
			r.untilAccepted(t, sent...)
			tr.untilSeen("crm", Skipped, skipped)
			if n := r.count(); n != len(sent) {
				t.Errorf("%d requests, want %d", n, len(sent))
			}
		})
	}
}
