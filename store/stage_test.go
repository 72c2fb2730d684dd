package store

import (
	"errors"
	"reflect"
	"testing"

	"github.com/guestflow/guestflow/events"
)

func TestWhatIsStagedIsKnownAtOnceAndWrittenInOrder(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	var want []events.Event
	stage := func(changes ...events.Event) {
		t.Helper()
		want = append(want, changes...)
		if err := s.Stage(Commit{Changes: changes, Locations: []LocationMark{{ID: "here", Name: "Here", TrackedSince: c.Now()}}}); err != nil {
			t.Fatal(err)
		}
	}
	stage(arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	stage(moved(state(t, s, "a"), "there", c.Now()))
	stage(ended(state(t, s, "a"), c.Now()))
	stage(resumed(state(t, s, "a"), c.Now()), ended(state(t, s, "b"), c.Now()))
	if got, last := state(t, s, "a"), events.StateOf(want[len(want)-2]); !reflect.DeepEqual(got, last) {
		t.Errorf("known is\n%+v, want\n%+v", got, last)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
	for _, of := range []*Store{s, openedAt(t, copied(t, s.path), Options{Now: c.Now})} {
		got := published(t, taken(t, of, 0, 100))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the outbox holds\n%+v, want\n%+v", got, want)
		}
		agree(t, of)
	}
}

func TestStagedTrafficIsMergedLikeCommittedTraffic(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()))
	taken(t, s, 0, 1)
	// Made of what was known before any of it was merged.
	st := state(t, s, "a")
	for range 5 {
		e := traffic(st, 10, c.Now())
		if err := s.Stage(Commit{Changes: []events.Event{e}}); err != nil {
			t.Fatal(err)
		}
		st = events.StateOf(e)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stage(Commit{Changes: []events.Event{ended(st, c.Now())}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
	got := published(t, taken(t, s, 0, 10))
	if len(got) != 3 || got[1].Data.Change.DownloadedBytes != 50 || got[2].Data.Revision != 3 || got[2].ID != got[2].Sealed().ID {
		t.Errorf("the outbox holds %+v", got)
	}
	agree(t, s)
	st.Revision = 1
	if err := s.Stage(Commit{Changes: []events.Event{ended(st, c.Now())}}); !errors.Is(err, ErrConflict) {
		t.Errorf("error is %v, want ErrConflict for a revision that was there already", err)
	}
}

func TestStagedChangesWaitForRoomInTheOutbox(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, OutboxMaxBytes: 1})
	commit(t, s, arrival("a", "here", c.Now()))
	if err := s.Stage(Commit{Changes: []events.Event{arrival("b", "here", c.Now())}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); !errors.Is(err, ErrOutboxFull) {
		t.Errorf("error is %v, want ErrOutboxFull", err)
	}
	if err := s.Stage(Commit{Changes: []events.Event{arrival("c", "here", c.Now())}}); !errors.Is(err, ErrOutboxFull) {
		t.Errorf("error is %v, want ErrOutboxFull", err)
	}
	if got := s.Outbox().Depth; got != 1 {
		t.Errorf("%d events wait, want 1", got)
	}
	if _, ok, err := s.State("c"); ok || err != nil || !state(t, s, "b").Tracked() {
		t.Errorf("known is not what was staged: %v", err)
	}
	taken(t, s, 0, 1)
	if err := s.Acked(Cursor{OutboxSeq: 1, StreamSeq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	sound(t, s)
	agree(t, s)
	if got := s.Outbox().Last; got != 2 {
		t.Errorf("the outbox ends at %d, want 2", got)
	}
}
