package plan

import (
	"math"
	"time"
)

// Track is where on the pages of the account's list each of its sessions is to be
// expected, once the list's order is established, and how far the sweep has come.
//
// Where a session stands is how many before it are online still: those of the rows,
// less those that have ended unseen, and more those that have arrived unseen, as far
// as can be expected, and corrected by where the last page was found.
type Track struct {
	Rows  *Rows
	Rates *Rates
	// Size is how many records a page has, Fixed true where the platform has a page
	// size of its own.
	Size  int
	Fixed bool

	edge time.Time // local clock: when the end with the newest sessions was last read
	// The last page of the track: its sessions that are in the rows.
	front []*Row
	// By how much the last page's first and last sessions were found away from
	// where they were expected.
	atFirst, firstShift float64
	at, shift           float64
	surge               surge
	cut                 float64 // cutOff, smoothed
	reach               float64 // as many sessions the list had when a page was last read that did not end it
	// How many the list had at most when its end was last read, or guessed; zero
	// where that is not known.
	length   float64
	lengthAt time.Time // local clock
}

// NewTrack begins with rows and rates of which nothing is known.
func NewTrack(began time.Time) *Track {
	return &Track{Rows: NewRows(began, true), Rates: NewRates(began), Size: MaxPerPage}
}

// Enter begins to expect a session at its location.
func (t *Track) Enter(e *Row) {
	e.rate = t.Rates.of(e)
	e.Location.Joined(e)
}

// Show notes that a session was shown by an answer to a request that was sent at a
// time.
func (t *Track) Show(e *Row, sent, now time.Time) {
	t.surge.expected += t.Rates.watched(e, sent, now)
	e.Location.Left(e)
	e.Seen, e.at = sent, t.Rows.Seconds(sent)
	e.rate = t.Rates.of(e)
	e.Location.Joined(e)
	e.noted()
}

// Ended learns that a session has ended before a time.
func (t *Track) Ended(e *Row, before, now time.Time) {
	expected, counts := t.Rates.ended(e, before, now)
	if counts {
		t.surge.expected += expected
		t.surge.ends++
	}
}

// Edge notes that the end of the list at which the newest sessions stand was read by
// a request sent at a time.
func (t *Track) Edge(sent time.Time) { t.edge = sent }

// head is how many sessions have probably arrived at the list's beginning since
// that was read.
func (t *Track) head(now time.Time) float64 {
	if !t.Rows.NewestFirst || t.edge.IsZero() {
		return 0
	}
	return t.Rates.starts * now.Sub(t.edge).Seconds()
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

// Found notes where a page was found that was read at a time: its sessions, nil for
// those that are not known, and how many positions it covers. More says that others
// follow, follows that the page goes on from the one before, so that the next goes
// on from it.
func (t *Track) Found(page []*Row, w Window, covers int, more, follows bool, now time.Time) {
	t.surge.page()
	if covers == 0 && w.Number > 1 {
		t.beyond(w.Start(), now)
		return
	}
	t.anchor(page, w.Start(), follows, now)
	t.cut += (cutOff(page, w.Number > 1, more) - t.cut) / cutMemory
	t.reach = float64(w.Start() + covers)
	switch {
	case !more:
		t.length, t.lengthAt = t.reach, now
	case t.reach > t.length:
		t.length = 0
	}
}

// cutOff is which part of a page's sessions began with its first or its last one, where
// others of these may stand before or behind it: of none of them it tells that it is gone.
func cutOff(page []*Row, before, behind bool) float64 {
	known := make([]*Row, 0, len(page))
	for _, e := range page {
		if e != nil {
			known = append(known, e)
		}
	}
	n := 0
	for i, e := range known {
		last := len(known) - 1
		if before && i > 0 && e.Start.Equal(known[0].Start) || behind && i < last && e.Start.Equal(known[last].Start) {
			n++
		}
	}
	return float64(n) / float64(max(1, len(known)))
}

// cutMemory is over how many pages what they cut off is smoothed.
const cutMemory = 30

// anchor notes where a page was found, by its first and last session that is in the
// rows.
func (t *Track) anchor(page []*Row, start int, follows bool, now time.Time) {
	t.atFirst, t.firstShift, t.at, t.shift = 0, 0, 0, 0
	first, last := -1, -1
	if follows {
		t.front = t.front[:0]
	}
	for i, e := range page {
		if e == nil || e.block == nil {
			continue
		}
		if follows {
			t.front = append(t.front, e)
		}
		if first < 0 {
			first = i
		}
		if i >= len(page)-10 {
			last = i
		}
	}
	ends := func(i int) *Row {
		if i < 0 {
			return nil
		}
		return page[i]
	}
	atFirst, at := t.positions(ends(first), ends(last), now)
	if first >= 0 {
		t.atFirst, t.firstShift = atFirst, float64(start+first)-atFirst
	}
	if last >= 0 {
		t.at, t.shift = at, float64(start+last)-at
	}
}

// beyond notes that the list ends before a page: far more sessions have ended
// than was expected. Where it ends is guessed between that and the last page that
// was found, and what the rows hold is taken to have thinned out evenly.
func (t *Track) beyond(start int, now time.Time) {
	empty := float64(start)
	if t.reach > empty-MaxPerPage {
		t.reach = empty / 2 // It was longer then.
	}
	t.length, t.lengthAt = (t.reach+empty)/2, now
	t.at, t.front = t.head(now), t.front[:0]
	for i := range t.Rows.faces {
		t.at += t.Rows.faces[i].sums.n
	}
	t.shift = t.length - t.at
	t.atFirst, t.firstShift = t.at, t.shift
}

// positions are where two sessions of the rows are expected, without correction; zero of
// nil. It is one walk over all blocks before them.
func (t *Track) positions(first, last *Row, now time.Time) (atFirst, atLast float64) {
	position, surge := t.head(now), t.surge.factor()
	s := t.Rows.Seconds(now)
	for i := range t.Rows.blocks {
		if first != nil && first.block.at == i {
			atFirst, first = within(first, position, s, surge), nil
		}
		if last != nil && last.block.at == i {
			atLast, last = within(last, position, s, surge), nil
		}
		if first == nil && last == nil {
			break
		}
		position += t.Rows.face(i, s).sums.online(s, surge)
	}
	return atFirst, atLast
}

// within is where a session is expected whose block begins at a position.
func within(e *Row, position, now, surge float64) float64 {
	for _, other := range e.block.rows[:e.index()] {
		position += other.positions(now, surge)
	}
	return position
}

// limit is how many sessions the list has at most.
func (t *Track) limit(now time.Time) float64 {
	if t.length == 0 {
		return math.Inf(1)
	}
	return t.length + t.Rates.starts*now.Sub(t.lengthAt).Seconds()
}
