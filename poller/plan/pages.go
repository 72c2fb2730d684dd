package plan

import (
	"math"
	"sort"
	"time"
)

// pages is the choice of the page of the account's list that is read next, once
// the list's order is established.
//
// A page may begin nearly anywhere, since per_page may differ from request
// to request. So each page begins where the one before ended, wherever that is
// now. What falls between two pages all the same is neither proven nor disproven
// and has its turn in the next round, when pages begin elsewhere.
//
// The sweep leaves its track for a session that is overdue, and skips what is
// worth little: sessions that were just read by other looks, or that seldom end.
// It goes round one way, so that what it skips stays in one piece.
type pages struct {
	*Track
	asked []Window // under way
	// Nothing before the one place and behind the other is asked for.
	askedFrom, askedTo float64
	margin             float64 // how far within a page a session should be expected, to be on it
	chosen             choice
	aside              []*Row
	most               float64 // the gain of the page that is worth most
	enough             float64 // that of a page for the track not to be left
	total              float64 // the sessions of the rows that are probably online
	longest            float64 // how many the list has at most
	late               queue   // overdue
	// roots is what the square roots of the rates at which sessions end add up to,
	// squared and divided by the sessions on a page: of a list of P pages whose
	// sessions all end at the same rate, P times the rate of ends.
	roots float64

	// Scratch: where each block begins, the gain of all before it, and that of a
	// page which begins there; and the first two of single sessions.
	starts, before, gains []float64
	fine, fineBefore      []float64
	groups                []int // the index of the first of those who began with each of these
}

// choice is the page to read next, and what that would bring.
type choice struct {
	Window
	gain    float64
	overdue *Row // the session for which it was chosen
	follows bool // it goes on from the page before
}

const (
	// worth is by how much a page must be worth more than the next one of the
	// track for the track to be left.
	worth = 2
	// leap is how many sessions a page may skip, if that makes it larger, and
	// lateness how much worse the gain of these is to have a round later.
	leap     = 3
	lateness = 3
)

// gain is what the chosen page brings; of one for an overdue session that is not what
// counts, so that of the page that is worth most.
func (p *pages) gain() float64 {
	if p.chosen.overdue != nil {
		return p.most
	}
	return p.chosen.gain
}

// choose chooses the next page of the track, or one around a session that was not
// seen for longer than overdue; zero is never. Those that no
// page can settle it puts aside.
func (p *pages) choose(now time.Time, v *View, overdue time.Duration) {
	p.Track = v.Track
	r := p.Rows
	p.most = 0
	p.chosen = choice{Window: Window{1, p.Size}, follows: true}
	if r.n == 0 {
		idle := now.Sub(p.edge).Seconds()
		p.chosen.gain = (p.Rates.starts + p.Rates.hazard) * idle * idle / 2
		p.most = p.chosen.gain
		return
	}
	moves := (p.Rates.starts + p.Rates.hazard*float64(r.n)) / max(v.Budget, 0.01)
	p.margin = min(5, 1+math.Sqrt(moves)/2)
	p.asked, p.askedFrom, p.askedTo = v.Asked, math.Inf(1), math.Inf(-1)
	for _, w := range p.asked {
		p.askedFrom, p.askedTo = min(p.askedFrom, float64(w.Start())), max(p.askedTo, float64(w.End()))
	}
	p.measure(now, overdue)
	p.gains = p.gains[:0]
	end := 0
	for i := range r.blocks {
		to := p.starts[i] + float64(p.Size)
		for end < len(r.blocks) && p.starts[end+1] <= to {
			end++
		}
		gain := interpolate(p.starts, p.before, end, to) - p.before[i]
		p.gains = append(p.gains, gain)
		p.most = max(p.most, gain)
	}
	p.enough = p.most / worth
	for e := p.late.next(); e != nil; e = p.late.next() {
		if !v.Placed(e) {
			p.aside = append(p.aside, e) // No page proves it gone, and the sweep has been by.
			continue
		}
		first, last := r.group(e)
		if r.count(first, last)+2*int(p.margin+1) <= p.Size && p.fit(now, first, last, false) {
			p.chosen.overdue, p.chosen.follows = e, false
			return
		}
		// No page has all who began with it, and each shows others of them: that it is
		// gone is likely only once several did not show it.
		patience := time.Duration(tiedOverdue)
		if v.Followed != nil && v.Followed(e) {
			patience = followedOverdue
		}
		if now.Sub(e.Seen) > patience*overdue {
			p.aside = append(p.aside, e)
		}
	}
	at := -1
	for i := len(p.front) - 1; i >= 0; i-- {
		if e := p.front[i]; e.block != nil {
			e = p.resume(e)
			if p.fit(now, e, e, true); p.chosen.gain >= p.enough {
				return
			}
			at = e.block.at
			break
		}
	}
	next := r.blocks[p.after(at)].first()
	p.fit(now, next, next, false)
}

// unread is for how long the end of the list at which the newest sessions stand was not
// read. What the track reads is between sessions that are known, and arrivals are not.
func (p *pages) unread(now time.Time) time.Duration {
	at := 0.0
	if !p.Rows.NewestFirst && p.Rows.n > 0 {
		at = max(0, p.end()-1)
	}
	switch {
	case p.covered(at, at+1) > 0:
		return 0
	case p.edge.IsZero():
		return time.Hour
	}
	return now.Sub(p.edge)
}

// end is how many sessions the list probably has of those in the rows.
func (p *pages) end() float64 { return min(p.starts[len(p.starts)-1], p.longest) }

// newest is the page on which the newest sessions stand.
func (p *pages) newest(now time.Time) Window {
	if p.Rows.NewestFirst || p.Rows.n == 0 {
		return Window{1, p.Size}
	}
	// About where the rows end: some of them, so that it is known where the page was found,
	// and room for those who have come since.
	first, last := max(0, p.end()-p.margin-1), p.end()+p.margin
	if !p.edge.IsZero() {
		last += min(p.Rates.starts*now.Sub(p.edge).Seconds(), float64(p.Size)/2)
	}
	for size := p.Size; size >= MaxPerPage/2 && !p.Fixed; size-- {
		if n := int(first) / size; last <= float64((n+1)*size) {
			return Window{n + 1, size}
		}
	}
	return Window{int(first)/p.Size + 1, p.Size}
}

// covered is the part of a stretch of the list that pages under way will show.
func (p *pages) covered(from, to float64) float64 {
	if to <= p.askedFrom || from >= p.askedTo {
		return 0 // Nearly always.
	}
	covered := 0.0
	for _, w := range p.asked {
		covered += max(0, min(to, float64(w.End()))-max(from, float64(w.Start())))
	}
	if covered == 0 {
		return 0
	}
	return min(1, covered/(to-from))
}

// unasked returns the session that was not seen for longest of those of a block
// that no page under way will show; nil where there is none.
func (p *pages) unasked(b *block, from, width float64) (oldest *Row) {
	for i, e := range b.rows {
		at := from + float64(i)*width
		if (oldest == nil || e.at < oldest.at) && p.covered(at, at+1) == 0 {
			oldest = e
		}
	}
	return oldest
}

// measure works out where each block stands and what it is worth, and collects the
// sessions that are overdue and that no page under way will show: of each block the
// one that was not seen for longest.
func (p *pages) measure(now time.Time, overdue time.Duration) {
	surge := p.surge.factor()
	p.late.clear()
	p.starts, p.before = p.starts[:0], p.before[:0]
	position, gain, roots := p.head(now), 0.0, 0.0
	t := p.Rows.Seconds(now)
	p.longest = p.limit(now)
	start := p.corrected(position)
	for i, b := range p.Rows.blocks {
		f := p.Rows.face(i, t)
		p.starts, p.before = append(p.starts, start), append(p.before, gain)
		position += f.sums.online(t, surge)
		end := p.corrected(position)
		open := 1.0
		if len(p.asked) > 0 {
			open -= p.covered(start, end)
		}
		if overdue > 0 && t-f.seen > overdue.Seconds() {
			first := b.oldest
			if open < 1 {
				first = p.unasked(b, start, (end-start)/f.sums.n)
			}
			if first != nil && t-first.at > overdue.Seconds() {
				p.late.add(first, first.at)
			}
		}
		gain += open * f.sums.gain(t, 0)
		roots += math.Sqrt(f.sums.n * f.sums.rate)
		start = end
	}
	p.total = position
	p.roots = roots * roots / float64(p.Size)
	p.starts, p.before = append(p.starts, p.corrected(position)), append(p.before, gain)
	p.late.heap()
}

// corrected is a position as the last page makes it likely: what shifted its
// first session arose evenly before that. So what the rows have before the page is
// looked for before it, and what they have behind, behind.
func (p *pages) corrected(position float64) float64 {
	first, last := p.atFirst+p.firstShift, p.at+p.shift
	switch {
	case position >= p.at && p.total+p.shift > p.longest && p.total > p.at:
		return last + (position-p.at)*max(0, p.longest-last)/(p.total-p.at)
	case position >= p.at:
		return position + p.shift
	case position > p.atFirst:
		return first + (position-p.atFirst)*(last-first)/(p.at-p.atFirst)
	case p.atFirst > 0:
		return position * first / p.atFirst
	}
	return first
}

// resume is the session behind which the track goes on: its last one, or where
// several began at the same time as that, and a page has room for them, one that
// stands before them all. The last page was cut among them, and proves nothing
// about them.
func (p *pages) resume(e *Row) *Row {
	r := p.Rows
	first, last := r.group(e)
	if n := r.count(first, last); n < fewEqual || n+2*leap+2 > p.Size {
		return e
	}
	return r.ahead(first, leap+2)
}

// after returns the next block, round the list, with which a page begins that is
// worth enough, and no less than if it began a block later.
func (p *pages) after(at int) int {
	n := len(p.gains)
	for range n {
		at = (at + 1) % n
		if p.gains[at] >= p.enough {
			break
		}
	}
	for at+1 < n && p.gains[at+1] > p.gains[at] {
		at++
	}
	return at
}

// fit chooses number and size of the page: the one that is worth most of those
// that hold two sessions and all between them, or begin about behind the first.
func (p *pages) fit(now time.Time, must, until *Row, behind bool) (found bool) {
	r := p.Rows
	margin, best := p.margin, must.block.at
	low, high := best, best+1
	for low > 0 && p.starts[low] > p.starts[best]-MaxPerPage {
		low--
	}
	for high < len(r.blocks) && (p.starts[high] < p.starts[best+1]+MaxPerPage || high <= until.block.at) {
		high++
	}
	at, to := p.layOut(now, low, high, must, until)

	number := max(0, int(at)/p.Size)
	p.chosen.Window, p.chosen.gain = Window{number + 1, p.Size}, -1
	smallest := MaxPerPage / 2
	if p.Fixed {
		smallest = p.Size
	}
	for size := p.Size; size >= smallest; size-- {
		for n := max(0, int(p.fine[0])/size); ; n++ {
			gain, shows, beyond := p.worth(n, size, at, to, margin, behind)
			if beyond {
				break
			}
			if shows && gain > p.chosen.gain {
				p.chosen.Window, p.chosen.gain = Window{n + 1, size}, gain
			}
		}
	}
	found = p.chosen.gain >= 0
	p.chosen.gain = max(p.chosen.gain, 0)
	return found
}

// layOut works out the position and the gain of each row of some blocks, and returns
// where two of them stand.
func (p *pages) layOut(now time.Time, low, high int, must, until *Row) (at, to float64) {
	r, surge := p.Rows, p.surge.factor()
	p.fine, p.fineBefore, p.groups = p.fine[:0], p.fineBefore[:0], p.groups[:0]
	group, start := 0, time.Time{}
	position, gain, t := 0.0, 0.0, r.Seconds(now)
	for i := low; i < high; i++ {
		b := r.blocks[i]
		position = max(position, p.starts[i])
		// What corrects where a block begins and ends holds within it, too.
		scale := (p.starts[i+1] - p.starts[i]) / max(1, r.face(i, t).sums.online(t, surge))
		for _, e := range b.rows {
			if n := len(p.groups); n == 0 || !e.Start.Equal(start) {
				group, start = n, e.Start
			}
			p.groups = append(p.groups, group)
			p.fine, p.fineBefore = append(p.fine, position), append(p.fineBefore, gain)
			if e == must {
				at = position
			}
			if e == until {
				to = position
			}
			age, from := max(0, t-e.at), position
			position += scale * e.positions(t, surge)
			gain += (1 - p.covered(from, from+1)) * e.rate * age * age / 2
		}
	}
	p.fine, p.fineBefore = append(p.fine, position), append(p.fineBefore, gain)
	return at, to
}

// worth is what page n of a size gains, counted from 0, whether it shows the rows that
// it must, and whether it and all behind it lie beyond them.
func (p *pages) worth(n, size int, at, to, margin float64, behind bool) (gain float64, shows, beyond bool) {
	start, end := float64(n*size), float64(n*size+size)
	if behind && start > at+1+leap || !behind && start > at {
		return 0, false, true
	}
	skipped := 0.0
	switch {
	case behind && start > at+1:
		skipped = p.until(start) - p.until(at+1)
	case !behind && n > 0:
		start += margin
	}
	if !behind {
		end -= margin
	}
	if to > end || !behind && at < start {
		return 0, false, false
	}
	return p.shown(start, end) - (lateness-1)*skipped, true, false
}

// shown is the gain of a page between two positions. It tells nobody gone of those whom it
// cuts off from others who began with them, if a page has room for them all.
func (p *pages) shown(start, end float64) float64 {
	if before, behind, ok := p.cut(start + 1); ok && start > 0 && before < start+1 {
		start = behind
	}
	if before, _, ok := p.cut(end - 1); ok {
		end = before
	}
	return max(0, p.until(end)-p.until(start))
}

// cut returns where those begin and end who began with whoever stands at a position; false
// where nobody did, or more than a page has room for.
func (p *pages) cut(position float64) (before, behind float64, ok bool) {
	i := p.index(position)
	if i == len(p.groups) {
		return 0, 0, false
	}
	first, end := p.groups[i], i+1
	for end < len(p.groups) && p.groups[end] == first {
		end++
	}
	if n := end - first; n == 1 || n+2*int(p.margin+1) > p.Size {
		return 0, 0, false
	}
	return p.fine[first], p.fine[end], true
}

// until is the gain of what stands before a position around which fit has looked.
func (p *pages) until(position float64) float64 {
	return interpolate(p.fine, p.fineBefore, p.index(position), position)
}

// index is that of the last row that stands before a position, or the first one.
func (p *pages) index(position float64) int {
	return max(0, sort.SearchFloat64s(p.fine, position)-1)
}

// interpolate returns y at x, which does not lie before xs[i].
func interpolate(xs, ys []float64, i int, x float64) float64 {
	if i+1 >= len(xs) {
		return ys[len(ys)-1]
	}
	if width := xs[i+1] - xs[i]; width > 0 {
		return ys[i] + (ys[i+1]-ys[i])*min(1, max(0, (x-xs[i])/width))
	}
	return ys[i]
}

// tiedOverdue is how much longer sessions wait that more share their start with than
// a page has room for.
const tiedOverdue = 2

// followedOverdue is the same where it is read who of them has ended.
const followedOverdue = 6

// fewEqual is how many sessions of one start are worth no page that reads some
// again.
const fewEqual = 6
