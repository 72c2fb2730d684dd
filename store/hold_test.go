package store

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/guestflow/guestflow/events"
)

const wait = 5 * time.Second

var ada = &events.Guest{Username: "C6D144DE", Name: "Ada Example", Email: "ada@example.com"}

// held returns the sequence numbers of what is held.
func held(t testing.TB, s *Store) []uint64 {
	t.Helper()
	all, err := s.Held()
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, h := range all {
		seqs = append(seqs, h.Seq)
	}
	return seqs
}

func amend(t testing.TB, s *Store, want int, amendments ...Amendment) {
	t.Helper()
	if n, err := s.Amend(amendments); err != nil || n != want {
		t.Fatalf("completed %d, error %v; want %d", n, err, want)
	}
}

func TestArrivalsWaitAndWhatComesAfterThem(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, HoldArrivals: wait})
	seen := c.Now().Add(-time.Second)
	if err := s.Commit(Commit{SeenFrom: seen, Changes: []events.Event{arrival("a", "here", c.Now())}}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, traffic(state(t, s, "a"), 10, c.Now()))
	commit(t, s, arrival("b", "here", c.Now()))
	if got := taken(t, s, 0, 10); len(got) != 0 {
		t.Fatalf("took %d that wait", len(got))
	}
	all, err := s.Held()
	if err != nil || len(all) != 2 || all[0].Event.Data.Session.ID != "a" || !all[0].SeenFrom.Equal(seen) || !all[0].Until.Equal(c.Now().Add(wait)) {
		t.Fatalf("held: %+v, error %v", all, err)
	}
	amend(t, s, 0, Amendment{Seq: all[0].Seq})
	if got := taken(t, s, 0, 10); len(got) != 2 || got[1].Kind != events.Traffic {
		t.Errorf("took %d, want the two before the second arrival", len(got))
	}
	c.advance(wait)
	if got := taken(t, s, 2, 10); len(got) != 1 {
		t.Errorf("took %d when the time was over", len(got))
	}
	sound(t, s)
}

func TestCompletedArrivalKeepsIdPlaceAndState(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, HoldArrivals: wait})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	before, err := s.Held()
	if err != nil {
		t.Fatal(err)
	}
	was := state(t, s, "b")
	c.advance(time.Second)
	amend(t, s, 1, Amendment{Seq: 1}, Amendment{Seq: 2, Guest: ada, Sure: events.GuestConfirmed}, Amendment{Seq: 2}, Amendment{Seq: 99, Guest: ada})
	sound(t, s)
	entries := taken(t, s, 0, 10)
	got := published(t, entries)
	if len(got) != 2 || got[0].Data.Guest != nil || *got[1].Data.Guest != *ada || got[1].Data.Observed.Guest != events.GuestConfirmed {
		t.Fatalf("published %+v", got)
	}
	if entries[1].ID != before[1].Event.ID || got[1].ID != got[1].Sealed().ID || !entries[1].CommittedAt.Equal(c.Now().Add(-time.Second)) {
		t.Errorf("the entry is %+v", entries[1])
	}
	if now := state(t, s, "b"); now != was {
		t.Errorf("the state is %+v, was %+v", now, was)
	}
	// It may have been sent: nothing changes it any more.
	amend(t, s, 0, Amendment{Seq: 1, Guest: ada})
	if err := s.Acked(Cursor{OutboxSeq: 2, StreamSeq: 2}); err != nil {
		t.Fatal(err)
	}
	if box := s.Outbox(); box.Bytes != 0 || box.Depth != 0 {
		t.Errorf("after all was acknowledged: %+v", box)
	}
	sound(t, s)
}

func TestLateCompletionChangesNothing(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, HoldArrivals: wait})
	commit(t, s, arrival("a", "here", c.Now()))
	c.advance(wait)
	amend(t, s, 0, Amendment{Seq: 1, Guest: ada, Sure: events.GuestConfirmed})
	if got := published(t, taken(t, s, 0, 1)); got[0].Data.Guest != nil {
		t.Error("what could have been sent was changed")
	}
}

// TestCrashWhileArrivalsWait: before and after the answer, the next process has
// every event once, and waits for nothing.
func TestCrashWhileArrivalsWait(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, HoldArrivals: wait})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	want := []string{"a", "b"}
	for _, amended := range []bool{false, true} {
		if amended {
			amend(t, s, 1, Amendment{Seq: 1, Guest: ada, Sure: events.GuestConfirmed})
		}
		again := openedAt(t, copied(t, s.path), Options{Now: c.Now, HoldArrivals: wait})
		sound(t, again)
		var got []string
		for _, e := range published(t, taken(t, again, 0, 10)) {
			got = append(got, e.Data.Session.ID)
			if (e.Data.Guest != nil) != (amended && e.Data.Session.ID == "a") {
				t.Errorf("%s has guest %v", e.Data.Session.ID, e.Data.Guest)
			}
		}
		if !slices.Equal(got, want) || len(held(t, again)) > 0 {
			t.Errorf("amended %t: %v, and %v are held", amended, got, held(t, again))
		}
		amend(t, again, 0, Amendment{Seq: 2, Guest: ada})
	}
}

func TestOnlyArrivalsOfWhoIsThereWait(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, HoldArrivals: wait})
	late := arrival("a", "here", c.Now())
	late.Data.Observed.Backfilled = true
	commit(t, s, late, ended(events.StateOf(late), c.Now()))
	commit(t, s, resumed(state(t, s, "a"), c.Now()))
	commit(t, s, traffic(state(t, s, "a"), 1, c.Now()))
	if got := held(t, s); !slices.Equal(got, []uint64{3}) {
		t.Errorf("held are %v, want the one that resumed", got)
	}
	s.Release()
	commit(t, s, arrival("b", "here", c.Now()))
	if got := taken(t, s, 0, 10); len(got) != 5 {
		t.Errorf("took %d after all was let go", len(got))
	}
}

// TestTakerWakesWhenTheTimeIsOver, whoever else has died.
func TestTakerWakesWhenTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, Options{HoldArrivals: wait})
		commit(t, s, arrival("a", "here", time.Now()))
		began := time.Now()
		<-s.Holding()
		for len(taken(t, s, 0, 1)) == 0 {
			<-s.Wake()
		}
		if d := time.Since(began); d != wait {
			t.Errorf("it could be taken after %v", d)
		}
		commit(t, s, arrival("b", "here", time.Now()))
		began = time.Now()
		amend(t, s, 1, Amendment{Seq: 2, Guest: ada, Sure: events.GuestLikely})
		for len(taken(t, s, 1, 1)) == 0 {
			<-s.Wake()
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("once it was complete, it still waited for %v", d)
		}
	})
}
