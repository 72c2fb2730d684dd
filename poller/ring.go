package poller

import (
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/guestflow/guestflow/poller/order"
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
// expected, when surge times as many end as usual.
func (a *ages) places(now, surge float64) float64 {
	d := now - a.base
	return a.n - min(mostGone*a.n, surge*max(0, d*a.rate-a.rt))
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

// ring is the sessions sorted by start, as the platform's list has them; equal
// starts stand in any order. They are kept in blocks with sums, so that finding
// the page that is worth most takes a walk over blocks, not sessions.
type ring struct {
	direction order.Direction
	blocks    []*block
	n         int
}

// blockMax is how many sessions a block holds before it is split.
const blockMax = 128

type block struct {
	at      int // its index in the ring
	entries []*entry
	sums    ages
	oldest  *entry // that was not seen for longest
	stale   bool   // sums and oldest are out of date
}

// refresh brings the sums up to date.
func (b *block) refresh(now float64) {
	if !b.stale {
		return
	}
	b.stale = false
	b.sums = ages{base: now}
	b.oldest = b.entries[0]
	for _, e := range b.entries {
		b.sums.add(e.at, e.rate, 1)
		if e.at < b.oldest.at {
			b.oldest = e
		}
	}
}

func (b *block) first() *entry { return b.entries[0] }
func (b *block) last() *entry  { return b.entries[len(b.entries)-1] }

// index returns where e stands in its block.
func (e *entry) index() int { return slices.Index(e.block.entries, e) }

// group returns the first and the last of the entries with e's start.
func (r *ring) group(e *entry) (first, last *entry) {
	first, last = e, e
	for b, i := e.block, e.index(); ; {
		if i--; i < 0 {
			if b.at == 0 {
				break
			}
			b = r.blocks[b.at-1]
			i = len(b.entries) - 1
		}
		if !b.entries[i].since.Equal(e.since) {
			break
		}
		first = b.entries[i]
	}
	for b, i := e.block, e.index(); ; {
		if i++; i == len(b.entries) {
			if b.at == len(r.blocks)-1 {
				break
			}
			b, i = r.blocks[b.at+1], 0
		}
		if !b.entries[i].since.Equal(e.since) {
			break
		}
		last = b.entries[i]
	}
	return first, last
}

// count is how many entries there are from one to another, both included.
func (r *ring) count(from, to *entry) int {
	n := to.index() - from.index() + 1
	for _, b := range r.blocks[from.block.at:to.block.at] {
		n += len(b.entries)
	}
	return n
}

// ahead returns the entry n places before e, or the first one.
func (r *ring) ahead(e *entry, n int) *entry {
	for b, i := e.block, e.index()-n; ; i += len(b.entries) {
		switch {
		case i >= 0:
			return b.entries[i]
		case b.at == 0:
			return b.first()
		}
		b = r.blocks[b.at-1]
	}
}

// between yields the entries whose start lies strictly between two; zero is no
// bound.
func (r *ring) between(after, before time.Time) iter.Seq[*entry] {
	inside := func(e *entry) bool {
		return (after.IsZero() || e.since.After(after)) && (before.IsZero() || e.since.Before(before))
	}
	return func(yield func(*entry) bool) {
		from, to := after, before
		if r.direction == order.NewestFirst {
			from, to = before, after
		}
		at := 0
		if !from.IsZero() {
			at = sort.Search(len(r.blocks), func(i int) bool { return r.direction.Before(from, r.blocks[i].last().since) })
		}
		for _, b := range r.blocks[at:] {
			if !to.IsZero() && !r.direction.Before(b.first().since, to) {
				return
			}
			for _, e := range b.entries {
				if inside(e) && !yield(e) {
					return
				}
			}
		}
	}
}

// insert puts e behind all that do not stand behind it.
func (r *ring) insert(e *entry) {
	r.n++
	if len(r.blocks) == 0 {
		r.blocks = append(r.blocks, &block{})
	}
	at := sort.Search(len(r.blocks), func(i int) bool {
		return len(r.blocks[i].entries) > 0 && r.direction.Before(e.since, r.blocks[i].first().since)
	})
	b := r.blocks[max(0, at-1)]
	i := sort.Search(len(b.entries), func(i int) bool { return r.direction.Before(e.since, b.entries[i].since) })
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
