package store

import (
	"encoding/binary"
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
	online               int64
}

const placeVersion = 1

func (p *place) encode() []byte {
	b := appendText([]byte{placeVersion}, p.name)
	b = appendTimeIf(appendTimeIf(b, p.trackedSince), p.seenAt)
	return binary.AppendUvarint(b, uint64(p.online))
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
	p.online = in.count()
	if in.bad || version != placeVersion || len(in.b) > 0 {
		return place{}, damaged("the record of location %q cannot be read", id)
	}
	return p, nil
}

func (p *place) equal(q *place) bool {
	return p.name == q.name && p.online == q.online && p.trackedSince.Equal(q.trackedSince) && p.seenAt.Equal(q.seenAt)
}

// Locations lists every location that was tracked or that a session was in, in
// the order of their ids.
func (s *Store) Locations() ([]LocationInfo, error) {
	var all []LocationInfo
	err := s.view("list locations", func(tx *bbolt.Tx) error {
		all = nil
		return tx.Bucket(bucketLocations).ForEach(func(k, v []byte) error {
			p, err := readPlace(k, v)
			all = append(all, LocationInfo{ID: string(k), Name: p.name, TrackedSince: p.trackedSince, SeenAt: p.seenAt, Online: int(p.online)})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
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

// stored says where the record of a session stands. It is valid as long as its
// transaction, and until the next write.
type stored struct {
	b        []byte // the state, nil when the session is not known
	location []byte // of an online session
	endedKey []byte // of an ended one, in ended_by_time
}

func lookUp(index, online, ended *bbolt.Bucket, id []byte) (stored, error) {
	if len(id) == 0 {
		return stored{}, nil
	}
	if location := index.Get(id); location != nil {
		if b := online.Bucket(location); b != nil {
			if record := b.Get(id); record != nil {
				return stored{b: record, location: location}, nil
			}
		}
		return stored{}, damaged("session %q is not in its location %q", id, location)
	}
	record := ended.Get(id)
	if record == nil {
		return stored{}, nil
	}
	if len(record) < 8 {
		return stored{}, damaged("ended session %q cannot be read", id)
	}
	return stored{b: record[8:], endedKey: append(record[:8:8], id...)}, nil
}

// allBatch is how many states All reads in one transaction.
const allBatch = 2000

// All calls f with the state of every online session, location by location, until
// it returns false. No transaction is open while f runs, so f may commit; a
// session that changes meanwhile is shown before or after its change, and one that
// moves to another location may be shown twice or not at all.
func (s *Store) All(f func(events.State) bool) error {
	walk := batches{states: make([]events.State, 0, allBatch)}
	for full := true; full; {
		err := s.view("read all sessions", func(tx *bbolt.Tx) (err error) {
			full, err = walk.fill(tx.Bucket(bucketOnline))
			s.touch(tx, lookEvery)
			return err
		})
		if err != nil {
			return err
		}
		for i := range walk.states {
			if !f(walk.states[i]) {
				return nil
			}
		}
	}
	return nil
}

// batches goes over the sessions online, location by location, one batch at a time.
type batches struct {
	reader         stateReader
	states         []events.State // the batch; its capacity is a full one
	location, last []byte         // names of where the last session was read, and its own
}

// fill reads the next batch, and reports whether it is full, so that more may follow.
func (w *batches) fill(online *bbolt.Bucket) (full bool, err error) {
	w.states = w.states[:0]
	locations := online.Cursor()
	for name, _ := locations.Seek(w.location); name != nil; name, _ = locations.Next() {
		if string(name) != string(w.location) {
			w.location, w.last = append([]byte(nil), name...), nil
		}
		if full, err = w.fillFrom(online.Bucket(name).Cursor()); full || err != nil {
			return full, err
		}
	}
	return false, nil
}

// fillFrom goes on behind the last session read of a location.
func (w *batches) fillFrom(c *bbolt.Cursor) (full bool, err error) {
	k, v := c.Seek(w.last)
	if k != nil && w.last != nil && string(k) == string(w.last) {
		k, v = c.Next()
	}
	for ; k != nil; k, v = c.Next() {
		if len(w.states) == cap(w.states) {
			return true, nil
		}
		w.states = append(w.states, events.State{})
		if err := w.reader.read(k, v, &w.states[len(w.states)-1]); err != nil {
			return false, err
		}
		w.last = append(w.last[:0], k...)
	}
	return false, nil
}
