package store

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// TestTableReturnsWhatWasSet: a row holds every field of a state, whatever its size, and
// texts that nobody has any more are let go.
func TestTableReturnsWhatWasSet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1, 1000))
		moment := rapid.Custom(func(t *rapid.T) time.Time {
			if rapid.Bool().Draw(t, "unknown") {
				return time.Time{}
			}
			return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC()
		})
		text := rapid.OneOf(rapid.Just(""), rapid.SampledFrom([]string{"Lobby", "Bar"}), rapid.StringN(0, 200, 800))
		rows, want := newTable(), map[string]events.State{}
		ids := rapid.SampledFrom([]string{"1", "2", "a longer one"})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			st := events.State{Revision: rapid.Int64Range(1, 1<<40).Draw(t, "revision"), Episode: number.Draw(t, "episode"), SeenAt: moment.Draw(t, "seen")}
			s := &st.Session
			s.ID, s.Online = ids.Draw(t, "id"), rapid.IntRange(0, 3).Draw(t, "gone") > 0
			s.DurationSeconds = number.Draw(t, "duration")
			s.Downloaded = events.Bytes{Value: number.Draw(t, "down"), Error: number.Draw(t, "its error")}
			s.Uploaded = events.Bytes{Value: number.Draw(t, "up"), Error: number.Draw(t, "its error")}
			s.StartedAt, s.EndedAt = moment.Draw(t, "start"), moment.Draw(t, "end")
			for _, field := range texts(s) {
				*field = text.Draw(t, "text")
			}
			rows.set(&st, uint64(st.Revision))
			if delete(want, s.ID); s.Online {
				want[s.ID] = st
			}
			for id, st := range want {
				if got, ok := rows.get(id); !ok || got != st || rows.revision(id) != st.Revision || rows.number(id) != uint64(st.Revision) {
					t.Fatalf("got %+v, %v\nwant %+v", got, ok, st)
				}
			}
		}
		for id := range want {
			rows.remove(id)
			if _, ok := rows.get(id); ok || rows.revision(id) != 0 || rows.number(id) != 0 {
				t.Fatalf("%s is there still", id)
			}
		}
		if n := len(rows.texts.at); n > 0 || len(rows.rows)+len(rows.at) > 0 {
			t.Fatalf("%d texts that nobody has are kept, %d rows, and %d locations", n, len(rows.rows), len(rows.at))
		}
	})
}
