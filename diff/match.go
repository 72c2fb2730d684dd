package diff

import "github.com/guestflow/guestflow/events"

// match says which record of a list is which expected session. An id may repeat;
// the last record counts.
type match struct {
	// record of each expected session: an index into the list, or absent.
	record []int
	// session of each record: an index into the expected ones, unexpected, or
	// superseded by a later record of the id.
	session []int
	// others counts the ids that were not expected.
	others int
}

const (
	absent     = -1
	unexpected = -1
	superseded = -2
)

func matchOf(expected []events.State, list []events.Session) match {
	m := match{record: make([]int, len(expected)), session: make([]int, len(list))}
	index := make(map[string]int, len(expected))
	for j := range expected {
		index[expected[j].Session.ID] = j
		m.record[j] = absent
	}
	others := make(map[string]int, max(0, len(list)-len(expected)))
	for i := range list {
		id := list[i].ID
		if j, ok := index[id]; ok {
			if before := m.record[j]; before != absent {
				m.session[before] = superseded
			}
			m.record[j], m.session[i] = i, j
			continue
		}
		if before, ok := others[id]; ok {
			m.session[before] = superseded
		}
		others[id], m.session[i] = i, unexpected
	}
	m.others = len(others)
	return m
}

// Unexpected returns the ids of the snapshot's sessions that are not among the
// expected ones, each once: those that Known.Find will be asked for.
func Unexpected(expected []events.State, snap Snapshot) []string {
	var ids []string
	for i, j := range matchOf(expected, snap.Sessions).session {
		if j == unexpected {
			ids = append(ids, snap.Sessions[i].ID)
		}
	}
	return ids
}

// Missing returns the ids of the expected sessions that a snapshot does not show.
func Missing(expected []events.State, snap Snapshot) []string {
	var ids []string
	for j, i := range matchOf(expected, snap.Sessions).record {
		if i == absent {
			ids = append(ids, expected[j].Session.ID)
		}
	}
	return ids
}
