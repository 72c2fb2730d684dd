package simulator

import (
	"slices"
	"sort"
)

// entry is a session with its place in an order: by key, then by number. One of the
// archive has no session until it is shown.
type entry struct {
	key, num uint64
	s        *session
}

func (e entry) before(o entry) bool {
	return e.key < o.key || e.key == o.key && e.num < o.num
}

// chunkMax is how many entries a chunk holds before it is split: small enough
// that an insertion moves 6 kB at most, large enough that 100,000 entries make
// fewer than 1,000 chunks to count through.
const chunkMax = 256

// index is a sorted sequence with access by rank: chunks of sorted entries.
// Insertion and removal cost O(log n + chunkMax), access by rank O(n/chunkMax).
// The zero index is empty.
type index struct {
	chunks [][]entry
	n      int
}

// seek returns the chunk and position of the first entry not before e.
func (x *index) seek(e entry) (c, i int) {
	c = sort.Search(len(x.chunks), func(c int) bool {
		ch := x.chunks[c]
		return !ch[len(ch)-1].before(e)
	})
	if c == len(x.chunks) {
		return c, 0
	}
	ch := x.chunks[c]
	return c, sort.Search(len(ch), func(i int) bool { return !ch[i].before(e) })
}

func (x *index) insert(e entry) {
	x.n++
	c, i := x.seek(e)
	if c == len(x.chunks) {
		if c == 0 {
			x.chunks = append(x.chunks, []entry{e})
			return
		}
		c--
		i = len(x.chunks[c])
	}
	ch := slices.Insert(x.chunks[c], i, e)
	x.chunks[c] = ch
	if len(ch) > chunkMax {
		// Arrivals in order of time append to the last chunk: leave it almost
		// full there, so that old chunks are dense.
		cut := len(ch) / 2
		if c == len(x.chunks)-1 && i == len(ch)-1 {
			cut = len(ch) - 1
		}
		right := append(make([]entry, 0, chunkMax+1), ch[cut:]...)
		clear(ch[cut:])
		x.chunks[c] = ch[:cut]
		x.chunks = slices.Insert(x.chunks, c+1, right)
	}
}

// remove takes e out; it reports false when e is not there.
func (x *index) remove(e entry) bool {
	c, i := x.seek(e)
	if c == len(x.chunks) || x.chunks[c][i].num != e.num || x.chunks[c][i].key != e.key {
		return false
	}
	x.n--
	ch := slices.Delete(x.chunks[c], i, i+1)
	x.chunks[c] = ch
	switch {
	case len(ch) == 0:
		x.chunks = slices.Delete(x.chunks, c, c+1)
	case c+1 < len(x.chunks) && len(ch)+len(x.chunks[c+1]) <= chunkMax/2:
		x.chunks[c] = append(ch, x.chunks[c+1]...)
		x.chunks = slices.Delete(x.chunks, c+1, c+2)
	}
	return true
}

// rank returns how many entries have a smaller key.
func (x *index) rank(key uint64) int {
	c, i := x.seek(entry{key: key})
	for _, ch := range x.chunks[:c] {
		i += len(ch)
	}
	return i
}

// cursor stands at one entry of an index.
type cursor struct {
	x    *index
	c, i int
}

// at returns a cursor at rank r, which may be n: the end.
func (x *index) at(r int) cursor {
	for c, ch := range x.chunks {
		if r < len(ch) {
			return cursor{x, c, r}
		}
		r -= len(ch)
	}
	return cursor{x, len(x.chunks), 0}
}

// entry returns the entry under the cursor; false at the end.
func (c *cursor) entry() (entry, bool) {
	if c.x == nil || c.c >= len(c.x.chunks) {
		return entry{}, false
	}
	return c.x.chunks[c.c][c.i], true
}

func (c *cursor) next() {
	if c.i++; c.i == len(c.x.chunks[c.c]) {
		c.c, c.i = c.c+1, 0
	}
}

// view is the ascending union of up to two indexes, from a key on.
type view struct {
	x    [2]*index
	from [2]int // rank of the first entry that belongs to the view
}

func (v *view) add(i int, x *index, key uint64) {
	v.x[i] = x
	if key > 0 {
		v.from[i] = x.rank(key)
	}
}

func (v *view) size(i int) int {
	if v.x[i] == nil {
		return 0
	}
	return v.x[i].n - v.from[i]
}

func (v *view) len() int { return v.size(0) + v.size(1) }

// append appends k entries from rank r on.
func (v *view) append(dst []entry, r, k int) []entry {
	a := v.split(r)
	var ca, cb cursor
	if v.x[0] != nil {
		ca = v.x[0].at(v.from[0] + a)
	}
	if v.x[1] != nil {
		cb = v.x[1].at(v.from[1] + r - a)
	}
	for ; k > 0; k-- {
		ea, okA := ca.entry()
		eb, okB := cb.entry()
		switch {
		case okA && (!okB || ea.before(eb)):
			dst = append(dst, ea)
			ca.next()
		case okB:
			dst = append(dst, eb)
			cb.next()
		default:
			return dst
		}
	}
	return dst
}

// split returns how many of the first r entries of the union are of index 0.
func (v *view) split(r int) int {
	na, nb := v.size(0), v.size(1)
	lo, hi := max(0, r-nb), min(r, na)
	// The smallest a for which entry a of index 0 is not among the first r,
	// that is, entry r-a-1 of index 1 stands before it.
	return lo + sort.Search(hi-lo, func(d int) bool {
		a := lo + d
		ca, cb := v.x[0].at(v.from[0]+a), v.x[1].at(v.from[1]+r-a-1)
		ea, _ := ca.entry()
		eb, ok := cb.entry()
		return ok && eb.before(ea)
	})
}
