package store

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

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

// TestAFullOutboxHoldsUpChangesAlone: values need no room there, nor does a backup; and those
// that were staged come behind the changes that wait for room.
func TestAFullOutboxHoldsUpChangesAlone(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, OutboxMaxBytes: 1})
	commit(t, s, arrival("a", "here", c.Now()))
	if err := s.Stage(Commit{Changes: []events.Event{arrival("b", "here", c.Now())}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("put", []byte("1")); err != nil {
		t.Errorf("a value is not put: %v", err)
	}
	for _, value := range []string{"1", "2"} {
		if err := s.StageValue("staged", []byte(value)); err != nil {
			t.Errorf("a value is not staged: %v", err)
		}
	}
	if _, err := s.Backup(io.Discard); err != nil {
		t.Errorf("there is no backup: %v", err)
	}
	if put, err := s.Get("put"); err != nil || string(put) != "1" {
		t.Errorf("the value that was put is %q, %v", put, err)
	}
	if staged, err := s.Get("staged"); err != nil || staged != nil {
		t.Errorf("the value that was staged came before the changes: %q, %v", staged, err)
	}
	taken(t, s, 0, 1)
	if err := s.Acked(Cursor{OutboxSeq: 1, StreamSeq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if staged, err := s.Get("staged"); err != nil || string(staged) != "2" || s.Outbox().Last != 2 {
		t.Errorf("with room again the value is %q, %v, and the outbox ends at %d", staged, err, s.Outbox().Last)
	}
	sound(t, s)
	agree(t, s)
}

// TestABacklogIsWrittenInParts: what a transaction holds in memory is bounded, however
// much waits for it, and nothing waits for room once it was written.
func TestABacklogIsWrittenInParts(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	transactions := func() (n int) {
		if err := s.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, _, err := s.State("nobody"); err != nil { // From now on the file is read for nobody online.
		t.Fatal(err)
	}
	before := transactions()
	const looks, each = 4, mostTogether * 2 / 5
	var want []events.Event
	s.log.Lock() // as while one is being written
	for look := range looks {
		var changes []events.Event
		for i := range each {
			changes = append(changes, arrival(fmt.Sprint(look, "-", i), "here", c.Now()))
		}
		want = append(want, changes...)
		if err := s.Stage(Commit{Changes: changes}); err != nil {
			t.Error(err)
		}
	}
	s.log.Unlock()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := transactions() - before; n != looks/2 {
		t.Errorf("%d looks of %d changes were written in %d transactions, want %d", looks, each, n, looks/2)
	}
	if got := published(t, taken(t, s, 0, len(want))); !reflect.DeepEqual(got, want) {
		t.Errorf("the outbox holds %d events that are not those that were staged", len(got))
	}
	sound(t, s)
	agree(t, s)
}
