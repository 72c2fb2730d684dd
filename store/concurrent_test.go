package store

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// A publisher takes and acknowledges, and others read, while changes are
// committed: what was taken never changes, and each session's events lead to its
// state.
func TestPublishingAndReadingBesideCommits(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	const sessions, rounds = 20, 80
	ctx, done := context.WithCancel(context.Background())
	defer done()
	var wg sync.WaitGroup
	var stream []Entry
	publish := func() error {
		for {
			entries, err := s.Take(s.Cursor().OutboxSeq, 7)
			if err != nil || len(entries) == 0 {
				return err
			}
			stream = append(stream, entries...)
			if err := s.Acked(Cursor{OutboxSeq: entries[len(entries)-1].Seq, StreamSeq: uint64(len(stream))}); err != nil {
				return err
			}
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-s.Wake():
			case <-ctx.Done():
			}
			if err := publish(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			online := 0
			all := s.All(func(events.State) bool { online++; return true })
			_, list := s.Locations()
			if err := errors.Join(all, list, s.Put("n", []byte{byte(online)})); err != nil {
				t.Error(err)
				return
			}
			s.Outbox()
		}
	})
	for round := range rounds {
		var changes []events.Event
		for i := range sessions {
			known, err := s.Find([]string{sessionID(i)})
			if err != nil {
				t.Fatal(err)
			}
			switch st := known[sessionID(i)]; {
			case !st.Tracked():
				changes = append(changes, arrival(sessionID(i), "here", c.Now()))
			case !st.Session.Online:
				changes = append(changes, resumed(st, c.Now()))
			case (round+i)%10 == 0:
				changes = append(changes, ended(st, c.Now()))
			default:
				changes = append(changes, traffic(st, int64(round), c.Now()))
			}
		}
		commit(t, s, changes...)
	}
	done()
	wg.Wait()
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	states := map[string]events.State{}
	for i, e := range published(t, stream) {
		if stream[i].Seq != uint64(i)+1 {
			t.Fatalf("entry %d came as number %d", stream[i].Seq, i+1)
		}
		id := e.Data.Session.ID
		next, err := states[id].Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		states[id] = next
	}
	for id, want := range states {
		if got := state(t, s, id); !reflect.DeepEqual(got, want) {
			t.Errorf("session %s is\n%+v, its events lead to\n%+v", id, got, want)
		}
	}
	if again := taken(t, s, 0, len(stream)+1); !reflect.DeepEqual(again, stream) {
		t.Error("an entry changed after it was taken")
	}
	sound(t, s)
}
