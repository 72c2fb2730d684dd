package poller

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
)

// aim is the choice of the page of the account's list that is read next, once
// the list's order is established.
//
// Where a session stands is how many before it are online still: those of the
// ring, less those that have ended unseen, and more those that have arrived
// unseen, as far as can be expected, and corrected by where the last page was
// found. A page may begin nearly anywhere, since per_page may differ from request
// to request. So each page begins where the one before ended, wherever that is
// now. What falls between two pages all the same is neither proven nor disproven
// and has its turn in the next round, when pages begin elsewhere.
//
// The sweep leaves its track for a session that is overdue, and skips what is
// worth little: sessions that were just read by other looks, or that seldom end.
// It goes round one way, so that what it skips stays in one piece.
type aim struct {
	choice
	gain   float64   // of the choice
	most   float64   // of the page that is worth most
	enough float64   // that of a page for the track not to be left
	edge   time.Time // local clock: when the end with the newest sessions was last read
	// The last page of the track: its sessions that are in the ring.
	front []*entry
	// By how much the last page's first and last sessions were found away from
	// where they were expected.
	atFirst, firstShift float64
	at, shift           float64
	surge               surge
	total               float64 // the sessions of the ring that are probably online
	reach               float64 // as many sessions the list had when a page was last read that did not end it
	// How many the list had at most when its end was last read, or guessed; zero
	// where that is not known.
	length   float64
	lengthAt time.Time // local clock
	limit    float64   // the same now
	asked    []window  // of sweeps under way
	late     []*entry  // overdue, the oldest first

	// Scratch: where each block begins, the gain of all before it, and that of a
	// page which begins there; and the first two of single sessions.
	starts, before, pages []float64
	fine, fineBefore      []float64
}

// choice is the page to read next.
type choice struct {
	window
	must *entry // the overdue session for which it was chosen
	turn bool   // it follows on front
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

// margin is how far within a page a session should be expected, to be on it.
func (p *Poller) margin() float64 {
	moves := (p.estate.arrivals + p.estate.Hazard*float64(p.roster.ring.n)) / max(p.estate.Budget, 0.01)
	return min(5, 1+math.Sqrt(moves)/2)
}

// head is how many sessions have probably arrived at the list's beginning since
// that was read.
func (p *Poller) head(now time.Time) float64 {
	if p.roster.ring.direction != order.NewestFirst || p.aim.edge.IsZero() {
		return 0
	}
	return p.estate.arrivals * now.Sub(p.aim.edge).Seconds()
}

// places is how many places in the list a session takes, on average.
func (e *entry) places(now, surge float64) float64 {
	return 1 - min(mostGone, surge*e.rate*max(0, now-e.at))
}

// surge compares the ends that the last pages showed with those that were
// expected. When a match ends, the list shrinks while nobody looks, and all who
// were not seen since are likely to be gone; the rates that were learned when
// they were last seen know nothing of it.
type surge struct{ ends, expected float64 }

const (
	surgeFades = 0.8 // with each page
	surgePrior = 5   // ends
	surgeFrom  = 3   // times as many as expected are no chance
	// mostGone is the part of the sessions of a block that may count as gone.
	mostGone = 0.98
)

func (s *surge) page() {
	s.ends *= surgeFades
	s.expected *= surgeFades
}

// factor is by how much more sessions have ended than was expected.
func (s *surge) factor() float64 {
	if f := (s.ends + surgePrior) / (s.expected + surgePrior); f >= surgeFrom {
		return f
	}
	return 1
}

// covered is the part of a stretch of the list that pages under way will show.
func (a *aim) covered(from, to float64) float64 {
	covered := 0.0
	for _, w := range a.asked {
		covered += max(0, min(to, float64(w.end()))-max(from, float64(w.start())))
	}
	if covered == 0 {
		return 0
	}
	return min(1, covered/(to-from))
}

// unasked returns the session that was not seen for longest of those of a block
// that no page under way will show; nil where there is none.
func (a *aim) unasked(b *block, from, width float64) (oldest *entry) {
	for i, e := range b.entries {
		at := from + float64(i)*width
		if (oldest == nil || e.at < oldest.at) && a.covered(at, at+1) == 0 {
			oldest = e
		}
	}
	return oldest
}

// measure works out where each block stands and what it is worth, and collects the
// sessions that are overdue and that no page under way will show: of each block the
// one that was not seen for longest.
func (p *Poller) measure(now time.Time, overdue time.Duration) {
	a, surge := &p.aim, p.aim.surge.factor()
	a.late = a.late[:0]
	a.starts, a.before = a.starts[:0], a.before[:0]
	position, gain, roots := p.head(now), 0.0, 0.0
	t := p.roster.seconds(now)
	if a.limit = math.Inf(1); a.length > 0 {
		a.limit = a.length + p.estate.arrivals*now.Sub(a.lengthAt).Seconds()
	}
	start := a.corrected(position)
	for _, b := range p.roster.ring.blocks {
		b.refresh(t)
		a.starts, a.before = append(a.starts, start), append(a.before, gain)
		position += b.sums.places(t, surge)
		end := a.corrected(position)
		first, open := b.oldest, 1.0
		if len(a.asked) > 0 {
			if open -= a.covered(start, end); open < 1 {
				first = a.unasked(b, start, (end-start)/b.sums.n)
			}
		}
		if first != nil && overdue > 0 && t-first.at > overdue.Seconds() {
			a.late = append(a.late, first)
		}
		gain += open * b.sums.gain(t, 0)
		roots += math.Sqrt(b.sums.n * b.sums.rate)
		start = end
	}
	a.total = position
	p.estate.roots = roots * roots / MaxPerPage
	a.starts, a.before = append(a.starts, a.corrected(position)), append(a.before, gain)
	slices.SortFunc(a.late, func(x, y *entry) int { return cmp.Compare(x.at, y.at) })
}

// corrected is a position as the last page makes it likely: what shifted its
// first session arose evenly before that. So what the ring has before the page is
// looked for before it, and what it has behind, behind.
func (a *aim) corrected(position float64) float64 {
	first, last := a.atFirst+a.firstShift, a.at+a.shift
	switch {
	case position >= a.at && a.total+a.shift > a.limit && a.total > a.at:
		return last + (position-a.at)*max(0, a.limit-last)/(a.total-a.at)
	case position >= a.at:
		return position + a.shift
	case position > a.atFirst:
		return first + (position-a.atFirst)*(last-first)/(a.at-a.atFirst)
	case a.atFirst > 0:
		return position * first / a.atFirst
	}
	return first
}

// anchor notes where a page was found, by its last session that is in the ring.
func (p *Poller) anchor(sessions []events.Session, m moment, c choice) {
	a, start, now := &p.aim, c.start(), m.came
	a.atFirst, a.firstShift, a.at, a.shift = 0, 0, 0, 0
	found := false
	if c.turn {
		a.front = a.front[:0]
	}
	for i := range sessions {
		e := p.roster.entries[sessions[i].ID]
		if e == nil || e.block == nil {
			continue
		}
		if c.turn {
			a.front = append(a.front, e)
		}
		if !found {
			found = true
			a.atFirst = p.position(e, now)
			a.firstShift = float64(start+i) - a.atFirst
		}
		if i >= len(sessions)-10 {
			a.at = p.position(e, now)
			a.shift = float64(start+i) - a.at
		}
	}
}

// bounded notes how far a page shows the list to reach: to its end where more
// follows, else exactly so far.
func (a *aim) bounded(end int, more bool, now time.Time) {
	a.reach = float64(end)
	switch {
	case !more:
		a.length, a.lengthAt = a.reach, now
	case a.reach > a.length:
		a.length = 0
	}
}

// beyond notes that the list ends before a page: far more sessions have ended
// than was expected. Where it ends is guessed between that and the last page that
// was found, and what the ring holds is taken to have thinned out evenly.
func (p *Poller) beyond(start int) {
	a, now := &p.aim, p.Clock.Now()
	empty := float64(start)
	if a.reach > empty-MaxPerPage {
		a.reach = empty / 2 // It was longer then.
	}
	a.length, a.lengthAt = (a.reach+empty)/2, now
	a.at, a.front = p.head(now), a.front[:0]
	for _, b := range p.roster.ring.blocks {
		a.at += b.sums.n
	}
	a.shift = a.length - a.at
	a.atFirst, a.firstShift = a.at, a.shift
}

// position is where a session of the ring is expected, without correction.
func (p *Poller) position(e *entry, now time.Time) float64 {
	position, surge := p.head(now), p.aim.surge.factor()
	t := p.roster.seconds(now)
	for _, b := range p.roster.ring.blocks[:e.block.at] {
		b.refresh(t)
		position += b.sums.places(t, surge)
	}
	for _, other := range e.block.entries[:e.index()] {
		position += other.places(t, surge)
	}
	return position
}

// choosePage chooses the next page of the track, or one around a session that was
// not seen for longer than overdue; zero is never.
func (p *Poller) choosePage(now time.Time, overdue time.Duration) {
	a, r := &p.aim, &p.roster.ring
	a.choice, a.gain, a.most = choice{window: window{1, p.sweep.size}, turn: true}, 0, 0
	if r.n == 0 {
		idle := now.Sub(a.edge).Seconds()
		a.gain = (p.estate.arrivals + p.estate.Hazard) * idle * idle / 2
		a.most = a.gain
		return
	}
	a.asked = a.asked[:0]
	for _, f := range p.flights {
		if f.look.Kind == Sweep {
			a.asked = append(a.asked, f.look.window)
		}
	}
	p.measure(now, overdue)
	a.pages = a.pages[:0]
	end := 0
	for i := range r.blocks {
		to := a.starts[i] + float64(p.sweep.size)
		for end < len(r.blocks) && a.starts[end+1] <= to {
			end++
		}
		gain := interpolate(a.starts, a.before, end, to) - a.before[i]
		a.pages = append(a.pages, gain)
		a.most = max(a.most, gain)
	}
	a.enough = a.most / worth
	var aside []*entry
	defer func() {
		// Only now, since blocks of the ring may go with them.
		for _, e := range aside {
			p.setAside(e)
		}
	}()
	for _, e := range a.late {
		if !e.in[account].placed {
			aside = append(aside, e) // No page proves it gone, and the sweep has been by.
			continue
		}
		first, last := r.group(e)
		if r.count(first, last)+2*int(p.margin()+1) <= p.sweep.size {
			a.must, a.turn = e, false
			p.fit(now, first, last, false)
			return
		}
		// No page has all who began with it, and each shows others of them: that it is
		// gone is likely only once several did not show it.
		if now.Sub(e.seen) > tiedOverdue*overdue {
			aside = append(aside, e)
		}
	}
	at := -1
	for i := len(a.front) - 1; i >= 0; i-- {
		if e := a.front[i]; e.block != nil {
			e = p.resume(e)
			if p.fit(now, e, e, true); a.gain >= a.enough {
				return
			}
			at = e.block.at
			break
		}
	}
	next := r.blocks[a.after(at)].first()
	p.fit(now, next, next, false)
}

// resume is the session behind which the track goes on: its last one, or where
// several began at the same time as that, and a page has room for them, one that
// stands before them all. The last page was cut among them, and proves nothing
// about them.
func (p *Poller) resume(e *entry) *entry {
	r := &p.roster.ring
	first, last := r.group(e)
	if n := r.count(first, last); n < fewEqual || n+2*leap+2 > p.sweep.size {
		return e
	}
	return r.ahead(first, leap+2)
}

// tiedOverdue is how much longer sessions wait that more share their start with than
// a page has room for.
const tiedOverdue = 2

// fewEqual is how many sessions of one start are worth no page that reads some
// again.
const fewEqual = 6

// after returns the next block, round the list, with which a page begins that is
// worth enough, and no less than if it began a block later.
func (a *aim) after(at int) int {
	n := len(a.pages)
	for range n {
		at = (at + 1) % n
		if a.pages[at] >= a.enough {
			break
		}
	}
	for at+1 < n && a.pages[at+1] > a.pages[at] {
		at++
	}
	return at
}

// fit chooses number and size of the page: the one that is worth most of those
// that hold two sessions and all between them, or begin about behind the first.
func (p *Poller) fit(now time.Time, must, until *entry, behind bool) {
	a, r := &p.aim, &p.roster.ring
	surge, margin, best := p.aim.surge.factor(), p.margin(), must.block.at
	low, high := best, best+1
	for low > 0 && a.starts[low] > a.starts[best]-MaxPerPage {
		low--
	}
	for high < len(r.blocks) && (a.starts[high] < a.starts[best+1]+MaxPerPage || high <= until.block.at) {
		high++
	}
	a.fine, a.fineBefore = a.fine[:0], a.fineBefore[:0]
	position, gain, at, to, t := 0.0, 0.0, 0.0, 0.0, p.roster.seconds(now)
	for i, b := range r.blocks[low:high] {
		position = max(position, a.starts[low+i])
		// What corrects where a block begins and ends holds within it, too.
		scale := (a.starts[low+i+1] - a.starts[low+i]) / max(1, b.sums.places(t, surge))
		for _, e := range b.entries {
			a.fine, a.fineBefore = append(a.fine, position), append(a.fineBefore, gain)
			if e == must {
				at = position
			}
			if e == until {
				to = position
			}
			age, from := max(0, t-e.at), position
			position += scale * e.places(t, surge)
			gain += (1 - a.covered(from, from+1)) * e.rate * age * age / 2
		}
	}
	a.fine, a.fineBefore = append(a.fine, position), append(a.fineBefore, gain)

	number := max(0, int(at)/p.sweep.size)
	a.window, a.gain = window{number + 1, p.sweep.size}, -1
	smallest := MaxPerPage / 2
	if p.sweep.fixed {
		smallest = p.sweep.size
	}
	for size := p.sweep.size; size >= smallest; size-- {
		for n := max(0, int(a.fine[0])/size); ; n++ {
			start, end := float64(n*size), float64(n*size+size)
			if behind && start > at+1+leap || !behind && start > at {
				break
			}
			skipped := 0.0
			switch {
			case behind && start > at+1:
				skipped = a.until(start) - a.until(at+1)
			case !behind && n > 0:
				start += margin
			}
			if !behind {
				end -= margin
			}
			if to > end || !behind && at < start {
				continue
			}
			if gain := a.until(end) - a.until(start) - (lateness-1)*skipped; gain > a.gain {
				a.window, a.gain = window{n + 1, size}, gain
			}
		}
	}
	a.gain = max(a.gain, 0)
}

// until is the gain of what stands before a position around which fit has looked.
func (a *aim) until(position float64) float64 {
	xs := a.fine
	n := len(xs)
	// They stand nearly evenly, so this is nearly it.
	i := max(0, min(n-1, int((position-xs[0])*float64(n-1)/max(1, xs[n-1]-xs[0]))))
	for i > 0 && xs[i] > position {
		i--
	}
	for i+1 < n && xs[i+1] < position {
		i++
	}
	return interpolate(xs, a.fineBefore, i, position)
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
