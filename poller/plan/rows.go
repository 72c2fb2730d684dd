package plan

import (
	"iter"
	"slices"
	"sort"
	"time"
)

// Row is one online session, as a row of the account's list. Times are on the local
// clock, but for its start.
type Row struct {
	ID       string
	Location *Location
	// Start is when it began, on the platform's clock; zero where that is not known.
	Start time.Time
	// Seen is when the request was sent that last showed it.
	Seen time.Time
	// Slot is the number by which whoever keeps the rows knows it.
	Slot int32

	askable bool    // see Rows.Ask
	at      float64 // Seen in seconds, as sums count it
	rate    float64 // at which it ends, per second, as learned when it was seen
	block   *block  // of Rows; nil outside of them
}

// NewRow is a session at a location that was seen at a time.
func (r *Rows) NewRow(id string, at *Location, start, seen time.Time) Row {
	return Row{ID: id, Location: at, Start: start, Seen: seen, at: r.Seconds(seen)}
}

// Listed reports whether the row is in Rows.
func (e *Row) Listed() bool { return e.block != nil }

// lasted is for how long the session had lasted when it was last seen; zero where
// its start is not known.
func (e *Row) lasted() time.Duration {
	if e.Start.IsZero() {
		return 0
	}
	return e.Seen.Sub(e.Start)
}

// positions is how many positions in the list the session takes, on average.
func (e *Row) positions(now, surge float64) float64 {
	return 1 - min(mostGone, surge*e.rate*max(0, now-e.at))
}

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

// online is how many of the sessions are online still, as far as can be
// expected, when surge times as many end as usual.
func (a *ages) online(now, surge float64) float64 {
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

// Rows is the account's online sessions sorted by start, as the platform's list has
// them; equal starts stand in any order. They are kept in blocks with sums, so that
// finding the page that is worth most takes a walk over blocks, not sessions.
type Rows struct {
	// NewestFirst is how they are sorted. It is set before there are any.
	NewestFirst bool

	began  time.Time // local clock: that of Row.at
	blocks []*block
	faces  []face // of the blocks, in their order
	n      int
}

// NewRows are none; began, on the local clock, is when watching them began.
func NewRows(began time.Time, newestFirst bool) *Rows {
	return &Rows{NewestFirst: newestFirst, began: began}
}

// Ask notes whether a session can be asked about by its address.
func (r *Rows) Ask(e *Row, askable bool) {
	e.askable = askable
	e.noted()
}

// Seconds is a time as the sums of rows and locations count it.
func (r *Rows) Seconds(t time.Time) float64 { return t.Sub(r.began).Seconds() }

// Len is how many rows there are.
func (r *Rows) Len() int { return r.n }

// before reports whether a session that started at a stands before one that started
// at b. Equal starts do not.
func (r *Rows) before(a, b time.Time) bool {
	if r.NewestFirst {
		return a.After(b)
	}
	return a.Before(b)
}

// All yields the rows in their order.
func (r *Rows) All() iter.Seq[*Row] { return r.Between(time.Time{}, time.Time{}) }

// Row returns the row at a position, counted from 0; nil behind the last.
func (r *Rows) Row(position int) *Row {
	for _, b := range r.blocks {
		if position < len(b.rows) {
			return b.rows[position]
		}
		position -= len(b.rows)
	}
	return nil
}

// Oldest returns the row that was not seen for longest; nil where there is none.
func (r *Rows) Oldest(now time.Time) *Row {
	t := r.Seconds(now)
	oldest := -1
	for i := range r.blocks {
		if f := r.face(i, t); oldest < 0 || f.seen < r.faces[oldest].seen {
			oldest = i
		}
	}
	if oldest < 0 {
		return nil
	}
	return r.blocks[oldest].oldest
}

// Unseen yields of each stretch of the list the row that was not seen for longest, where
// that is longer than some time.
func (r *Rows) Unseen(now time.Time, longer time.Duration) iter.Seq[*Row] {
	t := r.Seconds(now)
	before := t - longer.Seconds()
	return func(yield func(*Row) bool) {
		for i := range r.blocks {
			if r.face(i, t).seen < before && !yield(r.blocks[i].oldest) {
				return
			}
		}
	}
}

// Reset takes all rows out, for a list that is sorted so or so from now on.
func (r *Rows) Reset(newestFirst bool) {
	for _, b := range r.blocks {
		for _, e := range b.rows {
			e.block = nil
		}
	}
	*r = Rows{NewestFirst: newestFirst, began: r.began}
}

// group returns the first and the last of the entries with e's start.
func (r *Rows) group(e *Row) (first, last *Row) {
	first, last = e, e
	for b, i := e.block, e.index(); ; {
		if i--; i < 0 {
			if b.at == 0 {
				break
			}
			b = r.blocks[b.at-1]
			i = len(b.rows) - 1
		}
		if !b.rows[i].Start.Equal(e.Start) {
			break
		}
		first = b.rows[i]
	}
	for b, i := e.block, e.index(); ; {
		if i++; i == len(b.rows) {
			if b.at == len(r.blocks)-1 {
				break
			}
			b, i = r.blocks[b.at+1], 0
		}
		if !b.rows[i].Start.Equal(e.Start) {
			break
		}
		last = b.rows[i]
	}
	return first, last
}

// count is how many entries there are from one to another, both included.
func (r *Rows) count(from, to *Row) int {
	n := to.index() - from.index() + 1
	for _, b := range r.blocks[from.block.at:to.block.at] {
		n += len(b.rows)
	}
	return n
}

// ahead returns the entry n positions before e, or the first one.
func (r *Rows) ahead(e *Row, n int) *Row {
	for b, i := e.block, e.index()-n; ; i += len(b.rows) {
		switch {
		case i >= 0:
			return b.rows[i]
		case b.at == 0:
			return b.first()
		}
		b = r.blocks[b.at-1]
	}
}

// Between yields the entries whose start lies strictly between two; zero is no
// bound.
func (r *Rows) Between(after, before time.Time) iter.Seq[*Row] {
	inside := func(e *Row) bool {
		return (after.IsZero() || e.Start.After(after)) && (before.IsZero() || e.Start.Before(before))
	}
	return func(yield func(*Row) bool) {
		from, to := after, before
		if r.NewestFirst {
			from, to = before, after
		}
		at := 0
		if !from.IsZero() {
			at = sort.Search(len(r.blocks), func(i int) bool { return r.before(from, r.blocks[i].last().Start) })
		}
		for _, b := range r.blocks[at:] {
			if !to.IsZero() && !r.before(b.first().Start, to) {
				return
			}
			for _, e := range b.rows {
				if inside(e) && !yield(e) {
					return
				}
			}
		}
	}
}

// Insert puts e behind all that do not stand behind it.
func (r *Rows) Insert(e *Row) {
	r.n++
	if len(r.blocks) == 0 {
		r.blocks, r.faces = append(r.blocks, &block{of: r}), append(r.faces, face{})
	}
	at := sort.Search(len(r.blocks), func(i int) bool {
		return len(r.blocks[i].rows) > 0 && r.before(e.Start, r.blocks[i].first().Start)
	})
	b := r.blocks[max(0, at-1)]
	i := sort.Search(len(b.rows), func(i int) bool { return r.before(e.Start, b.rows[i].Start) })
	b.insert(i, e)
	if len(b.rows) <= blockMax {
		return
	}
	half := len(b.rows) / 2
	if i == len(b.rows)-1 && b.at == len(r.blocks)-1 {
		half = i // Rows come in their order, and fill one block after the other.
	}
	r.blocks, r.faces = slices.Insert(r.blocks, b.at+1, b.split(half)), slices.Insert(r.faces, b.at+1, face{stale: true})
	r.number(b.at)
}

// Remove takes a row out.
func (r *Rows) Remove(e *Row) {
	b := e.block
	b.remove(e)
	r.n--
	// A block with little left joins its neighbour, so that there are few.
	if after := b.at + 1; after < len(r.blocks) && len(b.rows)+len(r.blocks[after].rows) <= blockMax/2 {
		b.join(r.blocks[after])
		r.blocks, r.faces = slices.Delete(r.blocks, after, after+1), slices.Delete(r.faces, after, after+1)
		r.number(b.at)
	} else if len(b.rows) == 0 {
		r.blocks, r.faces = slices.Delete(r.blocks, b.at, b.at+1), slices.Delete(r.faces, b.at, b.at+1)
		r.number(b.at)
	}
}

func (r *Rows) number(from int) {
	for i := from; i < len(r.blocks); i++ {
		r.blocks[i].at = i
	}
}
