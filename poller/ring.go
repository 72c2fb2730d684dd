package poller

import (
	"iter"
	"slices"
)

// ages sums up when sessions were last seen, each weighted by 1 and by the rate
// at which it ends, so that what is expected of all of them at any time costs no
// walk over them. Times are in seconds since some common beginning, and count
// from base, since squares of long times lose the seconds to rounding.
type ages struct {
	base         float64
	n, t, t2     float64
	rate, rt, r2 float64
}

func (a *ages) add(seen, rate, sign float64) {
	t := seen - a.base
	a.n += sign
	a.t += sign * t
	a.t2 += sign * t * t
	a.rate += sign * rate
	a.rt += sign * rate * t
	a.r2 += sign * rate * t * t
}

// rebase counts from another time.
func (a *ages) rebase(to float64) {
	d := to - a.base
	a.t2 += d * (d*a.n - 2*a.t)
	a.t -= d * a.n
	a.r2 += d * (d*a.rate - 2*a.rt)
	a.rt -= d * a.rate
	a.base = to
}

// places is how many of the sessions are online still, as far as can be
// expected when surge times as many end as usual, and how many have come where so
// many a second do for each of them.
func (a *ages) places(now, surge, arrivals float64) float64 {
	d := now - a.base
	n := a.n - min(mostGone*a.n, surge*max(0, d*a.rate-a.rt))
	if arrivals > 0 {
		n += arrivals * max(0, d*a.n-a.t)
	}
	return n
}

// gain is the expected number of ends times the half of how long they have
// waited, in seconds; that of arrivals too where there are so many a second for
// each session.
func (a *ages) gain(now, arrivals float64) float64 {
	d := now - a.base
	gain := max(0, d*d*a.rate-2*d*a.rt+a.r2) / 2
	if arrivals > 0 {
		gain += arrivals * max(0, d*d*a.n-2*d*a.t+a.t2) / 2
	}
	return gain
}

// ring is the sessions in the order of the platform's list. They are kept in
// blocks with sums, so that finding the page that is worth most takes a walk over
// blocks, not sessions.
type ring struct {
	blocks  []*block
	n       int
	changes int // sessions put in or taken out so far
}

// blockMax is how many sessions a block holds before it is split.
const blockMax = 128

type block struct {
	at      int // its index in the ring
	entries []*entry
	sums    ages
	worth   ages   // with the arrivals that each session's page may show as well
	oldest  *entry // that was not seen for longest
	stale   bool   // sums and oldest are out of date
}

// refresh brings the sums up to date.
func (b *block) refresh(now float64) {
	if !b.stale {
		return
	}
	b.stale = false
	b.sums, b.worth = ages{base: now}, ages{base: now}
	b.oldest = b.entries[0]
	for _, e := range b.entries {
		b.sums.add(e.at, e.rate, 1)
		b.worth.add(e.at, e.rate+e.spread, 1)
		if e.at < b.oldest.at {
			b.oldest = e
		}
	}
}

func (r *ring) first() *entry {
	if r.n == 0 {
		return nil
	}
	return r.blocks[0].entries[0]
}

func (r *ring) last() *entry {
	if r.n == 0 {
		return nil
	}
	b := r.blocks[len(r.blocks)-1]
	return b.entries[len(b.entries)-1]
}

// index returns where e stands in its block.
func (e *entry) index() int { return slices.Index(e.block.entries, e) }

// before returns the entry before e; nil where there is none.
func (r *ring) before(e *entry) *entry {
	if i := e.index(); i > 0 {
		return e.block.entries[i-1]
	}
	if e.block.at == 0 {
		return nil
	}
	b := r.blocks[e.block.at-1]
	return b.entries[len(b.entries)-1]
}

// ascends reports whether each entry stands before the next.
func ascends(entries []*entry) bool {
	at, index := -1, -1
	for _, e := range entries {
		i := e.index()
		if e.block.at < at || e.block.at == at && i <= index {
			return false
		}
		at, index = e.block.at, i
	}
	return true
}

// behind yields the entries behind at, or all where at is nil.
func (r *ring) behind(at *entry) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		block, index := 0, 0
		if at != nil {
			block, index = at.block.at, at.index()+1
		}
		for ; block < len(r.blocks); block, index = block+1, 0 {
			for _, e := range r.blocks[block].entries[index:] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// span returns the entries from one to another, both included.
func (r *ring) span(from, to *entry) []*entry {
	if from.block == to.block {
		return slices.Clone(from.block.entries[from.index() : to.index()+1])
	}
	all := slices.Clone(from.block.entries[from.index():])
	for _, b := range r.blocks[from.block.at+1 : to.block.at] {
		all = append(all, b.entries...)
	}
	return append(all, to.block.entries[:to.index()+1]...)
}

// insert puts e behind at, or first where at is nil.
func (r *ring) insert(e, at *entry) {
	r.n++
	r.changes++
	var b *block
	i := 0
	switch {
	case at != nil:
		b, i = at.block, at.index()+1
	case len(r.blocks) > 0:
		b = r.blocks[0]
	default:
		b = &block{}
		r.blocks = append(r.blocks, b)
	}
	b.entries = slices.Insert(b.entries, i, e)
	e.block, b.stale = b, true
	if len(b.entries) <= blockMax {
		return
	}
	half := len(b.entries) / 2
	rest := &block{entries: append(make([]*entry, 0, blockMax+1), b.entries[half:]...), stale: true}
	for _, e := range rest.entries {
		e.block = rest
	}
	clear(b.entries[half:])
	b.entries = b.entries[:half]
	r.blocks = slices.Insert(r.blocks, b.at+1, rest)
	r.number(b.at)
}

func (r *ring) remove(e *entry) {
	b := e.block
	i := e.index()
	b.entries = slices.Delete(b.entries, i, i+1)
	b.stale = true
	e.block = nil
	r.n--
	r.changes++
	// A block with little left joins its neighbour, so that there are few.
	if after := b.at + 1; after < len(r.blocks) && len(b.entries)+len(r.blocks[after].entries) <= blockMax/2 {
		next := r.blocks[after]
		for _, e := range next.entries {
			e.block = b
		}
		b.entries = append(b.entries, next.entries...)
		r.blocks = slices.Delete(r.blocks, after, after+1)
		r.number(b.at)
	} else if len(b.entries) == 0 {
		r.blocks = slices.Delete(r.blocks, b.at, b.at+1)
		r.number(b.at)
	}
}

func (r *ring) number(from int) {
	for i := from; i < len(r.blocks); i++ {
		r.blocks[i].at = i
	}
}

// clear takes every entry out.
func (r *ring) clear() {
	for _, b := range r.blocks {
		for _, e := range b.entries {
			e.block = nil
		}
	}
	*r = ring{changes: r.changes + r.n}
}
