package diff_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

const account = "acme"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// ledger keeps what Compare needs to know from look to look, as a store and a
// poller do, and holds all changes against the guarantees that no look may break.
type ledger struct {
	rules    diff.Rules
	states   map[string]events.State
	tracking map[string]diff.Tracking
	stream   []events.Event
	ids      map[string]bool
}

func newLedger(rules diff.Rules) *ledger {
	rules.Account = account
	return &ledger{
		rules:    rules,
		states:   map[string]events.State{},
		tracking: map[string]diff.Tracking{},
		ids:      map[string]bool{},
	}
}

// online returns the states that are online in a location, by id.
func (l *ledger) online(location string) []events.State {
	var states []events.State
	for _, id := range slices.Sorted(maps.Keys(l.states)) {
		if s := l.states[id]; s.Session.Online && s.Session.LocationID == location {
			states = append(states, s)
		}
	}
	return states
}

func (l *ledger) count() int {
	n := 0
	for _, s := range l.states {
		if s.Session.Online {
			n++
		}
	}
	return n
}

// known is what a location's whole list is compared with.
func (l *ledger) known(location string) diff.Known {
	return diff.Known{
		Expected: l.online(location),
		Find:     func(id string) (events.State, bool) { s, ok := l.states[id]; return s, ok },
		Tracking: func(s *events.Session) diff.Tracking { return l.tracking[s.LocationID] },
	}
}

// look compares a location's whole list, from which absence means that a session is
// gone, with what is known, and takes the changes over.
func (l *ledger) look(t tester, location string, snap diff.Snapshot) []events.Event {
	t.Helper()
	changes := l.compare(t, location, l.known(location), snap)
	track := l.tracking[location]
	track.SeenAt = snap.From
	l.tracking[location] = track
	return changes
}

// part does the same with a part of a list, from which absence means nothing.
func (l *ledger) part(t tester, location string, snap diff.Snapshot) []events.Event {
	t.Helper()
	known := l.known(location)
	known.Expected = nil
	return l.compare(t, location, known, snap)
}

func (l *ledger) compare(t tester, location string, known diff.Known, snap diff.Snapshot) []events.Event {
	t.Helper()
	expected, shown := slices.Clone(known.Expected), slices.Clone(snap.Sessions)
	changes := diff.Compare(known, snap, l.rules)
	if again := diff.Compare(known, snap, l.rules); !reflect.DeepEqual(changes, again) {
		t.Fatalf("the same input was told in two ways:\n%v\n%v", told(changes), told(again))
	}
	if !slices.Equal(shown, snap.Sessions) || !slices.Equal(expected, known.Expected) {
		t.Fatalf("Compare altered its input")
	}
	l.take(t, known, snap, changes)
	if track := l.tracking[location]; track.Since.IsZero() {
		track.Since = snap.From
		l.tracking[location] = track
	}
	return changes
}

func (l *ledger) take(t tester, known diff.Known, snap diff.Snapshot, changes []events.Event) {
	t.Helper()
	for _, e := range changes {
		id := e.Data.Session.ID
		before := l.states[id]
		after, err := before.Apply(e)
		if err != nil {
			t.Fatalf("the event does not follow the state: %v", err)
		}
		sound(t, before, e, snap)
		if e.Data.Observed.End == events.EndInferred || e.Data.Observed.End == events.EndPresumed {
			absent(t, id, known, snap)
		}
		if l.ids[e.ID] {
			t.Fatalf("session %s: event id %s of its %s was used before", id, e.ID, e.Kind)
		}
		l.ids[e.ID] = true
		l.states[id] = after
		l.stream = append(l.stream, e)
	}
}

// absent checks that a session was expected and is not shown.
func absent(t tester, id string, known diff.Known, snap diff.Snapshot) {
	t.Helper()
	if !slices.ContainsFunc(known.Expected, func(s events.State) bool { return s.Session.ID == id }) {
		t.Fatalf("session %s ended and was not expected", id)
	}
	if slices.ContainsFunc(snap.Sessions, func(s events.Session) bool { return s.ID == id }) {
		t.Fatalf("session %s ended and is shown", id)
	}
}

// sound checks what holds for each event whatever led to it.
func sound(t tester, before events.State, e events.Event, snap diff.Snapshot) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("session %s: %s at revision %d: %s", e.Data.Session.ID, e.Kind, e.Data.Revision, fmt.Sprintf(format, args...))
	}
	d := &e.Data
	s, o := &d.Session, &d.Observed
	switch {
	case e.ID == "" || e.ID != e.Sealed().ID:
		fail("the id %q is not the sealed one", e.ID)
	case e.Account != account:
		fail("account %q", e.Account)
	case !o.At.Equal(snap.At):
		fail("seen at %v, not when the list was there", o.At)
	case o.NotYetAt.After(o.At) || o.NotYetAt.After(e.Time):
		fail("not yet at %v, but at %v, seen at %v", o.NotYetAt, e.Time, o.At)
	case (e.Kind == events.Ended) != (o.End != ""):
		fail("end %q", o.End)
	case o.End == events.EndInferred && snap.Presumed || o.End == events.EndPresumed && !snap.Presumed:
		fail("end %q, and presumed is %v", o.End, snap.Presumed)
	case s.Online && !s.EndedAt.IsZero():
		fail("online with an end at %v", s.EndedAt)
	case before.Tracked() && (before.Session.Downloaded.Known() && !s.Downloaded.Known() || before.Session.Uploaded.Known() && !s.Uploaded.Known()):
		fail("a figure that was known is unknown")
	case o.Rounding != events.Rounding{DownloadedBytes: s.Downloaded.Error, UploadedBytes: s.Uploaded.Error}:
		fail("rounding %+v", o.Rounding)
	}
	old := &before.Session
	down, up := s.Downloaded.Value-old.Downloaded.Value, s.Uploaded.Value-old.Uploaded.Value
	want := &events.Change{DownloadedBytes: down, UploadedBytes: up, Reset: down < 0 || up < 0}
	if !before.Tracked() || (down == 0 && up == 0) {
		want = nil
	}
	if !reflect.DeepEqual(d.Change, want) {
		fail("change %+v, want %+v", d.Change, want)
	}
	var previous *events.Previous
	if before.Tracked() {
		previous = s.Replaced(old)
	}
	if !reflect.DeepEqual(d.Previous, previous) {
		fail("previous %+v, want %+v", d.Previous, previous)
	}
	switch {
	case e.Kind == events.Traffic && (d.Change == nil || attributes(d.Previous) != "{}"):
		fail("change %+v, previous %s", d.Change, attributes(d.Previous))
	case e.Kind == events.Updated && (d.Change != nil || d.Previous == nil):
		fail("change %+v, previous %+v", d.Change, d.Previous)
	}
	body, err := events.Encode(e)
	if err != nil {
		fail("%v", err)
	}
	if back, err := events.Decode(body); err != nil || !reflect.DeepEqual(back, e) {
		fail("it does not come back from its wire form: %v\n%+v\n%+v", err, e, back)
	}
}

// attributes renders the old values of an event, figures aside.
func attributes(p *events.Previous) string {
	if p == nil {
		return "{}"
	}
	c := *p
	c.DownloadedBytes, c.UploadedBytes, c.DurationSeconds = nil, nil, nil
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// told renders changes in one line.
func told(changes []events.Event) string {
	var parts []string
	for i := range changes {
		e := &changes[i]
		part := string(e.Kind) + " " + e.Data.Session.ID
		if e.Data.Observed.End != "" {
			part += " " + string(e.Data.Observed.End)
		}
		if e.Data.Observed.Backfilled {
			part += " backfilled"
		}
		if ch := e.Data.Change; ch != nil {
			part += fmt.Sprintf(" %+d/%+d", ch.DownloadedBytes, ch.UploadedBytes)
			if ch.Reset {
				part += " reset"
			}
		}
		if p := attributes(e.Data.Previous); p != "{}" {
			part += " " + p
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// session returns a record of a session that came online an hour before noon.
func session(id string, with ...func(*events.Session)) events.Session {
	s := events.Session{
		ID: id, LocationID: "hall", LocationName: "The Hall", GuestID: "guest of " + id, DeviceIP: "10.0.0.1",
		Online: true, StartedAt: noon.Add(-time.Hour), DurationSeconds: 60,
		Downloaded: events.Bytes{Value: 1000}, Uploaded: events.Bytes{Value: 500},
	}
	for _, f := range with {
		f(&s)
	}
	return s
}

type edit = func(*events.Session)

func startedAt(at time.Time) edit { return func(s *events.Session) { s.StartedAt = at } }
func ip(v string) edit            { return func(s *events.Session) { s.DeviceIP = v } }
func down(v, err int64) edit {
	return func(s *events.Session) { s.Downloaded = events.Bytes{Value: v, Error: err} }
}
func up(v, err int64) edit {
	return func(s *events.Session) { s.Uploaded = events.Bytes{Value: v, Error: err} }
}
func in(location, name string) edit {
	return func(s *events.Session) { s.LocationID, s.LocationName = location, name }
}

// offline is the platform's report of an end.
func offline(at time.Time) edit {
	return func(s *events.Session) { s.Online, s.EndedAt = false, at }
}

// list returns what a list showed that was asked for some minutes past noon and
// took two seconds.
func list(n int, sessions ...events.Session) diff.Snapshot {
	at := minute(n)
	return diff.Snapshot{Sessions: sessions, From: at, At: at.Add(2 * time.Second)}
}

func minute(n int) time.Time { return noon.Add(minutes(n)) }

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }
