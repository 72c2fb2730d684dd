// Package order says what one page of a list of sessions proves about sessions
// that are not on it, where the platform sorts the list by start.
//
// The argument. A page is one query, so it shows the list at one moment. Of a list
// sorted by start, the page's first and last record bound what stood on it: every
// session that was online and whose start lies strictly between theirs was on the
// page. Where the page begins the list, nothing stands before its first record, so
// that bound falls away; where it ends the list, the other one does. A page that
// does both is the whole list, and proves the absence of whoever it does not show,
// sorted or not.
//
// Equal starts have no order: real platforms sort by start alone, in whole seconds,
// and whole groups start in one second. Their rows may stand in another order in
// each query, so a session whose start equals that of the page's first or last
// record may stand on the page before or behind. That is why "strictly" matters,
// and why two readings that agree are no proof.
//
// A record may stand out of order, and at the end of a page nothing shows that: its
// start would widen what the page seems to prove. So a bound is taken from the record
// next to the outermost, and further in where the page has records out of order. The
// outermost one will do where it was shown in its position before, between others, and
// no record of the list has ever been out of order.
//
// Whether a list is sorted is read off its pages. A table whose rows move when they
// are written may stand by start for as long as nobody writes it, so only records
// that were written since a page last showed them are evidence: as many bits as there
// are ways in which they could stand on the page and not be in order. Such rows move
// to one end, so those that all stand there say little. A record out of order has no
// place, so nothing is proven about its session; one that was written, and is, counts
// against the order. Where many are, or one is that stood in its position before, the
// list has no order until there is evidence anew.
//
// It imports nothing of the project: records come in, and what they prove goes out.
package order

import (
	"math"
	"slices"
	"time"
)

// Direction is how a list is sorted. The zero Direction is not known.
type Direction string

// The directions.
const (
	NewestFirst Direction = "newest first"
	OldestFirst Direction = "oldest first"
)

// Before reports whether a session that started at a stands before one that
// started at b. Equal starts do not.
func (d Direction) Before(a, b time.Time) bool {
	if d == NewestFirst {
		return a.After(b)
	}
	return a.Before(b)
}

// Record is what the order of a list rests on.
type Record struct {
	ID string
	// Start is zero where it is not known: the record has no position then.
	Start time.Time
	// Written is true where it was written since a page of the list last showed it:
	// its counters have changed.
	Written bool
	// Placed is true where the session was shown in its position before.
	Placed bool
}

// Page is one answer.
type Page struct {
	Records []Record
	// First and Last say that it begins or ends the list.
	First, Last bool
}

// The evidence that it takes for a list to count as sorted: bits that tell it from
// chance, and so many writes, since a database may leave most rows where they are when
// it writes them. Where a former process found the same order, the bits are enough. It
// takes twice as much after each contradiction, up to mostTimes as much, and leaving
// times after a record left its position. A record that was written and is out of order
// takes away as much as against others in order bring.
const (
	enoughBits   = 50
	enoughWrites = 200
	leaving      = 32
	mostTimes    = 1 << 14
	against      = 2
)

// mostDisplaced is the part of a page's records that may be out of order; one
// always may.
const mostDisplaced = 0.1

// List is what is known of the order of one list. The zero List knows nothing.
type List struct {
	Direction Direction
	// Contradictions counts them in a row, without the order being established in
	// between.
	Contradictions int

	evidence evidence
	times    float64   // as much as at first is needed
	expected Direction // that of a former process
	toward   Direction // what the evidence is of
	odd      bool      // a page showed a record out of order
}

// evidence of an order.
type evidence struct {
	bits   float64
	writes float64 // records that were written and stayed in their position
}

// Established reports whether the list counts as sorted.
func (l *List) Established() bool { return l.Direction != "" }

// Expect says how the list was sorted when a former process read it, so that it takes
// little for it to count as sorted again.
func (l *List) Expect(d Direction) { l.expected = d }

// Retry lets little evidence establish the order again, however many pages
// contradicted it.
func (l *List) Retry() { l.Contradictions, l.times = 0, 0 }

// Reading is what one page says.
type Reading struct {
	// Displaced are the ids of its records that have no position: their start is not
	// known, or they stand out of order.
	Displaced []string
	// Doubtful are the ids of those that stand in order, and might if they had no
	// place: close to a bound of the page, or to a record out of order, of which either
	// may be the one that has none.
	Doubtful []string
	// Contradicted is true where the page took its order from the list.
	Contradicted bool
	// Whole is true for a page that is the whole list.
	Whole bool

	proves      bool
	direction   Direction
	first, last time.Time // starts that bound what the page proves
	from, to    bool      // whether these are bounds
}

// Proves reports whether a session that started at start, and stands in its position,
// was on the page if it was online. Of the zero time only a whole list tells.
func (r *Reading) Proves(start time.Time) bool {
	switch {
	case r.Whole:
		return true
	case !r.proves || start.IsZero():
		return false
	}
	return (!r.from || r.direction.Before(r.first, start)) && (!r.to || r.direction.Before(start, r.last))
}

// Bounds returns the starts between which the page proves, the earlier one first;
// zero is no bound. It returns false where the page proves nothing.
func (r *Reading) Bounds() (after, before time.Time, ok bool) {
	if r.from {
		after = r.first
	}
	if r.to {
		before = r.last
	}
	if r.direction == NewestFirst {
		after, before = before, after
	}
	return after, before, r.proves
}

// Read takes a page into account, and says what it proves.
func (l *List) Read(p Page) Reading {
	r := Reading{Whole: p.First && p.Last, from: !p.First, to: !p.Last, direction: l.Direction}
	if r.direction == "" {
		r.direction = direction(p.Records)
	}
	in, moved := sorted(p.Records, r.direction)
	known, out := 0, 0
	for i := range p.Records {
		if unknown := p.Records[i].Start.IsZero(); !unknown {
			known++
			if !in[i] {
				out++
			}
		}
		if !in[i] {
			r.Displaced = append(r.Displaced, p.Records[i].ID)
		}
	}
	if moved || float64(out) > max(1, mostDisplaced*float64(known)) {
		l.contradict(moved)
		r.Contradicted = true
		return r
	}
	l.learn(r.direction, p.Records, in)
	l.odd = l.odd || out > 0
	from, to := r.bounds(p.Records, in, out, !l.odd)
	for i := range in {
		if in[i] && (i < from || i > to || near(p.Records, in, i, out)) {
			r.Doubtful = append(r.Doubtful, p.Records[i].ID)
		}
	}
	if !l.Established() {
		return r
	}
	l.Contradictions = 0
	if r.proves = from <= to; r.proves {
		r.first, r.last = p.Records[from].Start, p.Records[to].Start
	}
	r.proves = r.proves || r.Whole
	return r
}

// learn takes a page that is sorted for evidence. One without two starts that differ, as
// that of a location where nobody is, says nothing of any direction.
func (l *List) learn(d Direction, records []Record, in []bool) {
	if l.Established() || !tells(records) {
		return
	}
	if d != l.toward {
		l.toward, l.evidence = d, evidence{}
	}
	l.evidence.add(records, in)
	bits, writes := enoughBits*max(1, l.times), enoughWrites*max(1, l.times)
	if d == l.expected {
		bits, writes = enoughBits, 0
	}
	if l.evidence.bits >= bits && l.evidence.writes >= writes {
		l.Direction = d
	}
}

// bounds returns the first and the last record of a page that are taken to stand in
// their position, where so many are out of it, and those that were placed before may be
// trusted or not; from lies behind to where there are none.
func (r *Reading) bounds(records []Record, in []bool, out int, trusted bool) (from, to int) {
	// outermost is that of the records at i, i+step, …
	outermost := func(i, step int, bound bool) int {
		for skipped := 0; i >= 0 && i < len(records); i += step {
			switch {
			case !in[i]:
			case !bound || skipped > out || trusted && records[i].Placed:
				return i
			default:
				skipped++
			}
		}
		return i
	}
	return outermost(0, 1, r.from), outermost(len(records)-1, -1, r.to)
}

// near reports whether a record out of order stands within so many positions of
// another.
func near(records []Record, in []bool, i, within int) bool {
	for j := max(0, i-within); j < min(len(in), i+within+1); j++ {
		if !in[j] && !records[j].Start.IsZero() {
			return true
		}
	}
	return false
}

func (l *List) contradict(moved bool) {
	l.Contradictions++
	times := 2.0
	if moved {
		times = leaving
	}
	l.times = min(times*max(1, l.times), mostTimes)
	l.evidence, l.Direction, l.expected = evidence{}, "", ""
}

// Of says how a page's records are sorted by start, and whether they are at all;
// no direction where too few different starts tell.
func Of(records []Record) (d Direction, isSorted bool) {
	d = direction(records)
	in, _ := sorted(records, d)
	steps := 0
	var last time.Time
	for i := range records {
		s := records[i].Start
		if s.IsZero() {
			continue
		}
		if !in[i] {
			return "", false
		}
		if !last.IsZero() && !s.Equal(last) {
			steps++
		}
		last = s
	}
	if steps < 3 {
		return "", true
	}
	return d, true
}

// direction is how most neighbours of a page stand to each other.
func direction(records []Record) Direction {
	rises, falls := 0, 0
	for i := 1; i < len(records); i++ {
		a, b := records[i-1].Start, records[i].Start
		switch {
		case a.IsZero() || b.IsZero():
		case a.Before(b):
			rises++
		case b.Before(a):
			falls++
		}
	}
	if rises > falls {
		return OldestFirst
	}
	return NewestFirst
}

// tells reports whether two records have starts that differ.
func tells(records []Record) bool {
	var first time.Time
	for i := range records {
		switch s := records[i].Start; {
		case s.IsZero():
		case first.IsZero():
			first = s
		case !s.Equal(first):
			return true
		}
	}
	return false
}

// sorted returns which records stand in order: as many as possible, and those that
// stood in their position before rather than others. It reports whether one of these
// does not.
func sorted(records []Record, d Direction) (in []bool, moved bool) {
	in = make([]bool, len(records))
	ordered, last := true, time.Time{}
	for i := range records {
		s := records[i].Start
		if s.IsZero() {
			continue
		}
		in[i] = true
		ordered = ordered && (last.IsZero() || !d.Before(s, last))
		last = s
	}
	if ordered {
		return in, false
	}
	// The heaviest subsequence that never goes back.
	weight, before := make([]int, len(records)), make([]int, len(records))
	end := -1
	for i := range records {
		before[i] = -1
		if !in[i] {
			continue
		}
		for j := range i {
			if in[j] && weight[j] > weight[i] && !d.Before(records[i].Start, records[j].Start) {
				weight[i], before[i] = weight[j], j
			}
		}
		weight[i]++
		if records[i].Placed {
			weight[i]++
		}
		if end < 0 || weight[i] > weight[end] {
			end = i
		}
	}
	clear(in)
	for i := end; i >= 0; i = before[i] {
		in[i] = true
	}
	for i := range records {
		moved = moved || !in[i] && records[i].Placed && !records[i].Start.IsZero()
	}
	return in, moved
}

// add takes the records of a page that are sorted where they are in order: the bits
// are the binary logarithm of the number of ways in which those that were written
// could stand among the others, and those at either end among themselves.
func (e *evidence) add(records []Record, in []bool) {
	var placed []Record
	out := 0
	for i := range records {
		switch {
		case in[i]:
			placed = append(placed, records[i])
		case records[i].Written && !records[i].Start.IsZero():
			out++
		}
	}
	first, last := 0, len(placed)
	for first < last && placed[first].Written {
		first++
	}
	for last > first && placed[last-1].Written {
		last--
	}
	head, among, tail := placed[:first], placed[first:last], placed[last:]
	still := slices.DeleteFunc(slices.Clone(among), func(r Record) bool { return r.Written })
	bits := arrangements(head) + arrangements(tail) + arrangements(among) - arrangements(still)
	writes := max(0, len(head)-1) + max(0, len(tail)-1) + len(among) - len(still)
	e.bits = max(0, e.bits+bits-against*float64(out)*math.Log2(float64(len(records))))
	e.writes = max(0, e.writes+float64(writes-against*out))
}

// arrangements is the binary logarithm of the number of orders in which sorted records
// could stand; those of equal starts have none.
func arrangements(records []Record) float64 {
	sum, group := factorial(len(records)), 0
	for i := range records {
		if i > 0 && !records[i].Start.Equal(records[i-1].Start) {
			sum -= factorial(group)
			group = 0
		}
		group++
	}
	return sum - factorial(group)
}

// factorial is the binary logarithm of n!.
func factorial(n int) float64 {
	f, _ := math.Lgamma(float64(n) + 1)
	return f / math.Ln2
}
