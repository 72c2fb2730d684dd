package store

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// published decodes what a consumer would get.
func published(t testing.TB, entries []Entry) []events.Event {
	t.Helper()
	var out []events.Event
	for _, e := range entries {
		event, err := events.Decode(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, event)
	}
	return out
}

func TestUnsentTrafficMergesIntoTheNewest(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	first := c.Now()
	for i := range int64(5) {
		commit(t, s, traffic(state(t, s, "a"), 10+i, c.Now()))
		sound(t, s)
		c.advance(time.Minute)
	}
	if got := s.Outbox().Depth; got != 3 {
		t.Fatalf("%d unsent, want the two starts and one traffic", got)
	}
	st := state(t, s, "a")
	if st.Revision != 2 || !st.SeenAt.Equal(c.Now().Add(-time.Minute)) {
		t.Errorf("state has revision %d of %v", st.Revision, st.SeenAt)
	}
	entries := taken(t, s, 2, 10)
	e := published(t, entries)[0]
	if d := e.Data; d.Revision != 2 || d.Change.DownloadedBytes != 60 || d.Session.Downloaded != st.Session.Downloaded {
		t.Errorf("merged event is %+v", d)
	}
	if e.ID != e.Sealed().ID || entries[0].ID != e.ID {
		t.Errorf("merged event has id %s, entry %s, want %s", e.ID, entries[0].ID, e.Sealed().ID)
	}
	if !entries[0].CommittedAt.Equal(first) {
		t.Errorf("committed at %v, want the time of the first, %v", entries[0].CommittedAt, first)
	}
}

func TestTakenTrafficIsNeverMerged(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	commit(t, s, traffic(state(t, s, "a"), 10, c.Now()), traffic(state(t, s, "b"), 10, c.Now()))
	before := taken(t, s, 0, 3) // a's traffic, not b's
	commit(t, s, traffic(state(t, s, "a"), 10, c.Now()), traffic(state(t, s, "b"), 10, c.Now()))
	sound(t, s)
	all := taken(t, s, 0, 10)
	if !reflect.DeepEqual(all[:3], before) {
		t.Error("an entry changed after it was taken")
	}
	type brief struct {
		session  string
		revision int64
	}
	var got []brief
	for _, e := range all {
		got = append(got, brief{e.SessionID, e.Revision})
	}
	want := []brief{{"a", 1}, {"b", 1}, {"a", 2}, {"b", 2}, {"a", 3}}
	if !slices.Equal(got, want) {
		t.Errorf("entries are %v, want %v", got, want)
	}
}

func TestTrafficLeftByAnEarlierProcessIsNotMerged(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()))
	commit(t, s, traffic(state(t, s, "a"), 10, c.Now()))
	again := openedAt(t, copied(t, s.path), Options{Now: c.Now})
	commit(t, again, traffic(state(t, again, "a"), 10, c.Now()))
	if got := again.Outbox().Depth; got != 3 {
		t.Errorf("%d unsent, want 3", got)
	}
	commit(t, again, traffic(state(t, again, "a"), 10, c.Now()))
	if got := again.Outbox().Depth; got != 3 {
		t.Errorf("%d unsent after traffic of this process, want 3", got)
	}
	sound(t, again)
}

func TestMergingRenumbersWhatFollowsInTheCommit(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()))
	commit(t, s, traffic(state(t, s, "a"), 10, c.Now()))
	more := traffic(state(t, s, "a"), 10, c.Now())
	away := moved(events.StateOf(more), "there", c.Now())
	still := traffic(events.StateOf(away), 10, c.Now())
	yet := traffic(events.StateOf(still), 10, c.Now())
	gone := ended(events.StateOf(yet), c.Now())
	commit(t, s, more, away, still, yet, gone)
	sound(t, s)
	got := published(t, taken(t, s, 0, 10))
	var st events.State
	var err error
	for _, e := range got {
		if st, err = st.Apply(e); err != nil {
			t.Error(err)
		}
		if e.ID != e.Sealed().ID {
			t.Errorf("revision %d has id %s, want %s", e.Data.Revision, e.ID, e.Sealed().ID)
		}
	}
	if len(got) != 5 || !reflect.DeepEqual(st, state(t, s, "a")) {
		t.Errorf("%d events lead to\n%+v, stored is\n%+v", len(got), st, state(t, s, "a"))
	}
}

func TestFullOutboxTakesNothingButMergesAndEmptiesAgain(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, OutboxMaxBytes: 2300})
	commit(t, s, arrival("a", "here", c.Now()))
	a := state(t, s, "a")
	a.Session.Downloaded.Value += 1000
	commit(t, s, follow(state(t, s, "a"), events.Traffic, a.Session, c.Now()))
	before, box := located(t, s, "here"), s.Outbox()
	err := s.Commit(Commit{Changes: []events.Event{arrival("b", "here", c.Now())}, Locations: []LocationMark{{ID: "here", Name: "renamed"}}})
	if !errors.Is(err, ErrOutboxFull) {
		t.Fatalf("error is %v, want ErrOutboxFull", err)
	}
	if got := located(t, s, "here"); !reflect.DeepEqual(got, before) || s.Outbox() != box {
		t.Errorf("a refused commit left %+v", got)
	}
	sound(t, s)
	// Traffic in place of traffic of the same length does not grow.
	commit(t, s, traffic(state(t, s, "a"), 100, c.Now()))
	sound(t, s)
	entries := taken(t, s, 0, 10)
	if err := s.Acked(Cursor{OutboxSeq: entries[len(entries)-1].Seq, StreamSeq: 2}); err != nil {
		t.Fatal(err)
	}
	if got := s.Outbox(); got.Depth != 0 || got.Bytes != 0 {
		t.Errorf("after all was acknowledged: %+v", got)
	}
	// More than the limit at once passes when nothing is unsent.
	commit(t, s, arrival("b", "here", c.Now()), arrival("c", "here", c.Now()), arrival("d", "here", c.Now()))
	if got := s.Outbox(); got.Bytes <= got.Limit {
		t.Errorf("the test's commit is within the limit: %+v", got)
	}
	if err := s.Commit(Commit{Changes: []events.Event{ended(state(t, s, "b"), c.Now())}}); !errors.Is(err, ErrOutboxFull) {
		t.Errorf("error is %v, want ErrOutboxFull", err)
	}
	sound(t, s)
}

func TestWakeAfterEventsAlone(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	woken := func(s *Store) bool {
		select {
		case <-s.Wake():
			return true
		default:
			return false
		}
	}
	if woken(s) {
		t.Error("woken by an empty outbox")
	}
	if err := s.Commit(Commit{Locations: []LocationMark{{ID: "here", TrackedSince: c.Now()}}}); err != nil {
		t.Fatal(err)
	}
	if woken(s) {
		t.Error("woken by a commit without events")
	}
	commit(t, s, arrival("a", "here", c.Now()))
	commit(t, s, arrival("b", "here", c.Now()))
	if !woken(s) || woken(s) {
		t.Error("want one signal for two commits")
	}
	if again := openedAt(t, copied(t, s.path), Options{}); !woken(again) {
		t.Error("not woken by what an earlier process left unsent")
	}
}
