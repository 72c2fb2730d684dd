package plan

import (
	"math"
	"slices"
)

// blockMax is how many sessions a block holds before it is split.
const blockMax = 128

type block struct {
	of     *Rows
	at     int // its index in the list
	rows   []*Row
	marks  []mark // of the rows, in their order
	oldest *Row   // that was not seen for longest
	// Of those who can be asked about by their address: the greatest root of what asking
	// about one of them brought at a time, what it will be a horizon later, and by how
	// much it grows a second at most; see peakBy. All are zero where there are none.
	peak, peakAt, later, growth float64
}

// face is what a walk over all blocks needs of one. They lie side by side: with a million
// sessions, fetching ten thousand blocks from all over memory would take a millisecond.
type face struct {
	sums  ages
	seen  float64 // when the oldest was seen, in seconds
	stale bool    // this, and the block's oldest and peak, are out of date
}

// mark is what sums and choices need of a row. Those of a block lie side by side, since
// each walk over rows scattered in memory costs more than all that is reckoned with them.
type mark struct {
	at   float64
	root float64 // of the rate; negative where the row cannot be asked about
}

func (e *Row) mark() mark {
	m := mark{at: e.at, root: math.Sqrt(e.rate)}
	if !e.askable {
		m.root = -m.root
	}
	return m
}

func (m *mark) rate() float64 { return m.root * m.root }

// worth is the root of what asking about the row brings at a time; zero where it cannot be
// asked about, or was seen just now.
func (m *mark) worth(now float64) float64 {
	if age := now - m.at; age >= leastAge {
		return max(0, m.root) * age
	}
	return 0
}

// noted has the row's block know what has changed about it.
func (e *Row) noted() {
	if b := e.block; b != nil {
		b.marks[e.index()] = e.mark()
		b.spoil()
	}
}

// spoil notes that what is known of all of its rows is out of date.
func (b *block) spoil() { b.of.faces[b.at].stale = true }

// insert puts a row at an index.
func (b *block) insert(i int, e *Row) {
	b.rows, b.marks = slices.Insert(b.rows, i, e), slices.Insert(b.marks, i, e.mark())
	e.block = b
	b.spoil()
}

// remove takes a row out.
func (b *block) remove(e *Row) {
	i := e.index()
	b.rows, b.marks = slices.Delete(b.rows, i, i+1), slices.Delete(b.marks, i, i+1)
	e.block = nil
	b.spoil()
}

// split takes the rows of a full block from an index on out, as a block of their own.
func (b *block) split(half int) *block {
	rest := &block{
		of: b.of, rows: append(make([]*Row, 0, blockMax+1), b.rows[half:]...), marks: append(make([]mark, 0, blockMax+1), b.marks[half:]...),
	}
	for _, e := range rest.rows {
		e.block = rest
	}
	clear(b.rows[half:])
	b.rows, b.marks = b.rows[:half], b.marks[:half]
	return rest
}

// join takes the rows of the block behind.
func (b *block) join(next *block) {
	for _, e := range next.rows {
		e.block = b
	}
	b.rows, b.marks = append(b.rows, next.rows...), append(b.marks, next.marks...)
}

// face returns that of a block, brought up to date.
func (r *Rows) face(at int, now float64) *face {
	f := &r.faces[at]
	if f.stale {
		r.blocks[at].refresh(f, now)
	}
	return f
}

// refresh brings the sums up to date.
func (b *block) refresh(f *face, now float64) {
	*f = face{sums: ages{base: now}}
	oldest, growth := 0, 0.0
	for i := range b.marks {
		m := &b.marks[i]
		f.sums.add(m.at, m.rate(), 1)
		if m.at < b.marks[oldest].at {
			oldest = i
		}
		if m.root > growth {
			growth = m.root
		}
	}
	b.oldest, f.seen, b.growth = b.rows[oldest], b.marks[oldest].at, growth
	b.climb(now)
}

// climb works out the peak at a time.
func (b *block) climb(now float64) {
	peak, later := 0.0, 0.0
	for i := range b.marks {
		m := &b.marks[i]
		at := m.root * (now - m.at)
		if at > peak {
			peak = at
		}
		if at += m.root * horizon; at > later {
			later = at
		}
	}
	b.peak, b.peakAt, b.later = peak, now, later
}

// horizon is how far ahead peaks are known, in seconds.
const horizon = 16

// peakBy is the most that the peak can be at a time: that of each session grows evenly, so
// the greatest of all grows ever faster, and stays below the line between two of its
// points.
func (b *block) peakBy(now float64) float64 {
	if d := now - b.peakAt; d < horizon {
		return b.peak + (b.later-b.peak)*d/horizon
	}
	return b.later + b.growth*(now-b.peakAt-horizon)
}

func (b *block) first() *Row { return b.rows[0] }
func (b *block) last() *Row  { return b.rows[len(b.rows)-1] }

// index returns where e stands in its block.
func (e *Row) index() int { return slices.Index(e.block.rows, e) }
