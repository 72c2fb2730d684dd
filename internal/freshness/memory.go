package freshness

import (
	"cmp"
	"maps"
	"slices"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// memory keeps states as the store does, and the newest events for the caller to
// take.
type memory struct {
	states    map[string]events.State
	locations map[string]store.LocationInfo
	values    map[string][]byte
	committed func([]events.Event)
}

func newMemory(committed func([]events.Event)) *memory {
	return &memory{states: make(map[string]events.State), locations: make(map[string]store.LocationInfo), values: make(map[string][]byte), committed: committed}
}

func (m *memory) State(id string) (events.State, bool, error) {
	s, ok := m.states[id]
	return s, ok, nil
}

// All goes through them in the order in which the store does.
func (m *memory) All(f func(events.State) bool) error {
	var online []events.State
	for _, s := range m.states {
		if s.Session.Online {
			online = append(online, s)
		}
	}
	slices.SortFunc(online, func(a, b events.State) int {
		return cmp.Or(cmp.Compare(a.Session.LocationID, b.Session.LocationID), cmp.Compare(a.Session.ID, b.Session.ID))
	})
	for _, s := range online {
		if !f(s) {
			break
		}
	}
	return nil
}

// Locations lists every location that was tracked or that a session was in, as the store
// does.
func (m *memory) Locations() ([]store.LocationInfo, error) {
	all := maps.Clone(m.locations)
	for _, s := range m.states {
		l := all[s.Session.LocationID]
		if l.ID = s.Session.LocationID; s.Session.Online {
			l.Online++
		}
		all[l.ID] = l
	}
	return slices.SortedFunc(maps.Values(all), func(a, b store.LocationInfo) int { return cmp.Compare(a.ID, b.ID) }), nil
}

func (m *memory) Get(key string) ([]byte, error) { return m.values[key], nil }

func (m *memory) Put(key string, value []byte) error {
	m.values[key] = value
	return nil
}

func (m *memory) Commit(c store.Commit) error {
	for i := range c.Changes {
		m.states[c.Changes[i].Data.Session.ID] = events.StateOf(c.Changes[i])
	}
	for _, l := range c.Locations {
		m.locations[l.ID] = store.LocationInfo{ID: l.ID, Name: l.Name, TrackedSince: l.TrackedSince, SeenAt: l.SeenAt}
	}
	m.committed(c.Changes)
	return nil
}
