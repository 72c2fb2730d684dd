package events

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// life draws the events of one session in an order that the contract allows.
func life(t *rapid.T) []Event {
	account := genName().Draw(t, "life's account")
	first := rapid.SampledFrom([]Kind{Discovered, Started}).Draw(t, "first")
	all := []Event{eventOf(t, first, genSession().Draw(t, "session"), 0, 0)}
	for range rapid.IntRange(0, 12).Draw(t, "more") {
		last := all[len(all)-1].Data
		kind := Resumed
		old := last.Session
		if old.Online {
			kind = rapid.SampledFrom([]Kind{Traffic, Updated, Ended}).Draw(t, "kind")
		} else {
			old.Online = true
		}
		all = append(all, eventOf(t, kind, old, last.Revision, last.Episode))
	}
	for i := range all {
		all[i].Account = account
		all[i] = all[i].Sealed()
	}
	return all
}

func fold(t interface{ Fatalf(string, ...any) }, all []Event) State {
	var s State
	for i, e := range all {
		next, err := s.Apply(e)
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		s = next
	}
	return s
}

func TestFoldOfALifeIsItsLastEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := life(t)
		if got, want := fold(t, all), StateOf(all[len(all)-1]); !reflect.DeepEqual(got, want) {
			t.Fatalf("folded to %v, want %v", got, want)
		}
	})
}

func TestAnEventAppliesOnceAndInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := life(t)
		at := rapid.IntRange(0, len(all)-1).Draw(t, "at")
		state := fold(t, all[:at])
		for i, e := range all {
			next, err := state.Apply(e)
			switch {
			case i < at && !errors.Is(err, ErrStale), i == at && err != nil, i > at && !errors.Is(err, ErrGap):
				t.Fatalf("event %d of a state after %d: error %v", i, at, err)
			case err != nil && !reflect.DeepEqual(next, state):
				t.Fatalf("event %d changed the state in spite of error %v", i, err)
			}
		}
	})
}

func TestOrderOfKindsIsKept(t *testing.T) {
	online := StateOf(sample())
	gone := StateOf(samples()[3])
	allowed := map[string]map[Kind]bool{
		"new":    {Discovered: true, Started: true},
		"online": {Traffic: true, Updated: true, Ended: true},
		"gone":   {Resumed: true},
	}
	for name, state := range map[string]State{"new": {}, "online": online, "gone": gone} {
		for _, kind := range Kinds() {
			e := sample()
			e.Kind = kind
			e.Data.Revision = state.Revision + 1
			e.Data.Session.Online = kind != Ended
			if kind == Resumed {
				e.Data.Episode = state.Episode + 1
			}
			_, err := state.Apply(e)
			if allowed[name][kind] && err != nil || !allowed[name][kind] && !errors.Is(err, ErrOrder) {
				t.Errorf("%s session, %s: error %v", name, kind, err)
			}
		}
	}
}

func TestApplyRefusesContradictions(t *testing.T) {
	online := StateOf(sample())
	for name, damage := range map[string]func(*Event){
		"another session":             func(e *Event) { e.Data.Session.ID = "other" },
		"traffic of offline session":  func(e *Event) { e.Data.Session.Online = false },
		"ended but online":            func(e *Event) { e.Kind = Ended },
		"traffic of another episode":  func(e *Event) { e.Data.Episode = 1 },
		"resumed before it had ended": func(e *Event) { e.Kind, e.Data.Episode = Resumed, 1 },
	} {
		e := samples()[1]
		damage(&e)
		if _, err := online.Apply(e); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: error %v, want ErrOrder", name, err)
		}
	}
}

func TestZeroStateIsNotTracked(t *testing.T) {
	if (State{}).Tracked() || !StateOf(sample()).Tracked() {
		t.Error("Tracked does not tell a session with events from one without")
	}
}

// traffics draws two traffic events in a row and the state before them.
func traffics(t *rapid.T) (State, Event, Event) {
	first := eventOf(t, Started, genSession().Draw(t, "session"), 0, 0)
	a := eventOf(t, Traffic, first.Data.Session, 1, 0)
	b := eventOf(t, Traffic, a.Data.Session, 2, 0)
	a.Account, b.Account = first.Account, first.Account
	return StateOf(first), a.Sealed(), b.Sealed()
}

func TestMergedEventStandsForBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, a, b := traffics(t)
		merged, ok := Merge(a, b)
		if !ok {
			t.Fatal("two traffic events in a row did not merge")
		}
		one, err := before.Apply(merged)
		if err != nil {
			t.Fatal(err)
		}
		middle, err := before.Apply(a)
		if err != nil {
			t.Fatal(err)
		}
		two, err := middle.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		two.Revision--
		if !reflect.DeepEqual(one, two) {
			t.Fatalf("merged gives %v, one by one %v", one, two)
		}
		d, s, o := merged.Data, merged.Data.Session, before.Session
		if d.Change.DownloadedBytes != s.Downloaded.Value-o.Downloaded.Value || d.Change.UploadedBytes != s.Uploaded.Value-o.Uploaded.Value {
			t.Fatalf("change %v does not lead from %v to %v", d.Change, o, s)
		}
		if *d.Previous.DownloadedBytes != o.Downloaded.Value || d.Observed.NotYetAt != a.Data.Observed.NotYetAt || d.Observed.At != b.Data.Observed.At {
			t.Fatalf("merged %v does not reach from before %v to %v", merged, a, b)
		}
		if merged.ID == a.ID || merged.ID == b.ID || merged.ID != merged.Sealed().ID {
			t.Fatalf("merged id %s of %s and %s is not its own", merged.ID, a.ID, b.ID)
		}
		if *a.Data.Previous.DownloadedBytes != o.Downloaded.Value || a.Data.Revision != 2 {
			t.Fatal("merging changed the older event")
		}
	})
}

func TestMergeRefusesWhatItCannotStandFor(t *testing.T) {
	all := samples()
	a := all[1]
	b := a
	b.Data.Revision++
	if _, ok := Merge(a, b); !ok {
		t.Fatal("the undamaged pair did not merge")
	}
	for name, damage := range map[string]func(a, b *Event){
		"another account":   func(_, b *Event) { b.Account = "x" },
		"another session":   func(_, b *Event) { b.Data.Session.ID = "x" },
		"another episode":   func(_, b *Event) { b.Data.Episode++ },
		"a gap":             func(_, b *Event) { b.Data.Revision++ },
		"the same revision": func(_, b *Event) { b.Data.Revision-- },
		"updated older":     func(a, _ *Event) { a.Kind = Updated },
		"ended newer":       func(_, b *Event) { b.Kind = Ended },
		"no older change":   func(a, _ *Event) { a.Data.Change = nil },
		"no newer change":   func(_, b *Event) { b.Data.Change = nil },
		"no older previous": func(a, _ *Event) { a.Data.Previous = nil },
	} {
		a, b := a, b
		damage(&a, &b)
		if m, ok := Merge(a, b); ok {
			t.Errorf("%s: merged to %v", name, m)
		}
	}
}
