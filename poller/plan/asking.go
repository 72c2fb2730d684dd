package plan

import (
	"iter"
	"time"
)

// Asking chooses who is asked about by address. The zero Asking is ready; it keeps
// scratch, and what the last choice came to.
type Asking struct {
	blocks []bounded
	best   []candidacy
	// least is the least that one of the chosen was worth last time.
	least float64
}

// bounded is a block and the most that one of its sessions can be worth; see candidacy.
type bounded struct {
	most float64
	b    *block
}

// candidacy is a session, and the root of what asking about it brings: of the rate at
// which it ends, times the square of the time since it was seen.
type candidacy struct {
	worth float64
	e     *Row
}

const (
	// leastAge is how long ago a session was seen at least that is asked about, in seconds.
	leastAge = 1.5
	// mostLoose bounds how many of those without a position in the list are compared.
	mostLoose = 1000
	// nearlyAsMuch is the part of what the least of the chosen was worth last time.
	nearlyAsMuch = 0.99
)

// Best yields the sessions of which an answer brings most, and what it brings together,
// as a gain: so many at most, of the rows and of those without a position among them, but
// none that skip tells to, or that a page under way will probably show.
//
// The least of the chosen is worth about as much as last time: so whoever is not worth
// most of that is looked at only where there are too few others.
func (s *Asking) Best(now time.Time, t *Track, room int, asked []Window, loose iter.Seq[*Row], skip func(*Row) bool) (rows []*Row, gain float64) {
	if s.search(now, t, room, nearlyAsMuch*s.least, asked, loose, skip); len(s.best) < room && s.least > 0 {
		s.search(now, t, room, 0, asked, loose, skip)
	}
	if s.least = 0; len(s.best) == room {
		s.least = s.best[0].worth
	}
	for _, c := range s.best {
		rows = append(rows, c.e)
		gain += c.worth * c.worth / 2
	}
	clear(s.best)
	clear(s.blocks[:cap(s.blocks)])
	return rows, gain
}

// search finds the best of those that are worth more than a floor. It opens the blocks of
// the rows in the order of what their sessions can be worth at most, until those left can
// be worth no more than what was found.
func (s *Asking) search(now time.Time, t *Track, room int, floor float64, asked []Window, loose iter.Seq[*Row], skip func(*Row) bool) {
	at := t.Rows.Seconds(now)
	s.best = s.best[:0]
	s.bound(now, t, floor, asked)
	left := mostLoose
	for e := range loose {
		if left--; left < 0 {
			break
		}
		m := e.mark()
		if worth := m.worth(at); worth > floor {
			s.consider(e, worth, room, skip)
		}
	}
	for len(s.blocks) > 0 && (len(s.best) < room || s.blocks[0].most > s.best[0].worth) {
		s.open(s.blocks[0].b, at, room, floor, skip)
		last := len(s.blocks) - 1
		s.blocks[0] = s.blocks[last]
		s.blocks = s.blocks[:last]
		s.sinkBlock(0)
	}
}

// open considers the sessions of a block, and works out its peak, so that it is opened
// next only if it is worth it.
func (s *Asking) open(b *block, at float64, room int, floor float64, skip func(*Row) bool) {
	peak, later := 0.0, 0.0
	for i := range b.marks {
		m := &b.marks[i]
		age := at - m.at
		worth := m.root * age
		if worth > peak {
			peak = worth
		}
		if worth > floor && age >= leastAge && (len(s.best) < room || worth > s.best[0].worth) {
			s.consider(b.rows[i], worth, room, skip)
		}
		if worth += m.root * horizon; worth > later {
			later = worth
		}
	}
	b.peak, b.peakAt, b.later = peak, at, later
}

// bound makes a heap of the blocks one of whose sessions may be worth more than a floor.
func (s *Asking) bound(now time.Time, t *Track, floor float64, asked []Window) {
	s.blocks = s.blocks[:0]
	at, position, surge := t.Rows.Seconds(now), t.head(now), t.surge.factor()
	for i, b := range t.Rows.blocks {
		f, start := t.Rows.face(i, at), position
		if len(asked) > 0 {
			position += f.sums.online(at, surge)
		}
		if most := b.peakBy(at); most > floor && !(len(asked) > 0 && t.shows(asked, start, position)) {
			s.blocks = append(s.blocks, bounded{most, b})
		}
	}
	for i := len(s.blocks)/2 - 1; i >= 0; i-- {
		s.sinkBlock(i)
	}
}

// consider takes a session among the best, if it is one of them.
func (s *Asking) consider(e *Row, worth float64, room int, skip func(*Row) bool) {
	switch full := len(s.best) == room; {
	case full && worth <= s.best[0].worth || skip(e):
	case full:
		s.best[0] = candidacy{worth, e}
		s.sink(0)
	default:
		s.best = append(s.best, candidacy{worth, e})
		s.rise(len(s.best) - 1)
	}
}

// shows reports whether pages will show most of a stretch of the list, by where the last
// page was found.
func (t *Track) shows(pages []Window, from, to float64) bool {
	if from >= t.at {
		from, to = from+t.shift, to+t.shift
	}
	shown := 0.0
	for _, w := range pages {
		shown += max(0, min(to, float64(w.End()))-max(from, float64(w.Start())))
	}
	return shown > (to-from)/2
}

// Ends is how many of a session have probably ended unseen: none or one.
func (t *Track) Ends(e *Row, now time.Time) float64 {
	return min(1, t.surge.factor()*e.rate*max(0, t.Rows.Seconds(now)-e.at))
}

// best is a heap with the least gain on top, blocks one with the greatest bound.
func (s *Asking) rise(i int) {
	for i > 0 && s.best[i].worth < s.best[(i-1)/2].worth {
		s.best[i], s.best[(i-1)/2] = s.best[(i-1)/2], s.best[i]
		i = (i - 1) / 2
	}
}

func (s *Asking) sink(i int) {
	for {
		least := i
		for j := 2*i + 1; j <= 2*i+2 && j < len(s.best); j++ {
			if s.best[j].worth < s.best[least].worth {
				least = j
			}
		}
		if least == i {
			return
		}
		s.best[i], s.best[least] = s.best[least], s.best[i]
		i = least
	}
}

func (s *Asking) sinkBlock(i int) {
	for {
		most := i
		for j := 2*i + 1; j <= 2*i+2 && j < len(s.blocks); j++ {
			if s.blocks[j].most > s.blocks[most].most {
				most = j
			}
		}
		if most == i {
			return
		}
		s.blocks[i], s.blocks[most] = s.blocks[most], s.blocks[i]
		i = most
	}
}
