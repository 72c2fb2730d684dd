package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// clock is a clock that moves when told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// opened returns a store in a new directory, which the test closes.
func opened(t testing.TB, o Options) *Store {
	t.Helper()
	return openedAt(t, filepath.Join(t.TempDir(), "default.db"), o)
}

func openedAt(t testing.TB, path string, o Options) *Store {
	t.Helper()
	o.NoSync = true
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newSession(id, location string) events.Session {
	return events.Session{
		ID: id, LocationID: location, LocationName: "Café " + location, GuestID: "guest-" + id,
		YasID: "8f627d10-1abc-44d8-b964-a7816388173a", DeviceMAC: "14:2d:27:e7:40:2b", DeviceIP: "172.31.98.114",
		DeviceDescription: "WebKit", LoginType: "Registration", ServiceProfile: "Default Service Profile - 60 Minute(s)",
		Online: true, StartedAt: time.Date(2026, 5, 4, 11, 50, 55, 0, time.UTC), DurationSeconds: 545,
		Downloaded: events.Bytes{Value: 3_340_000, Error: 5000}, Uploaded: events.Bytes{Value: 900_580, Error: 5},
	}
}

// follow returns the event of kind that leads from old to now.
func follow(old events.State, kind events.Kind, now events.Session, at time.Time) events.Event {
	e := events.Event{Account: "default", Kind: kind, Time: at}
	e.Data = events.Data{
		Revision: old.Revision + 1, Episode: old.Episode, Session: now,
		Observed: events.Observed{At: at, Rounding: events.Rounding{DownloadedBytes: now.Downloaded.Error, UploadedBytes: now.Uploaded.Error}},
	}
	d := &e.Data
	if old.Tracked() {
		d.Previous = now.Replaced(&old.Session)
		down, up := now.Downloaded.Value-old.Session.Downloaded.Value, now.Uploaded.Value-old.Session.Uploaded.Value
		if down != 0 || up != 0 {
			d.Change = &events.Change{DownloadedBytes: down, UploadedBytes: up}
		}
	}
	switch kind {
	case events.Ended:
		d.Session.Online = false
		d.Observed.End = events.EndInferred
	case events.Resumed:
		d.Episode++
	}
	return e.Sealed()
}

func arrival(id, location string, at time.Time) events.Event {
	return follow(events.State{}, events.Started, newSession(id, location), at)
}

// traffic returns an event that adds n bytes.
func traffic(old events.State, n int64, at time.Time) events.Event {
	now := old.Session
	now.Downloaded.Value += n
	return follow(old, events.Traffic, now, at)
}

func moved(old events.State, location string, at time.Time) events.Event {
	now := old.Session
	now.LocationID, now.LocationName = location, "Café "+location
	return follow(old, events.Updated, now, at)
}

func ended(old events.State, at time.Time) events.Event {
	return follow(old, events.Ended, old.Session, at)
}

func resumed(old events.State, at time.Time) events.Event {
	now := old.Session
	now.Online = true
	return follow(old, events.Resumed, now, at)
}

func commit(t testing.TB, s *Store, changes ...events.Event) {
	t.Helper()
	if err := s.Commit(Commit{Changes: changes}); err != nil {
		t.Fatal(err)
	}
}

// state returns the stored state of a session, which must be known.
func state(t testing.TB, s *Store, id string) events.State {
	t.Helper()
	found, err := s.Find([]string{id})
	if err != nil {
		t.Fatal(err)
	}
	st, ok := found[id]
	if !ok {
		t.Fatalf("session %s is not known", id)
	}
	return st
}

func taken(t testing.TB, s *Store, after uint64, max int) []Entry {
	t.Helper()
	entries, err := s.Take(after, max)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// location is one with its online sessions, in the order of their ids.
type location struct {
	LocationInfo
	Sessions []events.State
}

func located(t testing.TB, s *Store, id string) location {
	t.Helper()
	l, err := locate(s, id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// locate puts together what the store says of a location.
func locate(s *Store, id string) (location, error) {
	l := location{LocationInfo: LocationInfo{ID: id}}
	infos, err := s.Locations()
	for _, info := range infos {
		if info.ID == id {
			l.LocationInfo = info
		}
	}
	all := s.All(func(st events.State) bool {
		if st.Session.LocationID == id {
			l.Sessions = append(l.Sessions, st)
		}
		return true
	})
	return l, errors.Join(err, all)
}

// compacted compacts a file that nobody has open.
func compacted(t testing.TB, path string) {
	t.Helper()
	if _, _, err := Compact(path); err != nil {
		t.Fatal(err)
	}
}

func sound(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Invariants(); err != nil {
		t.Fatal(err)
	}
}

// copied returns a copy of the file as it is now, which is what a crash at this
// moment would leave.
func copied(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	if err := copyFile(path, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func sessionID(i int) string { return fmt.Sprintf("pR3zOK%05d", i) }
