package diff_test

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

func TestArrivalIsNotDiscovery(t *testing.T) {
	before, after, unknown := startedAt(noon.Add(-time.Second)), startedAt(noon), startedAt(time.Time{})
	none, begun := diff.Tracking{}, diff.Tracking{Since: noon}
	looked := diff.Tracking{Since: noon, SeenAt: minute(1)}
	// The platform tells starts in whole seconds.
	within := diff.Tracking{Since: noon.Add(400 * time.Millisecond)}
	tests := []struct {
		name     string
		tracking diff.Tracking
		started  edit
		want     events.Kind
	}{
		{"first look, started before", none, before, events.Discovered},
		{"first look, started later", none, after, events.Discovered},
		{"first look, start unknown", none, unknown, events.Discovered},
		{"no complete look yet, started before tracking", begun, before, events.Discovered},
		{"no complete look yet, started with tracking", begun, after, events.Started},
		{"no complete look yet, start unknown", begun, unknown, events.Discovered},
		{"tracking began within the second of the start", within, after, events.Started},
		{"tracking began in the second after the start", within, before, events.Discovered},
		{"after a complete look, started before tracking", looked, before, events.Discovered},
		{"after a complete look, started later", looked, after, events.Started},
		{"after a complete look, start unknown", looked, unknown, events.Started},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.tracking["hall"] = tt.tracking
			d := l.part(t, "hall", list(2, session("a", tt.started)))
			if len(d) != 1 || d[0].Kind != tt.want {
				t.Errorf("told %q, want %s", told(d), tt.want)
			}
		})
	}
	t.Run("nobody knows what is tracked", func(t *testing.T) {
		d := diff.Compare(diff.Known{}, list(0, session("a")), diff.Rules{Account: account})
		if got := told(d); got != "discovered a" {
			t.Errorf("told %q", got)
		}
	})
	t.Run("each session by its own location", func(t *testing.T) {
		l := newLedger(diff.Rules{})
		l.tracking["hall"] = looked
		if got := told(l.part(t, "hall", list(2, session("a", after), session("b", after, in("bar", "Bar"))))); got != "started a, discovered b" {
			t.Errorf("told %q", got)
		}
	})
}

func TestMoveIsAnUpdate(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, session("a"), session("b")))
	l.look(t, "bar", list(0))

	d := l.look(t, "bar", list(1, session("a", in("bar", "Bar"))))
	if got, want := told(d), `updated a {"location_id":"hall","location_name":"The Hall"}`; got != want {
		t.Fatalf("found in the other location, told %q, want %q", got, want)
	}
	if d := l.look(t, "hall", list(2, session("b"))); len(d) > 0 {
		t.Fatalf("missing from the location it left, told %q", told(d))
	}
	// A list of one location may show another one's session.
	d = l.look(t, "hall", list(3, session("b", in("bar", "Bar"), down(1500, 0))))
	if got, want := told(d), `updated b {"location_id":"hall","location_name":"The Hall"}, traffic b +500/+0`; got != want {
		t.Fatalf("shown with another location, told %q, want %q", got, want)
	}
	if got := told(l.look(t, "bar", list(4, session("b", in("bar", "Bar"))))); got != `traffic b -500/+0 reset, ended a inferred` {
		t.Fatalf("told %q", got)
	}
}

// A name belongs to its location: the old one's would be wrong in the new one.
func TestMoveTakesNoLocationNameAlong(t *testing.T) {
	l := newLedger(diff.Rules{})
	l.look(t, "hall", list(0, session("a")))
	d := l.look(t, "bar", list(1, session("a", in("bar", ""))))
	if got, want := told(d), `updated a {"location_id":"hall","location_name":"The Hall"}`; got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
	if s := l.states["a"].Session; s.LocationName != "" {
		t.Errorf("location %q is named %q", s.LocationID, s.LocationName)
	}
	if d := l.look(t, "bar", list(2, session("a", in("bar", "Bar")))); told(d) != `updated a {"location_name":""}` {
		t.Errorf("told %q", told(d))
	}
}

func TestResumedIsANewEpisode(t *testing.T) {
	l := newLedger(diff.Rules{TrafficMinBytes: 1 << 40})
	l.look(t, "hall", list(0, session("a")))
	l.look(t, "hall", list(1, session("a", offline(minute(1)), down(1200, 0))))
	l.look(t, "hall", list(4, session("a", offline(minute(1)), down(1200, 0))))

	d := l.look(t, "hall", list(5, session("a", ip("10.0.0.2"), down(1300, 0))))
	if got, want := told(d), `resumed a +100/+0 {"device_ip":"10.0.0.1"}`; got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
	e := d[0]
	if e.Data.Episode != 1 || e.Data.Revision != 3 || !e.Time.Equal(e.Data.Observed.At) || !e.Data.Observed.NotYetAt.Equal(minute(4)) {
		t.Errorf("resumed %+v at %v", e.Data, e.Time)
	}
	d = l.look(t, "hall", list(6))
	gone := d[0].Data.Observed.At
	if got := told(d); got != "ended a inferred" || d[0].Data.Episode != 1 {
		t.Fatalf("told %q in episode %d", got, d[0].Data.Episode)
	}
	d = l.part(t, "bar", list(7, session("a", in("bar", "Bar"), down(20, 0))))
	if got, want := told(d), `resumed a -1280/+0 reset {"location_id":"hall","location_name":"The Hall","device_ip":"10.0.0.2"}`; got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
	if at := d[0].Data.Observed.NotYetAt; !at.Equal(gone.Add(-15 * time.Second)) {
		t.Errorf("it had not resumed at %v: who is shown so soon after an end may have been shown before", at)
	}
	if got := l.states["a"]; got.Episode != 2 || got.Revision != 5 {
		t.Errorf("state %+v", got)
	}
}

func TestReportedEndHasFinalFigures(t *testing.T) {
	l := newLedger(diff.Rules{TrafficMinBytes: 1 << 40})
	l.look(t, "hall", list(0, session("a")))
	final := session("a", offline(minute(2)), down(1200, 5), func(s *events.Session) { s.DurationSeconds = 3720 })
	d := l.part(t, "hall", list(3, final))
	if got, want := told(d), "ended a reported +200/+0"; got != want {
		t.Fatalf("told %q, want %q", got, want)
	}
	e := d[0]
	if e.Data.Session != final || !e.Time.Equal(minute(2)) || !e.Data.Observed.NotYetAt.Equal(noon) {
		t.Errorf("ended %+v at %v", e.Data, e.Time)
	}
	if d := l.look(t, "hall", list(4, final)); len(d) > 0 {
		t.Errorf("the same report again tells %q", told(d))
	}
}

func TestInferredEndKeepsPublishedFigures(t *testing.T) {
	l := newLedger(diff.Rules{TrafficMinBytes: 100})
	l.look(t, "hall", list(0, session("a")))
	l.look(t, "hall", list(1, session("a", down(1050, 0))))
	e := l.look(t, "hall", list(2))[0]
	want := session("a", offline(time.Time{}))
	if e.Data.Session != want || !e.Time.Equal(e.Data.Observed.At) || !e.Data.Observed.NotYetAt.Equal(minute(1)) {
		t.Errorf("ended %+v at %v", e.Data, e.Time)
	}
}

func TestHistoryIsBackfilled(t *testing.T) {
	ended := func(start, end int) events.Session {
		return session("a", startedAt(minute(start)), offline(minute(end)), down(900, 5), up(0, 0))
	}
	begun := diff.Tracking{Since: noon}
	looked := diff.Tracking{Since: noon, SeenAt: minute(30)}
	backfilled := "started a backfilled, ended a reported backfilled +900/+0"
	tests := []struct {
		name     string
		tracking diff.Tracking
		history  bool
		shown    events.Session
		want     string
	}{
		{"began after tracking", begun, true, ended(1, 5), backfilled},
		{"began with tracking", begun, true, ended(0, 5), backfilled},
		{"began within the second of tracking", diff.Tracking{Since: noon.Add(400 * time.Millisecond)}, true, ended(0, 5), backfilled},
		{"began after tracking, with looks since", looked, true, ended(1, 5), backfilled},
		{"began before tracking", begun, true, ended(-1, 5), ""},
		{"began before tracking, with looks since", looked, true, ended(-1, 5), ""},
		{"start unknown", looked, true, session("a", startedAt(time.Time{}), offline(minute(5))), ""},
		{"location not tracked", diff.Tracking{}, true, ended(1, 5), ""},
		{"not a history", looked, false, ended(1, 5), ""},
		{"online in a history", looked, true, session("a", startedAt(minute(1))), "started a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.tracking["hall"] = tt.tracking
			snap := list(40, tt.shown)
			snap.History = tt.history
			if got := told(l.part(t, "hall", snap)); got != tt.want {
				t.Fatalf("told %q, want %q", got, tt.want)
			}
			if d := l.part(t, "hall", snap); len(d) > 0 {
				t.Errorf("the same history again tells %q", told(d))
			}
		})
	}
	for _, tt := range []struct {
		name     string
		past     diff.Span
		from, to int
		want     string
	}{
		{"within the past that is asked for", diff.Span{From: minute(-20)}, -15, -10, backfilled},
		{"at its beginning", diff.Span{From: minute(-15)}, -15, -10, backfilled},
		{"before it", diff.Span{From: minute(-14)}, -15, -10, ""},
		{"behind what was asked for earlier", diff.Span{From: minute(-20), To: minute(-15)}, -15, -10, ""},
		{"online when tracking began", diff.Span{From: minute(-20)}, -15, 5, ""},
		{"nothing is asked for", diff.Span{}, -15, -10, ""},
	} {
		t.Run("past: "+tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.tracking["hall"] = looked
			snap := list(40, ended(tt.from, tt.to))
			snap.History, snap.Past = true, tt.past
			if got := told(l.part(t, "hall", snap)); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("with its own times", func(t *testing.T) {
		l := newLedger(diff.Rules{})
		l.tracking["hall"] = looked
		snap := list(40, ended(1, 5))
		snap.History = true
		d := l.part(t, "hall", snap)
		start, end := d[0], d[1]
		// The look at minute 30 did not show that it had begun: its own time does.
		if !start.Data.Observed.NotYetAt.Equal(minute(1)) {
			t.Errorf("started not yet at %v", start.Data.Observed.NotYetAt)
		}
		if s := start.Data.Session; !start.Time.Equal(minute(1)) || !s.Online || s.DurationSeconds != 0 || s.Downloaded.Value != 0 || s.Uploaded.Value != 0 {
			t.Errorf("started at %v as %+v", start.Time, s)
		}
		if !end.Time.Equal(minute(5)) || end.Data.Session != ended(1, 5) {
			t.Errorf("ended at %v as %+v", end.Time, end.Data.Session)
		}
	})
	t.Run("known sessions are compared as ever", func(t *testing.T) {
		l := newLedger(diff.Rules{})
		l.look(t, "hall", list(0, session("a")))
		snap := list(40, session("a", offline(minute(5))))
		snap.History = true
		if got, want := told(l.part(t, "hall", snap)), "ended a reported"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestTimeIsBounded(t *testing.T) {
	seen := diff.Tracking{Since: noon, SeenAt: minute(10)}
	tests := []struct {
		name         string
		tracking     diff.Tracking
		before       []events.Session // known from a list at minute 0
		shown        []events.Session // at minute 20
		kind         events.Kind
		time, notYet time.Time
	}{
		{"discovered: no earlier look", diff.Tracking{}, nil, []events.Session{session("a")},
			events.Discovered, noon.Add(-time.Hour), time.Time{}},
		{"started: after the last complete look", seen, nil, []events.Session{session("a", startedAt(minute(15)))},
			events.Started, minute(15), minute(10)},
		{"started, time unknown", seen, nil, []events.Session{session("a", startedAt(time.Time{}))},
			events.Started, minute(20).Add(2 * time.Second), minute(10)},
		{"started before the look that did not show it", seen, nil, []events.Session{session("a", startedAt(minute(5)))},
			events.Started, minute(5), minute(5)},
		{"ended, reported", seen, []events.Session{session("a")}, []events.Session{session("a", offline(minute(15)))},
			events.Ended, minute(15), minute(10)},
		{"ended, reported, time unknown", seen, []events.Session{session("a")}, []events.Session{session("a", offline(time.Time{}))},
			events.Ended, minute(20).Add(2 * time.Second), minute(10)},
		{"ended before the look that still showed it", seen, []events.Session{session("a")}, []events.Session{session("a", offline(minute(9)))},
			events.Ended, minute(9), minute(9)},
		{"ended, inferred", seen, []events.Session{session("a")}, nil,
			events.Ended, minute(20).Add(2 * time.Second), minute(10)},
		{"ended, begun after the last complete look", seen, []events.Session{session("a", startedAt(minute(12)))}, nil,
			events.Ended, minute(20).Add(2 * time.Second), minute(12)},
		{"ended, no complete look before", diff.Tracking{Since: noon}, []events.Session{session("a")}, nil,
			events.Ended, minute(20).Add(2 * time.Second), noon.Add(-time.Hour)},
		{"traffic", seen, []events.Session{session("a")}, []events.Session{session("a", down(2000, 0))},
			events.Traffic, minute(20).Add(2 * time.Second), minute(10)},
		{"updated", seen, []events.Session{session("a")}, []events.Session{session("a", ip("10.0.0.2"))},
			events.Updated, minute(20).Add(2 * time.Second), minute(10)},
		{"a start that the platform dates later than the list bounds nothing", seen, []events.Session{session("a", startedAt(minute(25)))}, nil,
			events.Ended, minute(20).Add(2 * time.Second), minute(10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.look(t, "hall", list(0, tt.before...))
			l.tracking["hall"] = tt.tracking
			d := l.look(t, "hall", list(20, tt.shown...))
			if len(d) != 1 || d[0].Kind != tt.kind {
				t.Fatalf("told %q, want %s", told(d), tt.kind)
			}
			e := d[0]
			if !e.Time.Equal(tt.time) || !e.Data.Observed.NotYetAt.Equal(tt.notYet) {
				t.Errorf("at %v, not yet at %v; want %v and %v", e.Time, e.Data.Observed.NotYetAt, tt.time, tt.notYet)
			}
		})
	}
}

func TestLastSightBoundsCloserThanTheLastLook(t *testing.T) {
	tests := []struct {
		name  string
		sight time.Time
		want  time.Time
	}{
		{"seen after the last complete look", minute(15), minute(15)},
		{"not seen by the last complete look", minute(5), minute(5)},
		{"not seen by this process: its last event tells, less the longest look", time.Time{}, minute(0).Add(-13 * time.Second)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(diff.Rules{})
			l.look(t, "hall", list(0, session("a")))
			l.tracking["hall"] = diff.Tracking{Since: noon, SeenAt: minute(10)}
			known := l.known("hall")
			known.SeenAt = func(string) time.Time { return tt.sight }
			for _, shown := range [][]events.Session{nil, {session("a", offline(minute(19)))}, {session("a", ip("10.0.0.2"))}} {
				d := diff.Compare(known, list(20, shown...), l.rules)
				if len(d) != 1 || !d[0].Data.Observed.NotYetAt.Equal(tt.want) {
					t.Errorf("told %q, not yet at %v; want %v", told(d), d[0].Data.Observed.NotYetAt, tt.want)
				}
			}
		})
	}
}

func TestEventIDs(t *testing.T) {
	tell := func(rules diff.Rules, minimum int64) []string {
		l := newLedger(rules)
		l.rules.TrafficMinBytes = minimum
		l.look(t, "hall", list(0))
		l.look(t, "hall", list(1, session("a")))
		l.look(t, "hall", list(2, session("a", down(1500, 0))))
		l.look(t, "hall", list(3))
		l.look(t, "hall", list(4, session("a")))
		l.look(t, "hall", list(5))
		var ids []string
		for _, e := range l.stream {
			if e.Kind != events.Traffic {
				ids = append(ids, e.ID)
			}
		}
		if len(ids) != 4 {
			t.Fatalf("%d changes of presence, want started, ended, resumed, ended", len(ids))
		}
		return ids
	}
	fine, coarse := tell(diff.Rules{}, 0), tell(diff.Rules{}, 1<<40)
	for i := range fine {
		if fine[i] != coarse[i] {
			t.Errorf("change of presence %d has id %s, with other figures %s", i, fine[i], coarse[i])
		}
	}
}
