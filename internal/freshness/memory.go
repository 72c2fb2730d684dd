package freshness

import (
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// memory keeps states as the store does, and the newest events for the caller to
// take.
type memory struct {
	states    map[string]events.State
	locations map[string]map[string]bool // ids online, by location
	marks     map[string]store.LocationMark
	values    map[string][]byte
	committed func([]events.Event)
}

func newMemory(committed func([]events.Event)) *memory {
	return &memory{
		states: make(map[string]events.State), locations: make(map[string]map[string]bool),
		marks: make(map[string]store.LocationMark), values: make(map[string][]byte), committed: committed,
	}
}

func (m *memory) Location(id string) (store.Location, error) {
	mark := m.marks[id]
	l := store.Location{ID: id, Name: mark.Name, TrackedSince: mark.TrackedSince, SeenAt: mark.SeenAt}
	for session := range m.locations[id] {
		l.Sessions = append(l.Sessions, m.states[session])
	}
	return l, nil
}

func (m *memory) Find(ids []string) (map[string]events.State, error) {
	found := make(map[string]events.State, len(ids))
	for _, id := range ids {
		if s, ok := m.states[id]; ok {
			found[id] = s
		}
	}
	return found, nil
}

func (m *memory) All(f func(events.State) bool) error {
	for _, s := range m.states {
		if s.Session.Online && !f(s) {
			break
		}
	}
	return nil
}

func (m *memory) Locations() ([]store.LocationInfo, error) { return nil, nil }

func (m *memory) Get(key string) ([]byte, error) { return m.values[key], nil }

func (m *memory) Put(key string, value []byte) error {
	m.values[key] = value
	return nil
}

func (m *memory) Commit(c store.Commit) error {
	for i := range c.Changes {
		s := events.StateOf(c.Changes[i])
		id := s.Session.ID
		if old, ok := m.states[id]; ok {
			delete(m.locations[old.Session.LocationID], id)
		}
		m.states[id] = s
		if s.Session.Online {
			in := m.locations[s.Session.LocationID]
			if in == nil {
				in = make(map[string]bool)
				m.locations[s.Session.LocationID] = in
			}
			in[id] = true
		}
	}
	for _, mark := range c.Locations {
		m.marks[mark.ID] = mark
	}
	m.committed(c.Changes)
	return nil
}
