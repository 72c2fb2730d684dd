package plan

import (
	"iter"
	"time"
)

// Asking chooses who is asked about by address. The zero Asking is ready; it keeps
// nothing but scratch.
type Asking struct {
	blocks []bounded
	best   []candidacy
}

// bounded is a block and the most that asking about one of its sessions can bring.
type bounded struct {
	most float64
	b    *block
}

// candidacy is what asking about a session brings: the rate at which it ends, times the
// square of the time since it was seen.
type candidacy struct {
	gain float64
	e    *Row
}

const (
	// leastAge is how long ago a session was seen at least that is asked about, in seconds.
	leastAge = 1.5
	// mostLoose bounds how many of those without a place in the list are compared.
	mostLoose = 1000
)

// Best yields the sessions of which an answer brings most, and what it brings together,
// as a gain: so many at most, of the rows and of those without a place among them, but
// none that skip tells to, or that a page under way will probably show. It opens the
// blocks of the rows in the order of what they can bring at most, until those left can
// bring no more than what was found.
func (s *Asking) Best(now time.Time, t *Track, room int, asked []Window, loose iter.Seq[*Row], skip func(*Row) bool) (rows []*Row, gain float64) {
	at := t.Rows.Seconds(now)
	s.blocks, s.best = s.blocks[:0], s.best[:0]
	position, surge := t.head(now), t.surge.factor()
	for _, b := range t.Rows.blocks {
		b.refresh(at)
		start := position
		position += b.sums.online(at, surge)
		if most := b.peakBy(at); b.peak >= 0 && !t.shows(asked, start, position) {
			s.blocks = append(s.blocks, bounded{most * most, b})
		}
	}
	for i := len(s.blocks)/2 - 1; i >= 0; i-- {
		s.sinkBlock(i)
	}
	consider := func(e *Row) {
		age := at - e.at
		if age < leastAge || !e.askable {
			return
		}
		g := e.rate * age * age
		switch full := len(s.best) == room; {
		case full && g <= s.best[0].gain || skip(e):
		case full:
			s.best[0] = candidacy{g, e}
			s.sink(0)
		default:
			s.best = append(s.best, candidacy{g, e})
			s.rise(len(s.best) - 1)
		}
	}
	left := mostLoose
	for e := range loose {
		if left--; left < 0 {
			break
		}
		consider(e)
	}
	for len(s.blocks) > 0 && (len(s.best) < room || s.blocks[0].most > s.best[0].gain) {
		b := s.blocks[0].b
		if b.peakAt < at {
			b.climb(at) // So it is opened next only if it is worth it.
		}
		for _, e := range b.rows {
			consider(e)
		}
		last := len(s.blocks) - 1
		s.blocks[0] = s.blocks[last]
		s.blocks = s.blocks[:last]
		s.sinkBlock(0)
	}
	for _, c := range s.best {
		rows = append(rows, c.e)
		gain += c.gain / 2
	}
	clear(s.best)
	clear(s.blocks[:cap(s.blocks)])
	return rows, gain
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
	for i > 0 && s.best[i].gain < s.best[(i-1)/2].gain {
		s.best[i], s.best[(i-1)/2] = s.best[(i-1)/2], s.best[i]
		i = (i - 1) / 2
	}
}

func (s *Asking) sink(i int) {
	for {
		least := i
		for j := 2*i + 1; j <= 2*i+2 && j < len(s.best); j++ {
			if s.best[j].gain < s.best[least].gain {
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
