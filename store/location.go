package store

import (
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// LocationInfo is what is known of one location.
type LocationInfo struct {
	ID, Name string
	// TrackedSince is when its first look began; zero means that it was never
	// tracked.
	TrackedSince time.Time
	// SeenAt is when its last complete look began; zero means that there was none.
	SeenAt time.Time
	// Online is the number of its online sessions.
	Online int
}

// place is the record of a location.
type place struct {
	name                 string
	trackedSince, seenAt time.Time
}

// placeVersion is that of the record; the first one ended with how many sessions were online.
const placeVersion = 2

func (p *place) encode() []byte {
	b := appendText([]byte{placeVersion}, p.name)
	return appendTimeIf(appendTimeIf(b, p.trackedSince), p.seenAt)
}

// readPlace returns the zero place where there is no record. The error is
// ErrCorrupt.
func readPlace(id, b []byte) (p place, err error) {
	if b == nil {
		return place{}, nil
	}
	in := input{b: b}
	version := in.byte()
	p.name = string(in.text())
	p.trackedSince, p.seenAt = in.optionalTime(), in.optionalTime()
	if version == 1 {
		in.count()
	}
	if in.bad || version == 0 || version > placeVersion || len(in.b) > 0 {
		return place{}, damaged("the record of location %q cannot be read", id)
	}
	return p, nil
}

func (p *place) equal(q *place) bool {
	return p.name == q.name && p.trackedSince.Equal(q.trackedSince) && p.seenAt.Equal(q.seenAt)
}

// Locations lists every location that was tracked or that a session was in, in
// the order of their ids.
func (s *Store) Locations() ([]LocationInfo, error) {
	if err := s.recollected(); err != nil {
		return nil, err
	}
	var all []LocationInfo
	err := s.view("list locations", func(tx *bbolt.Tx) error {
		all = nil
		return tx.Bucket(bucketLocations).ForEach(func(k, v []byte) error {
			p, err := readPlace(k, v)
			all = append(all, LocationInfo{ID: string(k), Name: p.name, TrackedSince: p.trackedSince, SeenAt: p.seenAt})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	s.known.RLock()
	for i := range all {
		all[i].Online = s.online.at[all[i].ID]
	}
	s.known.RUnlock()
	for i := range all {
		all[i].SeenAt = s.seenAt(all[i].ID, all[i].SeenAt)
	}
	return all, nil
}

// seenAt prefers what is newer than the file.
func (s *Store) seenAt(id string, inFile time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.seen[id]; ok {
		return t
	}
	return inFile
}

// Find returns the states of those sessions that are known by their ids: online in
// whatever location, or ended less than EndedRetention ago.
func (s *Store) Find(ids []string) (map[string]events.State, error) {
	found := make(map[string]events.State, len(ids))
	for _, id := range ids {
		st, ok, err := s.State(id)
		if err != nil {
			return nil, err
		}
		if ok {
			found[id] = st
		}
	}
	return found, nil
}

// All calls f with the state of every online session, location by location in the order
// of their ids, until it returns false. Nothing is locked while f runs, so f may commit; a
// session that changes meanwhile is shown before or after its change, and one that ends or
// moves to another location may not be shown.
func (s *Store) All(f func(events.State) bool) error {
	if err := s.recollected(); err != nil {
		return err
	}
	ids := make(map[string][]string)
	s.known.RLock()
	s.online.each(func(id, location string) { ids[location] = append(ids[location], id) })
	s.known.RUnlock()
	for _, location := range slices.Sorted(maps.Keys(ids)) {
		slices.Sort(ids[location])
		for _, id := range ids[location] {
			s.known.RLock()
			st, ok := s.online.get(id)
			s.known.RUnlock()
			if ok && st.Session.LocationID == location && !f(st) {
				return nil
			}
		}
		delete(ids, location)
	}
	return s.usable()
}
