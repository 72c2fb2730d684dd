package diff_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
)

var (
	places = []string{"hall", "bar", "roof"}
	people = []string{"a", "b", "c", "d", "e", "f", "g"}
)

// genRecord draws any record of a few sessions: gaps, unknown and falling
// figures, ends of sessions that are online, and other locations included.
func genRecord(location string) *rapid.Generator[events.Session] {
	figure := rapid.Custom(func(t *rapid.T) events.Bytes {
		if rapid.IntRange(0, 5).Draw(t, "unknown") == 0 {
			return events.UnknownBytes
		}
		return events.Bytes{Value: rapid.Int64Range(0, 400).Draw(t, "value"), Error: rapid.Int64Range(0, 30).Draw(t, "error")}
	})
	when := rapid.Custom(func(t *rapid.T) time.Time {
		n := rapid.IntRange(-2, 6).Draw(t, "minutes")
		if n == -2 {
			return time.Time{}
		}
		return minute(10 * n)
	})
	text := rapid.SampledFrom([]string{"", "x", "y"})
	return rapid.Custom(func(t *rapid.T) events.Session {
		s := events.Session{
			ID:              rapid.SampledFrom(people).Draw(t, "id"),
			LocationID:      location,
			LocationName:    text.Draw(t, "name"),
			GuestID:         text.Draw(t, "guest"),
			DeviceIP:        text.Draw(t, "ip"),
			ServiceProfile:  text.Draw(t, "profile"),
			Online:          rapid.IntRange(0, 4).Draw(t, "offline") > 0,
			StartedAt:       when.Draw(t, "started"),
			EndedAt:         when.Draw(t, "ended"),
			DurationSeconds: rapid.Int64Range(0, 90).Draw(t, "duration"),
			Downloaded:      figure.Draw(t, "down"),
			Uploaded:        figure.Draw(t, "up"),
		}
		if rapid.IntRange(0, 4).Draw(t, "elsewhere") == 0 {
			s.LocationID = rapid.SampledFrom(places).Draw(t, "location")
		}
		return s
	})
}

// genLook draws a location and a list of it, asked for in the nth minute.
func genLook(n int) *rapid.Generator[look] {
	return rapid.Custom(func(t *rapid.T) look {
		location := rapid.SampledFrom(places).Draw(t, "list of")
		snap := list(n, rapid.SliceOfN(genRecord(location), 0, 12).Draw(t, "records")...)
		snap.History = rapid.Bool().Draw(t, "history")
		return look{location, rapid.Bool().Draw(t, "whole"), snap}
	})
}

type look struct {
	location string
	whole    bool
	snap     diff.Snapshot
}

func (k look) at(t tester, l *ledger) []events.Event {
	t.Helper()
	if k.whole {
		return l.look(t, k.location, k.snap)
	}
	return l.part(t, k.location, k.snap)
}

func genRules() *rapid.Generator[diff.Rules] {
	return rapid.Custom(func(t *rapid.T) diff.Rules {
		return diff.Rules{TrafficMinBytes: rapid.SampledFrom([]int64{0, 1, 50, 1000}).Draw(t, "threshold")}
	})
}

// The ledger checks each look of each law: every event follows the state, leads
// to the state beside it, and says truthfully what it replaced.

func TestSameSnapshotTwiceIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		for n := range rapid.IntRange(1, 12).Draw(t, "looks") {
			k := genLook(n).Draw(t, "look")
			tracking := maps.Clone(l.tracking)
			k.at(t, l)
			known := l.known(k.location)
			if !k.whole {
				known.Expected = nil
			}
			known.Tracking = func(s *events.Session) diff.Tracking { return tracking[s.LocationID] }
			if again := diff.Compare(known, k.snap, l.rules); len(again) > 0 {
				t.Fatalf("told once more: %s", told(again))
			}
		}
	})
}

func TestArrivalsAndEndsBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		for n := range rapid.IntRange(1, 30).Draw(t, "looks") {
			k := genLook(n).Draw(t, "look")
			before, at := l.count(), map[string]int{}
			for _, p := range places {
				at[p] = len(l.online(p))
			}
			d := k.at(t, l)
			balance := 0
			for i := range d {
				e := &d[i]
				here := e.Data.Session.LocationID
				from := here
				if p := e.Data.Previous; p != nil && p.LocationID != nil {
					from = *p.LocationID
				}
				switch {
				case e.Kind.Arrival():
					balance++
					at[here]++
				case e.Kind == events.Ended:
					balance--
					at[from]--
				default:
					at[from]--
					at[here]++
				}
			}
			if got := l.count() - before; got != balance {
				t.Fatalf("%d more online, arrivals minus ends %d: %s", got, balance, told(d))
			}
			for _, p := range places {
				if got := len(l.online(p)); got != at[p] {
					t.Fatalf("%d online in %s, its events lead to %d: %s", got, p, at[p], told(d))
				}
			}
		}
	})
}

func TestStreamAloneRebuildsTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		for n := range rapid.IntRange(1, 30).Draw(t, "looks") {
			k := genLook(n).Draw(t, "look")
			k.at(t, l)
		}
		rebuilt := map[string]events.State{}
		type figures struct{ down, up int64 }
		sums, first := map[string]figures{}, map[string]figures{}
		for _, e := range l.stream {
			s := &e.Data.Session
			next, err := rebuilt[s.ID].Apply(e)
			if err != nil {
				t.Fatal(err)
			}
			if !rebuilt[s.ID].Tracked() {
				first[s.ID] = figures{s.Downloaded.Value, s.Uploaded.Value}
			}
			if c := e.Data.Change; c != nil {
				sums[s.ID] = figures{sums[s.ID].down + c.DownloadedBytes, sums[s.ID].up + c.UploadedBytes}
			}
			rebuilt[s.ID] = next
		}
		if !maps.Equal(rebuilt, l.states) {
			t.Fatalf("the stream gives\n%+v, kept was\n%+v", rebuilt, l.states)
		}
		for id, s := range rebuilt {
			last := figures{s.Session.Downloaded.Value, s.Session.Uploaded.Value}
			if want := (figures{last.down - first[id].down, last.up - first[id].up}); sums[id] != want {
				t.Fatalf("session %s: its changes add up to %+v, its figures moved by %+v", id, sums[id], want)
			}
		}
	})
}

// Whatever was known, after a whole list it is what the list shows.
func TestWholeListLeavesWhatItShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		n := rapid.IntRange(0, 8).Draw(t, "looks")
		for i := range n {
			k := genLook(i).Draw(t, "look")
			k.at(t, l)
		}
		k := genLook(n).Draw(t, "last look")
		k.whole = true
		before := maps.Clone(l.states)
		k.at(t, l)

		shown := map[string]events.Session{}
		for _, s := range k.snap.Sessions {
			shown[s.ID] = s
		}
		var want []string
		for id, s := range shown {
			if s.Online && s.LocationID == k.location {
				want = append(want, id)
			}
			if err := follows(before[id], s, l.states[id], l.rules.TrafficMinBytes); err != nil {
				t.Fatalf("session %s was\n%+v, is shown as\n%+v, and is now\n%+v: %v", id, before[id], s, l.states[id], err)
			}
		}
		slices.Sort(want)
		var got []string
		for _, s := range l.online(k.location) {
			got = append(got, s.Session.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("online in %s are %q, the list shows %q", k.location, got, want)
		}
		for id, s := range l.states {
			if _, ok := shown[id]; !ok && before[id].Session.LocationID != k.location && s != before[id] {
				t.Fatalf("session %s of another location was touched", id)
			}
		}
	})
}

// follows checks a state after a record against the one before, field by field.
func follows(before events.State, shown events.Session, after events.State, threshold int64) error {
	if !shown.Online && !before.Session.Online {
		if after.Session.Online {
			return fmt.Errorf("it is online")
		}
		if before.Tracked() && after != before {
			return fmt.Errorf("an ended session changed")
		}
		return nil
	}
	if !before.Tracked() {
		before.Session.Downloaded, before.Session.Uploaded = events.UnknownBytes, events.UnknownBytes
	}
	old, now := &before.Session, &after.Session
	if now.Online != shown.Online {
		return fmt.Errorf("online: %v", now.Online)
	}
	for _, f := range []struct{ name, old, shown, now string }{
		{"location", old.LocationID, shown.LocationID, now.LocationID},
		{"guest", old.GuestID, shown.GuestID, now.GuestID},
		{"address", old.DeviceIP, shown.DeviceIP, now.DeviceIP},
		{"profile", old.ServiceProfile, shown.ServiceProfile, now.ServiceProfile},
	} {
		want := f.shown
		if want == "" {
			want = f.old
		}
		if f.now != want {
			return fmt.Errorf("%s %q, want %q", f.name, f.now, want)
		}
	}
	switch start := shown.StartedAt; {
	case start.IsZero() && !now.StartedAt.Equal(old.StartedAt), !start.IsZero() && !now.StartedAt.Equal(start):
		return fmt.Errorf("start %v", now.StartedAt)
	}
	// Only while a session stays online may a figure wait for the threshold.
	if !old.Online || !shown.Online {
		threshold = 1
	}
	for _, f := range []struct {
		name            string
		old, shown, now events.Bytes
	}{
		{"downloaded", old.Downloaded, shown.Downloaded, now.Downloaded},
		{"uploaded", old.Uploaded, shown.Uploaded, now.Uploaded},
	} {
		far := f.now.Value - f.shown.Value
		switch {
		case !f.shown.Known():
			if f.now != f.old {
				return fmt.Errorf("%s %v without a figure", f.name, f.now)
			}
		case far > 0 && f.now == f.old && far <= f.old.Error+f.shown.Error:
		case max(far, -far) >= max(1, threshold):
			return fmt.Errorf("%s is %d off", f.name, far)
		}
	}
	return nil
}

// What is told does not depend on how records are repeated, as long as the last
// one of each id stays where it is.
func TestRepeatedRecordsAreOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(genRules().Draw(t, "rules"))
		n := rapid.IntRange(0, 5).Draw(t, "looks")
		for i := range n {
			k := genLook(i).Draw(t, "look")
			k.at(t, l)
		}
		k := genLook(n).Draw(t, "last look")
		once := k.snap
		once.Sessions = nil
		for i, s := range k.snap.Sessions {
			if !slices.ContainsFunc(k.snap.Sessions[i+1:], func(o events.Session) bool { return o.ID == s.ID }) {
				once.Sessions = append(once.Sessions, s)
			}
		}
		repeated, single := diff.Compare(l.known(k.location), k.snap, l.rules), diff.Compare(l.known(k.location), once, l.rules)
		if !reflect.DeepEqual(repeated, single) {
			t.Fatalf("with repeated records told\n%s, without\n%s", told(repeated), told(single))
		}
	})
}
