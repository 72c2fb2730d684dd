package account

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// arrival is the first event of a session.
func arrival(session string) events.Event {
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	e := events.Event{Account: "default", Kind: events.Started, Time: at}
	e.Data = events.Data{Revision: 1, Episode: 1, Observed: events.Observed{At: at}}
	e.Data.Session = events.Session{ID: session, LocationID: "lobby", Online: true, StartedAt: at}
	return e.Sealed()
}

// TestRestoredStateKeepsWhoOutlivedTheStream: sessions that are online for longer than
// events stay are known from the backup alone. They count where the stream holds all that
// came after it; where it may have held their ends, they do not.
func TestRestoredStateKeepsWhoOutlivedTheStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		mark    string // of a restored state
		purged  uint64 // the stream's first sequence is this
		remade  bool   // the stream is another one than when the backup was made
		present string // who is online after the rebuild
	}{
		{"some aged out", "restored", 2, false, "late old told"},
		{"not a restored state", "", 2, false, "late told"},
		{"nothing aged out, and one was deleted", "restored", 1, false, "late old"},
		{"all until the backup aged out", "restored", 3, false, "late old told"},
		{"more than that aged out", "restored", 4, false, "late"},
		{"another stream", "restored", 2, true, "late told"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := natstest.New(t)
			server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
			js, subjects := server.JetStream(), events.Subjects{}
			st, err := store.Open(t.TempDir()+"/default.db", store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = st.Close() })
			commit := func(sessions ...string) {
				t.Helper()
				var changes store.Commit
				for _, s := range sessions {
					changes.Changes = append(changes.Changes, arrival(s))
				}
				if err := st.Commit(changes); err != nil {
					t.Fatal(err)
				}
			}
			send := func(e events.Event) {
				t.Helper()
				body, err := events.Encode(e)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := js.PublishMsg(t.Context(), written(e, body, 1), jetstream.WithMsgID(e.ID)); err != nil {
					t.Fatal(err)
				}
			}
			commit("old", "told")
			p := publisher.New(js, st)
			p.Account, p.Log = "default", slog.New(slog.DiscardHandler)
			if err := p.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if cursor := st.Cursor(); cursor.StreamSeq != 2 {
				t.Fatalf("the backup's cursor is at %d, want 2", cursor.StreamSeq)
			}
			commit("unsent") // when the backup was made; as if it never was
			if c.mark != "" {
				if err := st.Put(store.KeyRestored, []byte(c.mark)); err != nil {
					t.Fatal(err)
				}
			}
			if c.remade {
				if err := js.DeleteStream(t.Context(), events.DefaultStream); err != nil {
					t.Fatal(err)
				}
				server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
				send(arrival("gone"))
				send(arrival("told"))
			}
			if _, err := js.Publish(t.Context(), events.DefaultPrefix+".other.lobby.started", nil); err != nil { // of another account
				t.Fatal(err)
			}
			send(arrival("late"))
			stream, err := js.Stream(t.Context(), events.DefaultStream)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(c.purged)); err != nil {
				t.Fatal(err)
			}
			if c.purged == 1 { // as of a person who is forgotten
				if err := stream.DeleteMsg(t.Context(), 2); err != nil {
					t.Fatal(err)
				}
			}
			a := &Account{Store: st, link: there{js}, settings: Settings{Name: "default", Stream: events.DefaultStream, Subjects: subjects, Log: slog.New(slog.DiscardHandler)}}
			if err := a.rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			online := map[string]bool{}
			if err := st.All(func(s events.State) bool { online[s.Session.ID] = true; return true }); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(slices.Sorted(maps.Keys(online)), " "); got != c.present {
				t.Errorf("%q are online, want %q", got, c.present)
			}
		})
	}
}
