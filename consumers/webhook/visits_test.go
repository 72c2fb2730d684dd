package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
)

// visitEvent is an event of account acme's visit to hotel-1.
func visitEvent(k visits.Kind, visit string, revision int64) visits.Event {
	at := time.Date(2026, 5, 1, 12, 0, int(revision), 0, time.UTC)
	e := visits.Event{Account: "acme", Kind: k, Time: at, Data: visits.Data{Revision: revision, Observed: visits.Observed{At: at}}}
	e.Data.Visit = visits.Visit{
		ID: visit, Place: "hotel-1", LocationID: "hotel-1", Locations: []string{"hotel-1"}, Identity: visits.ByGuest, GuestID: "g-" + visit,
		Arrival: visits.Seen, StartedAt: at.Add(-time.Hour), DurationSeconds: 3600, Devices: 1, Sessions: 1,
	}
	if k == visits.Ended {
		e.Data.Visit.EndedAt = at
	}
	return e.Sealed()
}

func (b *broker) publishVisits(evs ...visits.Event) {
	b.t.Helper()
	for _, e := range evs {
		body, err := visits.Encode(e)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.js.Publish(b.ctx, visits.Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func withVisits(t testing.TB) *broker {
	t.Helper()
	b := newBroker(t)
	if _, err := b.js.CreateStream(b.ctx, jetstream.StreamConfig{
		Name: visits.DefaultStream, Subjects: []string{visits.Subjects{}.All()}, Storage: jetstream.MemoryStorage,
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

// visitsIn are kind and visit of the requests.
func visitsIn(t testing.TB, requests []received) (out []string) {
	t.Helper()
	for _, r := range requests {
		e, err := visits.Decode(r.body)
		if err != nil || e.ID != r.id {
			t.Errorf("webhook-id %s with a body that is no such visit: %v", r.id, err)
		}
		out = append(out, string(e.Kind)+" "+e.Data.Visit.ID)
	}
	return out
}

func untilTaken(t testing.TB, r *receiver, n int) {
	t.Helper()
	r.until(t, fmt.Sprintf("%d accepted", n), func(_, accepted []received) bool { return len(accepted) >= n })
}

// TestVisitsAreDeliveredAsSessionsAre: filtered, signed, in order, tried again, buried,
// listed and replayed, by the same dispatcher and beside endpoints of sessions.
func TestVisitsAreDeliveredAsSessionsAre(t *testing.T) {
	t.Parallel()
	b := withVisits(t)
	var refusing atomic.Bool
	r := newReceiver(t, func(w http.ResponseWriter, r received) {
		if refusing.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		accept(w, r)
	})
	sessions := newReceiver(t, accept)
	tr := newTrial(t, b,
		endpointYAML("loyalty", r.URL, "stream: visits", "kinds: [started, ended]", `locations: ["hotel-*"]`, `condition: kind == "started" || visit.duration_seconds >= 600`, "ordered: true"),
		endpointYAML("crm", sessions.URL, "kinds: [started]"))
	tr.start(b)
	short := visitEvent(visits.Ended, "short", 3)
	short.Data.Visit.DurationSeconds = 60
	elsewhere := visitEvent(visits.Started, "elsewhere", 1)
	elsewhere.Data.Visit.Place, elsewhere.Data.Visit.LocationID, elsewhere.Data.Visit.Locations = "mall", "shop", []string{"shop"}
	grouped := visitEvent(visits.Started, "grouped", 1) // the group's name is no glob of the entry
	grouped.Data.Visit.Place, grouped.Data.Visit.Group, grouped.Data.Visit.Locations = "chain", "chain", []string{"hotel-1", "hotel-2"}
	b.publishVisits(visitEvent(visits.Started, "a", 1), visitEvent(visits.Stayed, "a", 2), short.Sealed(), elsewhere.Sealed(), grouped.Sealed(), visitEvent(visits.Ended, "a", 3))
	b.publish(sample(events.Started, "s", 1))
	untilTaken(t, r, 3)
	untilTaken(t, sessions, 1)
	got := visitsIn(t, r.taken())
	if slices.Sort(got); !slices.Equal(got, []string{"ended a", "started a", "started grouped"}) {
		t.Errorf("delivered %v", got)
	}
	if sessions.taken()[0].session != "s" {
		t.Errorf("the endpoint of sessions got %s", sessions.taken()[0].body)
	}

	refusing.Store(true)
	b.publishVisits(visitEvent(visits.Started, "b", 1))
	tr.untilSeen("loyalty", Dead, 1)
	letters, err := tr.DeadLetters(b.ctx, "loyalty", 0)
	if err != nil || len(letters) != 1 || letters[0].Stream != "visits" || letters[0].Kind != "started" || letters[0].Subject != "b" || letters[0].Location != "hotel-1" {
		t.Fatalf("dead letters %+v, %v", letters, err)
	}
	refusing.Store(false)
	report, err := tr.Replay(b.ctx, ReplayRequest{Endpoint: "loyalty", All: true})
	if err != nil || report.Delivered != 1 {
		t.Errorf("replay of the dead letter: %+v, %v", report, err)
	}
	before := len(r.taken())
	report, err = tr.Replay(b.ctx, ReplayRequest{Endpoint: "loyalty", Since: time.Now().Add(-time.Hour)})
	if err != nil || report.Delivered != 4 || report.Skipped != 2 {
		t.Errorf("replay of the stream: %+v, %v; want 4 delivered, 2 skipped", report, err)
	}
	for _, again := range r.taken()[before:] {
		if again.header.Get(HeaderDelivery) != "replay" {
			t.Error("a replay does not say so")
		}
	}
	if s := tr.statusOf(b.ctx, "loyalty"); s.Stream != "visits" || s.Delivered != 3 || s.Waiting != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestLateVisitsStayAway, and those of the history say what they are.
func TestLateVisitsStayAway(t *testing.T) {
	t.Parallel()
	b, clock := withVisits(t), newTestClock()
	r := newReceiver(t, accept)
	r.ownTime = true
	tr := newTrial(t, b, endpointYAML("welcome", r.URL, "stream: visits", "max_age: 15m"))
	tr.Now = clock.now
	tr.start(b)
	at := func(visit string, age time.Duration, arrival visits.Arrival) visits.Event {
		e := visitEvent(visits.Started, visit, 1)
		e.Time, e.Data.Visit.Arrival = clock.now().Add(-age), arrival
		return e.Sealed()
	}
	b.publishVisits(at("late", time.Hour, visits.Seen), at("past", time.Minute, visits.Backfilled), at("fresh", time.Minute, visits.Seen))
	untilTaken(t, r, 2)
	tr.untilSeen("welcome", Skipped, 1)
	for _, got := range r.taken() {
		want := ""
		if strings.Contains(string(got.body), `"past"`) {
			want = "backfill"
		}
		if got.header.Get(HeaderDelivery) != want {
			t.Errorf("%s says that it is %q, want %q", got.body, got.header.Get(HeaderDelivery), want)
		}
	}
	list, err := tr.Skipped(b.ctx, "welcome", 0)
	if err != nil || len(list) != 1 || list[0].Stream != "visits" || list[0].Subject != "late" || list[0].Location != "hotel-1" {
		t.Errorf("skipped %+v, %v", list, err)
	}
}

// TestAnEndpointChangesItsStream: it begins anew in the other one, and its tries of
// events there are not counted for those here.
func TestAnEndpointChangesItsStream(t *testing.T) {
	t.Parallel()
	b := withVisits(t)
	var down atomic.Bool
	down.Store(true)
	r := newReceiver(t, func(w http.ResponseWriter, r received) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		accept(w, r)
	})
	tr := newTrial(t, b, endpointYAML("crm", r.URL))
	tr.start(b)
	b.publishVisits(visitEvent(visits.Started, "before", 1))
	b.publish(sample(events.Started, "s", 1))
	tr.untilSeen("crm", Failed, 3)
	write(t, tr.Path, "endpoints:\n"+endpointYAML("crm", r.URL, "stream: visits"))
	tr.eventually("a place among the visits", func() bool {
		_, err := b.js.Consumer(b.ctx, visits.DefaultStream, Durable("crm"))
		return err == nil
	})
	if _, err := b.js.Consumer(b.ctx, events.DefaultStream, Durable("crm")); err == nil {
		t.Error("its consumer of sessions is still there")
	}
	if n := b.tries(); n != 0 {
		t.Errorf("%d counts of tries of the other stream are left", n)
	}
	down.Store(false)
	b.publishVisits(visitEvent(visits.Started, "after", 1))
	untilTaken(t, r, 1)
	if got := visitsIn(t, r.taken()); !slices.Equal(got, []string{"started after"}) {
		t.Errorf("delivered %v", got)
	}
}

// TestEntriesOfVisitsAreChecked: in the words of visits.
func TestEntriesOfVisitsAreChecked(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		"stream: visit":                                           `stream: unknown stream "visit"; did you mean visits?`,
		"kinds: [stayed]":                                         `kinds: "stayed" is a kind of the stream visits; add stream: visits`,
		"stream: visits\n    kinds: [traffic]":                    `kinds: "traffic" is a kind of the stream sessions; add stream: sessions`,
		"stream: visits\n    kinds: [begun]":                      `kinds: unknown kind "begun"; known are [started counted stayed ended lapsed]`,
		"stream: visits\n    condition: session.guest_id != \"\"": "column 1: unknown name session; known are id, account, kind, time, groups, revision",
		"stream: visits\n    condition: visit.plac == \"\"":       "column 7: visit has no field plac; did you mean place?",
	} {
		if _, err := parse(t, "endpoints:\n  - GOOD\n    "+lines); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
}

func TestSampleVisitsMeetTheEntry(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]visits.Kind{
		"":                                     visits.Started,
		`condition: threshold_seconds == 3600`: visits.Stayed,
		`condition: visit.sessions > 3 && observed.end == "presumed"`:               visits.Ended,
		`condition: visit.arrival == "discovered" && visit.identity == "device"`:    visits.Started,
		`condition: visit.number == 1`:                                              visits.Started,
		"kinds: [counted]\n    condition: visit.number == 1 && guest.email != \"\"": visits.Counted,
		`condition: visit.first == "no" && visit.days_since_last >= 90`:             visits.Started,
		"kinds: [lapsed]\n    condition: threshold_seconds >= 30 * 86400":           visits.Lapsed,
		`locations: ["airport-*"]`:                                                  visits.Started,
		"kinds: [ended]\n    condition: visit.duration_seconds < 60":                visits.Ended,
	} {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    stream: visits\n    "+lines)
		if err != nil {
			t.Errorf("%s: %v", lines, err)
			continue
		}
		n, err := sampleFor(cfg.Endpoints[0], "", sampleTime)
		if err != nil || n.kind != string(want) {
			t.Errorf("%s: a sample of kind %s, %v; want %s", lines, n.kind, err, want)
			continue
		}
		if body, err := n.topic.encode(n.of); err != nil {
			t.Errorf("%s: %v", lines, err)
		} else if _, err := visits.Decode(body); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

func TestConditionKnowsEveryFieldOfAVisit(t *testing.T) {
	t.Parallel()
	knowsEveryField(t, visitTopic, reflect.TypeFor[visits.Data]())

	// And has its value: the document, as a condition sees it.
	e := SampleVisit(visits.Ended, sampleTime)
	body, err := visits.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Data struct{ Visit map[string]any }
	}
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	seen := reflect.ValueOf(visitFactsOf(&e, nil).Visit)
	for i := range seen.NumField() {
		name := seen.Type().Field(i).Tag.Get("expr")
		value := seen.Field(i).Interface()
		if t0, ok := value.(time.Time); ok {
			value = t0.Format(time.RFC3339)
		}
		if inDocument, ok := d.Data.Visit[name]; ok && fmt.Sprint(inDocument) != fmt.Sprint(value) && fmt.Sprintf("%.0f", inDocument) != fmt.Sprint(value) {
			t.Errorf("visit.%s is %v in the document and %v in conditions", name, inDocument, value)
		}
	}
}
