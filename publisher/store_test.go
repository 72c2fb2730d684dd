package publisher

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// commit adds n sessions' starts to the outbox and returns their event ids.
func commit(t *testing.T, s *store.Store, from, n int) []string {
	t.Helper()
	var ids []string
	var c store.Commit
	for i := range n {
		e := events.Event{Account: "a", Kind: events.Started, Time: time.Unix(1_700_000_000, 0).UTC()}
		e.Data.Revision = 1
		e.Data.Session = events.Session{ID: fmt.Sprintf("s%d", from+i), LocationID: fmt.Sprintf("venue.%d", i%5), Online: true}
		e.Data.Observed.At = e.Time
		e = e.Sealed()
		c.Changes = append(c.Changes, e)
		ids = append(ids, e.ID)
	}
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
	return ids
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRealStoreThroughCrashesAndALostTail goes the whole way with the store's own
// files: what a crash leaves of them is a copy taken while they are in use.
func TestRealStoreThroughCrashesAndALostTail(t *testing.T) {
	eachWay(t, func(t *testing.T, way Way) {
		b := startBroker(t)
		js := connect(t, b.URL())
		ensure(t, js)
		path := filepath.Join(t.TempDir(), "store")
		s := openStore(t, path)
		publish := func(s *store.Store) *watcher {
			t.Helper()
			w := newWatcher()
			p := New(js, s)
			p.Account, p.Stream, p.Way, p.MaxBatch = "a", testStream, way, 20
			p.Observer, p.Log = w, quiet()
			drain(t, p)
			if depth := s.Outbox().Depth; depth != 0 {
				t.Errorf("%d entries left", depth)
			}
			return w
		}
		crash := func() {
			t.Helper()
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path += "'"
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, path)
		}
		ids := commit(t, s, 0, 50)
		publish(s)
		ids = append(ids, commit(t, s, 50, 25)...)
		publish(s)
		crash() // the file's cursor lags
		publish(s)
		ids = append(ids, commit(t, s, 75, 5)...)
		publish(s)

		b.stop()
		kept := t.TempDir()
		if err := os.CopyFS(kept, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		b.start()
		ids = append(ids, commit(t, s, 80, 40)...)
		publish(s)
		b.stop()
		restore(t, kept, b.dir)
		b.start()
		crash()
		ids = append(ids, commit(t, s, 120, 1)...)
		publish(s)
		if got := stored(t, js, "a"); !slices.Equal(got, ids) {
			t.Fatalf("%d events in the stream, want %d", len(got), len(ids))
		}
	})
}
