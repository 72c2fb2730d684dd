package occupancy

import (
	"hash/maphash"
	"slices"
)

// distinct counts how many different texts there are, of which each may have come several
// times. It keeps 64 bits of each, so two of a million count as one once in thirty million
// times; hardly any come twice.
type distinct struct {
	once  map[uint64]struct{}
	again map[uint64]int32 // how often besides
}

var seed = maphash.MakeSeed()

// add reports whether it was not there before.
func (d *distinct) add(text string) (h uint64, fresh bool) {
	h = maphash.String(seed, text)
	if !d.has(h) {
		if d.once == nil {
			d.once = map[uint64]struct{}{}
		}
		d.once[h] = struct{}{}
		return h, true
	}
	if d.again == nil {
		d.again = map[uint64]int32{}
	}
	d.again[h]++
	return h, false
}

// remove takes one back that was added, and reports whether it is not there any more.
func (d *distinct) remove(text string) (h uint64, gone bool) {
	h = maphash.String(seed, text)
	switch n := d.again[h]; {
	case n > 1:
		d.again[h]--
	case n == 1:
		delete(d.again, h)
	default:
		delete(d.once, h)
		return h, true
	}
	return h, false
}

func (d *distinct) has(h uint64) bool {
	_, known := d.once[h]
	return known
}

func (d *distinct) len() int { return len(d.once) }

// spread is where everybody counted is, in one account. Few are at several of its locations
// at once, so that locations are counted together without looking at everybody.
type spread struct {
	home    map[uint64]int32   // the number of the location of who is at one
	several map[uint64][]*area // of who is at more
}

func newSpread() spread { return spread{map[uint64]int32{}, map[uint64][]*area{}} }

// len is how many there are.
func (s *spread) len() int { return len(s.home) + len(s.several) }

// came notes that somebody is at a location who was not there before.
func (s *spread) came(h uint64, l *area) {
	home, at := s.home[h], s.several[h]
	switch {
	case at != nil:
		s.several[h] = append(at, l)
	case home != 0:
		delete(s.home, h)
		s.several[h] = []*area{l.of.roster.places[home-1], l}
	default:
		s.home[h] = l.number
	}
}

// left notes that somebody is not at a location any more.
func (s *spread) left(h uint64, l *area) {
	at := slices.DeleteFunc(s.several[h], func(o *area) bool { return o == l })
	switch len(at) {
	case 0:
		delete(s.home, h)
	case 1:
		delete(s.several, h)
		s.home[h] = at[0].number
	default:
		s.several[h] = at
	}
}

// within counts who is at some of an account's locations, each once.
func (s *spread) within(list []*area, in map[*area]bool, of func(*area) *distinct) (n int) {
	for _, l := range list {
		n += of(l).len()
	}
	if n < len(s.several) { // it is quicker to look at everybody who is here
		once := union{}
		for _, l := range list {
			for h := range of(l).once {
				if s.several[h] == nil {
					continue
				}
				if _, known := once[h]; known {
					n--
				}
				once[h] = struct{}{}
			}
		}
		return n
	}
	for _, at := range s.several {
		here := 0
		for _, l := range at {
			if in[l] {
				here++
			}
		}
		n -= max(0, here-1)
	}
	return n
}

func devicesOf(l *area) *distinct { return &l.devices }

func guestsOf(l *area) *distinct { return &l.guests }
