package occupancy

import "hash/maphash"

// ended is what remains of the sessions that have ended, for as long as their events may be
// delivered again: in the order in which their ends became known, and referred to by number,
// as in the roster.
type ended struct {
	tombs []tomb
	gone  uint32            // how many there were before the first; it has the number after
	last  map[uint32]uint32 // by the hash of the id, the one that was added last
	hash  func(id string) uint32
}

type tomb struct {
	id                string
	revision, episode int64
	endedAt, seenAt   int64
	before            uint32 // the one before whose id has the same hash, if it is still there
	void              bool   // the session is back
}

func newEnded() ended { return ended{last: map[uint32]uint32{}, hash: hashOf} }

// hashOf is what sessions are found by.
func hashOf(id string) uint32 { return uint32(maphash.String(seed, id)) }

// find returns what remains of a session; nil of one of which nothing does.
func (d *ended) find(id string) *tomb {
	for n := d.last[d.hash(id)]; n > d.gone; {
		t := &d.tombs[n-d.gone-1]
		if t.id == id && !t.void {
			return t
		}
		n = t.before
	}
	return nil
}

func (d *ended) add(t tomb) {
	h := d.hash(t.id)
	t.before = d.last[h]
	d.tombs = append(d.tombs, t)
	d.last[h] = d.gone + uint32(len(d.tombs))
}

// bury forgets the sessions whose end was seen before the given time.
func (d *ended) bury(before int64) {
	for len(d.tombs) > 0 && d.tombs[0].seenAt < before {
		d.gone++
		if h := d.hash(d.tombs[0].id); d.last[h] == d.gone {
			delete(d.last, h)
		}
		d.tombs[0].id = ""
		d.tombs = d.tombs[1:]
	}
}
