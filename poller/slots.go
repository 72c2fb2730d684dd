package poller

import (
	"hash/maphash"
	"iter"
)

// slots number the entries from 1 on, and find them by the ids of their sessions. What
// refers to each of them does so by number, since the garbage collector follows each
// pointer: to a million of them, all over memory.
type slots struct {
	entries []*entry
	vacant  []int32
	ids     map[uint64]int32 // by the hash of the id
	twins   map[string]int32 // by id, those whose hash another one has: hardly ever any
	hash    func(id string) uint64
}

func newSlots() slots {
	seed := maphash.MakeSeed()
	return slots{
		entries: []*entry{nil}, // 0 is nobody.
		ids:     make(map[uint64]int32), twins: make(map[string]int32), hash: func(id string) uint64 { return maphash.String(seed, id) },
	}
}

// len is how many there are.
func (s *slots) len() int { return len(s.ids) + len(s.twins) }

// find returns the entry of a session; nil where there is none.
func (s *slots) find(id string) *entry {
	slot, taken := s.ids[s.hash(id)]
	if !taken {
		return nil
	}
	if e := s.entries[slot]; e.ID == id {
		return e
	}
	return s.of(s.twins[id])
}

// of returns the entry of a slot; nil of 0.
func (s *slots) of(slot int32) *entry { return s.entries[slot] }

// all yields the entries. They may be taken out meanwhile.
func (s *slots) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, e := range s.entries {
			if e != nil && !yield(e) {
				return
			}
		}
	}
}

// take gives an entry, which is new, a slot.
func (s *slots) take(e *entry) {
	if n := len(s.vacant); n > 0 {
		e.Slot, s.vacant = s.vacant[n-1], s.vacant[:n-1]
	} else {
		e.Slot, s.entries = int32(len(s.entries)), append(s.entries, nil)
	}
	s.entries[e.Slot] = e
	if h := s.hash(e.ID); s.ids[h] == 0 {
		s.ids[h] = e.Slot
	} else {
		s.twins[e.ID] = e.Slot
	}
}

// give takes the slot of an entry back.
func (s *slots) give(e *entry) {
	s.entries[e.Slot] = nil
	s.vacant = append(s.vacant, e.Slot)
	if _, twin := s.twins[e.ID]; twin {
		delete(s.twins, e.ID)
		return
	}
	h := s.hash(e.ID)
	delete(s.ids, h)
	for id, slot := range s.twins {
		if s.hash(id) == h {
			s.ids[h] = slot
			delete(s.twins, id)
			return
		}
	}
}
