package story

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func event(account, session string, kind events.Kind, revision int64, at time.Time, o events.Observed) events.Event {
	e := events.Event{Account: account, Kind: kind, Time: at, Data: events.Data{Revision: revision, Observed: o}}
	e.Data.Session = events.Session{ID: session, LocationID: "bar", Online: kind != events.Ended, StartedAt: noon}
	return e.Sealed()
}

func stored(t *testing.T, all ...events.Event) jetstream.Stream {
	t.Helper()
	js := natstest.New(t).JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{events.Subjects{}.All()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}

// TestTellsOneSession: its events alone, in order, each with the bounds of when it
// happened, and with what is missing.
func TestTellsOneSession(t *testing.T) {
	t.Parallel()
	looked := noon.Add(5 * time.Second)
	stream := stored(t,
		event("default", "s-1", events.Started, 1, noon, events.Observed{At: looked}),
		event("default", "s-10", events.Started, 1, noon, events.Observed{At: looked}),
		event("other", "s-1", events.Started, 1, noon, events.Observed{At: looked}),
		event("default", "s-1", events.Traffic, 2, looked, events.Observed{At: looked}),
		event("default", "s-1", events.Ended, 5, noon.Add(time.Minute), events.Observed{At: noon.Add(time.Minute), NotYetAt: looked, End: events.EndInferred}),
		event("default", "s-1", events.Traffic, 6, noon.Add(time.Hour), events.Observed{At: noon.Add(time.Hour)}),
	)
	all, err := Tell(t.Context(), stream, Query{Session: "s-1"})
	if err != nil || len(all) != 2 || all[0].Account != "default" || all[1].Account != "other" || len(all[1].Chapters) != 1 {
		t.Fatalf("told %+v, %v", all, err)
	}
	for i, want := range []struct {
		sequence uint64
		kind     events.Kind
		happened Span
		missing  int64
		wrong    bool
		bounded  bool
	}{
		{1, events.Started, Span{noon, noon}, 0, false, true},
		{4, events.Traffic, Span{time.Time{}, looked}, 0, false, false},
		{5, events.Ended, Span{looked, noon.Add(time.Minute)}, 2, false, true},
		{6, events.Traffic, Span{time.Time{}, noon.Add(time.Hour)}, 0, true, false},
	} {
		c := all[0].Chapters[i]
		if c.Sequence != want.sequence || c.Event.Kind != want.kind || c.Happened != want.happened || c.Missing != want.missing ||
			(c.Wrong != "") != want.wrong || (c.Delay.AtMost >= 0) != want.bounded || c.Stored.IsZero() {
			t.Errorf("chapter %d: %+v, want %+v", i, c, want)
		}
	}
	if d, end := all[0].Chapters[2].Delay, all[0].Chapters[2]; d.AtMost-d.AtLeast != 55*time.Second || d.AtLeast != end.Stored.Sub(noon.Add(time.Minute)) {
		t.Errorf("the end's delay is %+v", d)
	}
	if _, err := Tell(t.Context(), stream, Query{Session: "s"}); !errors.Is(err, ErrNothing) {
		t.Errorf("a session of which there is nothing: %v", err)
	}
	if all, err := Tell(t.Context(), stream, Query{Session: "s-1", Account: "other"}); err != nil || len(all) != 1 {
		t.Errorf("of one account: %+v, %v", all, err)
	}
}

// TestTellsSessionsOfAnyName: also of those that stand escaped in a document.
func TestTellsSessionsOfAnyName(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`a"b\c`, "ä\u2028<", "-"} {
		stream := stored(t, event("default", id, events.Started, 1, noon, events.Observed{At: noon}))
		if all, err := Tell(t.Context(), stream, Query{Session: id}); err != nil || len(all) != 1 {
			t.Errorf("%q: %v, %v", id, all, err)
		}
	}
}
