package store

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// person is who sessions with a guest id are of.
func person(guest string) Person {
	return Person{
		Has: func(s *events.Session) bool { return s.GuestID == guest },
		Cleanse: func(e *events.Event) bool {
			if e.Data.Session.GuestID != guest {
				return false
			}
			e.Forget()
			return true
		},
	}
}

// TestForgetLeavesNothingInTheFile: neither in records nor in pages that are free, while
// others go on reading and writing; and what is counted stays.
func TestForgetLeavesNothingInTheFile(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	secret := []byte("ann-anderson")
	ann := func(id string) events.Event {
		now := newSession(id, "here")
		now.GuestID, now.DeviceMAC = string(secret), "0a:"+string(secret)
		e := follow(events.State{}, events.Started, now, c.Now())
		e.Data.Guest = &events.Guest{Name: string(secret)}
		return e.Sealed()
	}
	for i := range 300 {
		commit(t, s, arrival(sessionID(i), "here", c.Now()))
	}
	commit(t, s, ann("online"), ann("gone"))
	commit(t, s, ended(state(t, s, "gone"), c.Now()))
	taken(t, s, 0, 10)
	if err := s.Acked(Cursor{OutboxSeq: 301, StreamSeq: 301, StreamCreated: c.Now()}); err != nil { // "online" is sent, "gone" is not
		t.Fatal(err)
	}
	if text, err := os.ReadFile(s.path); err != nil || !bytes.Contains(text, secret) {
		t.Fatal("the file does not hold what is to be forgotten", err)
	}
	var others sync.WaitGroup
	stop := make(chan struct{})
	for i := range 2 {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 {
					if _, err := s.Take(0, 50); err != nil {
						t.Error(err)
						return
					}
				} else if err := s.Put("n", []byte{byte(n), byte(n >> 8)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	before := s.Outbox()
	did, err := s.Forget(person(string(secret)))
	close(stop)
	others.Wait()
	if err != nil || did != (Forgot{Sessions: 2, Events: 3}) {
		t.Fatalf("%+v, %v", did, err)
	}
	if now := s.Outbox(); now.Depth != before.Depth || now.Bytes >= before.Bytes || now.Bytes <= 0 {
		t.Errorf("the outbox was %+v, and is %+v", before, now)
	}
	is := state(t, s, "online")
	if is.Revision != 1 || is.Session.GuestID != "" || is.Session.DeviceMAC != "" || is.Session.DeviceDescription != "" || is.Session.Downloaded.Value != 3_340_000 {
		t.Errorf("the state is %+v", is)
	}
	sound(t, s)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(s.path); err != nil || bytes.Contains(text, secret) {
		t.Error("the file still holds what is forgotten", err)
	}
	// What a look shows of it goes on as ever.
	now := is.Session
	now.Forget()
	commit(t, s, follow(is, events.Updated, now, c.Now().Add(time.Second)))
	if again, err := s.Forget(person(string(secret))); err != nil || again != (Forgot{}) {
		t.Errorf("forgetting again: %+v, %v", again, err)
	}
	path := s.path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, openedAt(t, path, Options{Now: c.Now}))
}

// TestPeopleAreForgottenWhileTheOutboxIsFull, by what waits for room there, too.
func TestPeopleAreForgottenWhileTheOutboxIsFull(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := opened(t, Options{Now: c.Now, OutboxMaxBytes: 1})
	ann := func(id string) events.Event {
		now := newSession(id, "here")
		now.GuestID = "ann"
		return follow(events.State{}, events.Started, now, c.Now())
	}
	commit(t, s, ann("stored"))
	bob := arrival("bob", "here", c.Now())
	if err := s.Stage(Commit{Changes: []events.Event{ann("staged"), bob}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); !errors.Is(err, ErrOutboxFull) {
		t.Fatalf("error is %v, want ErrOutboxFull", err)
	}
	if did, err := s.Forget(person("ann")); err != nil || did != (Forgot{Sessions: 1, Events: 1}) {
		t.Fatalf("%+v, %v", did, err)
	}
	if is := state(t, s, "staged"); is.Session.GuestID != "" || is.Revision != 1 {
		t.Errorf("the state that is staged is %+v", is)
	}
	taken(t, s, 0, 1)
	if err := s.Acked(Cursor{OutboxSeq: 1, StreamSeq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	got := published(t, taken(t, s, 1, 10))
	if len(got) != 2 || got[0].Data.Session.GuestID != "" || !reflect.DeepEqual(got[1], bob) {
		t.Errorf("the outbox holds %+v", got)
	}
	sound(t, s)
}

// TestForgettingAgainTellsNothingNew: every start applies the whole list, and so does each
// person who is put on it. Whoever is forgotten already is not published as updated for it.
func TestForgettingAgainTellsNothingNew(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	ann := Person{ // by session, as the list has it
		Has:     func(s *events.Session) bool { return s.ID == "ann" },
		Cleanse: func(e *events.Event) bool { e.Forget(); return true },
	}
	commit(t, s, arrival("ann", "here", c.Now()))
	if did, err := s.Forget(ann); err != nil || did != (Forgot{Sessions: 1, Events: 1}) {
		t.Fatalf("%+v, %v", did, err)
	}
	again := func(what, description string) {
		t.Helper()
		did, err := s.Forget(ann)
		if is := state(t, s, "ann").Session; err != nil || did != (Forgot{}) || is.DeviceDescription != description {
			t.Errorf("again, %s: %+v, %v; the device is %q", what, did, err, is.DeviceDescription)
		}
	}
	again("before the next look", "")
	is := state(t, s, "ann")
	now := is.Session
	now.Forget()
	commit(t, s, follow(is, events.Updated, now, c.Now().Add(time.Second)))
	again("once that has told of it", events.Forgotten)
}

// slowly is a writer that tells of its first write, and waits there.
type slowly struct {
	began, goOn chan struct{}
	once        sync.Once
}

func (w *slowly) Write(b []byte) (int, error) {
	w.once.Do(func() {
		close(w.began)
		<-w.goOn
	})
	return len(b), nil
}

// TestNothingWaitsForABackup that somebody takes slowly: neither who forgets a person, nor
// commits that let the file grow.
func TestNothingWaitsForABackup(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	now := newSession("a", "here")
	now.GuestID = "ann"
	commit(t, s, follow(events.State{}, events.Started, now, c.Now()))
	w := &slowly{began: make(chan struct{}), goOn: make(chan struct{})}
	var backup sync.WaitGroup
	backup.Go(func() {
		if _, err := s.Backup(w); err != nil {
			t.Error(err)
		}
	})
	<-w.began
	if did, err := s.Forget(person("ann")); err != nil || did.Sessions != 1 {
		t.Errorf("forgotten: %+v, %v", did, err)
	}
	for i := range 500 {
		commit(t, s, arrival(sessionID(i), "here", c.Now()))
	}
	taken(t, s, 0, 10)
	close(w.goOn)
	backup.Wait()
}
