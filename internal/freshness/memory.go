package freshness

import (
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// memory keeps states as the store does, and the newest events for the caller to
// take.
type memory struct {
	states    map[string]events.State
	values    map[string][]byte
	committed func([]events.Event)
}

func newMemory(committed func([]events.Event)) *memory {
	return &memory{states: make(map[string]events.State), values: make(map[string][]byte), committed: committed}
}

func (m *memory) State(id string) (events.State, bool, error) {
	s, ok := m.states[id]
	return s, ok, nil
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
		m.states[c.Changes[i].Data.Session.ID] = events.StateOf(c.Changes[i])
	}
	m.committed(c.Changes)
	return nil
}
