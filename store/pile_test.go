package store

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// TestTableKeepsItsRowsWhateverGoes: with ids that share a hash, and chunks that are tidied
// up, each session has its own row, texts that were handed out stay as they were, and what
// is gone takes no room.
func TestTableKeepsItsRowsWhateverGoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, want := newTable(), map[string]events.State{}
		rows.hash = func(id string) uint64 { return uint64(id[0]) }
		ids := rapid.StringMatching(`[ab][a-d][a-d]`)
		handed := map[string]string{} // own copies of texts
		for n := range rapid.IntRange(1, 300).Draw(t, "steps") {
			id := ids.Draw(t, "id")
			st := events.State{Revision: int64(n + 1)}
			s := &st.Session
			s.ID, s.Online, s.LocationID = id, rapid.IntRange(0, 3).Draw(t, "gone") > 0, "L"+id[:1]
			s.GuestID = strings.Repeat(id, rapid.IntRange(0, 60).Draw(t, "times"))
			rows.set(&st, uint64(n+1))
			if delete(want, id); s.Online {
				want[id] = st
			}
			if got, ok := rows.get(id); ok {
				handed[got.Session.GuestID] = strings.Clone(s.GuestID)
			}
		}
		for id, st := range want {
			if got, ok := rows.get(id); !ok || got != st {
				t.Fatalf("got %+v, %v\nwant %+v", got, ok, st)
			}
		}
		for is, was := range handed {
			if is != was {
				t.Fatalf("a text has become %q, was %q", is, was)
			}
		}
		found := 0
		rows.each(func(id, location string) {
			found++
			if st, ok := want[id]; !ok || st.Session.LocationID != location {
				t.Fatalf("%s is at %s, should be at %q", id, location, st.Session.LocationID)
			}
		})
		if found != len(want) || rows.len() != len(want) {
			t.Fatalf("%d are found, %d counted, want %d", found, rows.len(), len(want))
		}
		for at, c := range rows.pile.chunks {
			if uint32(at) != rows.pile.at && c.kept < len(c.text)/4 {
				t.Fatalf("of a chunk of %d bytes %d are of use", len(c.text), c.kept)
			}
		}
		for id := range want {
			rows.remove(id)
		}
		if rows.len() > 0 || rows.pile.size > 0 || len(rows.pile.chunks)-len(rows.pile.free) > 1 {
			t.Fatalf("%d rows of %d bytes are left, in %d chunks", rows.len(), rows.pile.size, len(rows.pile.chunks)-len(rows.pile.free))
		}
	})
}
