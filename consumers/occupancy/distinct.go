package occupancy

import "hash/maphash"

// distinct counts how many different texts there are, of which each may have come several
// times. It keeps 64 bits of each, so two of a million count as one once in thirty million
// times; hardly any come twice.
type distinct struct {
	once  map[uint64]struct{}
	again map[uint64]int32 // how often besides
}

func newDistinct() distinct {
	return distinct{once: map[uint64]struct{}{}}
}

var seed = maphash.MakeSeed()

func (d *distinct) add(text string) {
	h := maphash.String(seed, text)
	if _, known := d.once[h]; !known {
		d.once[h] = struct{}{}
		return
	}
	if d.again == nil {
		d.again = map[uint64]int32{}
	}
	d.again[h]++
}

// remove takes one back that was added.
func (d *distinct) remove(text string) {
	h := maphash.String(seed, text)
	switch n := d.again[h]; {
	case n > 1:
		d.again[h]--
	case n == 1:
		delete(d.again, h)
	default:
		delete(d.once, h)
	}
}

func (d *distinct) len() int { return len(d.once) }
