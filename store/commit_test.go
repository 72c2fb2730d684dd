package store

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

func TestStateAndEventCommitTogether(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	a := arrival("a", "here", c.Now())
	commit(t, s, a)
	if got, want := state(t, s, "a"), events.StateOf(a); got != want {
		t.Errorf("state is\n%+v, want\n%+v", got, want)
	}
	entries := taken(t, s, 0, 10)
	if len(entries) != 1 {
		t.Fatalf("%d entries, want 1", len(entries))
	}
	e := entries[0]
	body, err := events.Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	want := Entry{
		Seq: 1, ID: a.ID, Account: "default", LocationID: "here", SessionID: "a",
		Kind: events.Started, Revision: 1, Body: body, CommittedAt: c.Now(),
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("entry is\n%+v, want\n%+v", e, want)
	}
	if got, want := e.Subject(events.Subjects{}), (events.Subjects{}).Of(a); got != want {
		t.Errorf("subject is %s, want %s", got, want)
	}
	sound(t, s)
}

func TestFailedCommitWritesNothing(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()))
	before, box := located(t, s, "here"), s.Outbox()
	nameless := arrival("", "here", c.Now())
	placeless := arrival("b", "", c.Now())
	again := arrival("a", "here", c.Now())
	gap := traffic(state(t, s, "a"), 5, c.Now())
	gap.Data.Revision++
	none := arrival("c", "here", c.Now())
	none.Data.Revision = 0
	for name, bad := range map[string]struct {
		change events.Event
		want   error
	}{
		"no session id":         {nameless, events.ErrNotEvent},
		"no location":           {placeless, events.ErrNotEvent},
		"no revision":           {none, events.ErrNotEvent},
		"revision is stored":    {again, ErrConflict},
		"revision leaves a gap": {gap, ErrConflict},
	} {
		err := s.Commit(Commit{
			Changes:   []events.Event{arrival("new", "here", c.Now()), bad.change},
			Locations: []LocationMark{{ID: "here", Name: "renamed"}},
		})
		if !errors.Is(err, bad.want) {
			t.Errorf("%s: error is %v, want %v", name, err, bad.want)
		}
		if got := located(t, s, "here"); !reflect.DeepEqual(got, before) {
			t.Errorf("%s: the location changed to %+v", name, got)
		}
		if got := s.Outbox(); got != box {
			t.Errorf("%s: the outbox changed to %+v", name, got)
		}
	}
	sound(t, s)
}

func TestSessionMovesBetweenLocationsAndTombstones(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	commit(t, s, arrival("a", "here", c.Now()), arrival("b", "here", c.Now()))
	check := func(step string, here, there int, online bool) {
		t.Helper()
		if n := len(located(t, s, "here").Sessions); n != here {
			t.Errorf("%s: %d sessions here, want %d", step, n, here)
		}
		if n := len(located(t, s, "there").Sessions); n != there {
			t.Errorf("%s: %d sessions there, want %d", step, n, there)
		}
		if got := state(t, s, "a").Session.Online; got != online {
			t.Errorf("%s: a online is %v", step, got)
		}
		sound(t, s)
	}
	check("start", 2, 0, true)
	commit(t, s, moved(state(t, s, "a"), "there", c.Now()))
	check("move", 1, 1, true)
	commit(t, s, ended(state(t, s, "a"), c.Now()))
	check("end", 1, 0, false)
	commit(t, s, resumed(state(t, s, "a"), c.Now()))
	check("resume", 1, 1, true)
	away := moved(state(t, s, "a"), "here", c.Now())
	commit(t, s, away, ended(events.StateOf(away), c.Now()))
	check("move and end at once", 1, 0, false)
	back := resumed(state(t, s, "a"), c.Now())
	commit(t, s, back, ended(events.StateOf(back), c.Now()))
	check("back and gone at once", 1, 0, false)
	infos, err := s.Locations()
	if err != nil {
		t.Fatal(err)
	}
	if want := []LocationInfo{{ID: "here", Online: 1}, {ID: "there"}}; !reflect.DeepEqual(infos, want) {
		t.Errorf("locations are %+v, want %+v", infos, want)
	}
}

func TestEndedAreForgottenInBatches(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now, EndedRetention: time.Hour})
	const n = 100
	var in, out []events.Event
	ids := []string{}
	for i := range n {
		a := arrival(sessionID(i), "here", c.Now())
		in, out, ids = append(in, a), append(out, ended(events.StateOf(a), c.Now())), append(ids, sessionID(i))
	}
	commit(t, s, in...)
	commit(t, s, out...)
	known := func() int {
		found, err := s.Find(ids)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	c.advance(time.Hour)
	commit(t, s, arrival("x", "here", c.Now()))
	if got := known(); got != n {
		t.Errorf("%d known when the hour is not over yet, want %d", got, n)
	}
	c.advance(time.Second)
	left := n
	for i := 0; left > 0; i++ {
		commit(t, s, traffic(state(t, s, "x"), 10, c.Now()))
		now := known()
		if now >= left || left-now > 18 {
			t.Fatalf("commit %d forgot %d sessions, want 1 to 18", i, left-now)
		}
		left = now
		sound(t, s)
	}
}

func TestIdlePollWritesNothing(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	mark := LocationMark{ID: "here", Name: "Here", TrackedSince: c.Now(), SeenAt: c.Now()}
	err := s.Commit(Commit{Changes: []events.Event{arrival("a", "here", c.Now())}, Locations: []LocationMark{mark}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put("rate", []byte("0.5")); err != nil {
		t.Fatal(err)
	}
	entries := taken(t, s, 0, 1)
	if err := s.Acked(Cursor{OutboxSeq: entries[0].Seq, StreamSeq: 1}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	writes := s.db.Stats().TxStats.Write
	for range 50 {
		c.advance(time.Minute)
		mark.SeenAt = c.Now()
		if err := s.Commit(Commit{Locations: []LocationMark{mark}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(Commit{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Put("rate", []byte("0.5")); err != nil {
			t.Fatal(err)
		}
		if err := s.Acked(s.Cursor()); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.db.Stats().TxStats.Write; n != writes || !slices.Equal(before, after) {
		t.Errorf("idle polls wrote %d pages", n-writes)
	}
	if got := located(t, s, "here").SeenAt; !got.Equal(c.Now()) {
		t.Errorf("seen at %v, want %v", got, c.Now())
	}
	// What is in memory reaches the file with the next commit that writes.
	crashed := openedAt(t, copied(t, s.path), Options{Now: c.Now})
	if got := located(t, crashed, "here").SeenAt; !got.Equal(c.Now().Add(-50 * time.Minute)) {
		t.Errorf("seen at %v in the file, want 50 minutes ago", got)
	}
	commit(t, s, arrival("elsewhere", "there", c.Now()))
	crashed = openedAt(t, copied(t, s.path), Options{Now: c.Now})
	if got := located(t, crashed, "here").SeenAt; !got.Equal(c.Now()) {
		t.Errorf("seen at %v in the file, want now", got)
	}
}

func TestCloseKeepsWhenLocationsWereSeen(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	mark := LocationMark{ID: "here", TrackedSince: c.Now(), SeenAt: c.Now()}
	for range 2 {
		if err := s.Commit(Commit{Locations: []LocationMark{mark}}); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Minute)
		mark.SeenAt = c.Now()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openedAt(t, s.path, Options{Now: c.Now})
	if got := located(t, again, "here").SeenAt; !got.Equal(c.Now().Add(-time.Minute)) {
		t.Errorf("seen at %v, want a minute ago", got)
	}
	if got := located(t, again, "never"); !got.TrackedSince.IsZero() || len(got.Sessions) != 0 {
		t.Errorf("a location that was never tracked is %+v", got)
	}
}

func TestAllShowsEveryOnlineSessionAndMayCommit(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	const n = 2500
	var in []events.Event
	for i := range n {
		in = append(in, arrival(sessionID(i), "l"+sessionID(i % 3)[9:], c.Now()))
	}
	commit(t, s, in...)
	seen := map[string]bool{}
	err := s.All(func(st events.State) bool {
		if seen[st.Session.ID] {
			t.Errorf("%s twice", st.Session.ID)
		}
		if len(seen) == 0 {
			commit(t, s, traffic(st, 1, c.Now()))
		}
		seen[st.Session.ID] = true
		return true
	})
	if err != nil || len(seen) != n {
		t.Errorf("%d sessions, error %v; want %d", len(seen), err, n)
	}
	calls := 0
	if err := s.All(func(events.State) bool { calls++; return calls < 3 }); err != nil || calls != 3 {
		t.Errorf("%d calls, error %v; want 3", calls, err)
	}
}

func TestValuesAreKept(t *testing.T) {
	s := opened(t, Options{})
	if v, err := s.Get("a"); v != nil || err != nil {
		t.Errorf("got %q, %v before it was put", v, err)
	}
	for _, v := range []string{"one", "two", ""} {
		if err := s.Put("a", []byte(v)); err != nil {
			t.Fatal(err)
		}
		again := openedAt(t, copied(t, s.path), Options{})
		if got, err := again.Get("a"); string(got) != v || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, v)
		}
	}
}

func TestClosedStoreSaysSo(t *testing.T) {
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, find := s.Find([]string{"a"})
	_, list := s.Locations()
	_, take := s.Take(0, 1)
	_, get := s.Get("a")
	for name, err := range map[string]error{
		"Find": find, "Locations": list, "Take": take, "Get": get,
		"Commit": s.Commit(Commit{Changes: []events.Event{arrival("a", "here", c.Now())}}), "empty Commit": s.Commit(Commit{}),
		"Put": s.Put("a", nil), "Acked": s.Acked(Cursor{StreamSeq: 1}), "Rewind": s.Rewind(0), "Invariants": s.Invariants(),
		"All": s.All(func(events.State) bool { return true }),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: error is %v, want ErrClosed", name, err)
		}
	}
}

// TestWhenLocationsWereSeenCostsNoWriteOfItsOwn: commits that follow each other write that
// of the locations that change, and of all of them now and then.
func TestWhenLocationsWereSeenCostsNoWriteOfItsOwn(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := opened(t, Options{Now: c.Now})
	n := 0
	look := func() (there time.Time) {
		t.Helper()
		n++
		there = c.Now()
		if err := s.Commit(Commit{
			Changes:   []events.Event{arrival(fmt.Sprint(n), "here", there)},
			Locations: []LocationMark{{ID: "here", SeenAt: there}, {ID: "there", SeenAt: there}},
		}); err != nil {
			t.Fatal(err)
		}
		if got := located(t, s, "there").SeenAt; !got.Equal(there) {
			t.Errorf("seen at %v, want %v", got, there)
		}
		return there
	}
	inFile := func(id string, want time.Time) {
		t.Helper()
		crashed := openedAt(t, copied(t, s.path), Options{Now: c.Now})
		if got := located(t, crashed, id).SeenAt; !got.Equal(want) {
			t.Errorf("%s was seen at %v in the file, want %v", id, got, want)
		}
	}
	first := look()
	c.advance(placedEvery / 2)
	second := look()
	inFile("here", second)
	inFile("there", first)
	c.advance(placedEvery / 2)
	third := look()
	inFile("there", third)
}
