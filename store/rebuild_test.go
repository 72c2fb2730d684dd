package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// TestRebuiltStateReplacesAllButWhatWasLearned: sessions, places and outbox are those
// of the stream, what was learned of the platform stays, and the next change follows.
func TestRebuiltStateReplacesAllButWhatWasLearned(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "default.db")
	s := openedAt(t, path, Options{Now: c.Now})
	commit(t, s, arrival("former", "lobby", c.Now()), arrival("both", "lobby", c.Now()))
	for key, v := range map[string]string{"rates": "usual", "frontier": "old", "name": "old"} {
		if err := s.Put(key, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	both := events.StateOf(traffic(events.StateOf(arrival("both", "pool", c.Now())), 5000, c.Now()))
	gone := events.StateOf(ended(events.StateOf(arrival("gone", "pool", c.Now())), c.Now()))
	cursor := Cursor{StreamSeq: 77, StreamCreated: c.Now().Add(-time.Hour), At: c.Now()}
	err := s.Rebuild(Rebuilt{
		States: []events.State{gone, both}, Cursor: cursor,
		Values: map[string][]byte{"frontier": []byte("x")}, Forget: []string{"name"},
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		sound(t, s)
		found, err := s.Find([]string{"former", "both", "gone"})
		if err != nil || len(found) != 2 || found["both"].Revision != 2 || found["both"].Session.LocationID != "pool" || found["gone"].Session.Online {
			t.Errorf("it knows %+v, %v", found, err)
		}
		if got := s.Cursor(); !got.sameAs(cursor) {
			t.Errorf("the cursor is %+v", got)
		}
		places, err := s.Locations()
		if err != nil || len(places) != 1 || places[0].ID != "pool" || places[0].Online != 1 {
			t.Errorf("places %+v, %v", places, err)
		}
		for key, want := range map[string]string{"rates": "usual", "name": "", "frontier": "x"} {
			if v, err := s.Get(key); err != nil || string(v) != want {
				t.Errorf("value %s is %q, %v, want %q", key, v, err, want)
			}
		}
	}
	check(s)
	if o := s.Outbox(); o.Depth != 0 || o.Last != 0 {
		t.Errorf("the outbox holds %+v", o)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openedAt(t, path, Options{Now: c.Now})
	check(s)
	commit(t, s, resumed(gone, c.Now()), traffic(both, 5000, c.Now()))
	if entries := taken(t, s, 0, 10); len(entries) != 2 || entries[0].Seq != 1 {
		t.Errorf("the outbox begins with %+v", entries)
	}
	sound(t, s)
}
