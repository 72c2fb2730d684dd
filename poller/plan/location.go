package plan

import (
	"cmp"
	"time"
)

// Location is a location as far as looking at it is concerned. Times are on the
// local clock.
type Location struct {
	ID string
	// Online is how many sessions are known to be online there.
	Online int
	// SeenAt is when the last complete look began; zero when there was none.
	SeenAt time.Time
	// AskedAt is when the last look at it alone ended, complete or not.
	AskedAt time.Time
	// AddedAt is when the location became known to this process.
	AddedAt time.Time

	// PerPage is the number of records on a page of its list, where the platform has a page
	// size of its own; zero means MaxPerPage.
	PerPage int

	// Asking is true while a page of its list is under way.
	Asking bool

	sums    ages
	learned learned
}

// Age is how long ago the state of the location was last certain.
func (l *Location) Age(now time.Time) time.Duration {
	if l.SeenAt.IsZero() {
		return now.Sub(l.AddedAt)
	}
	return now.Sub(l.SeenAt)
}

// Joined is for a session that is there from now on, as it was last seen.
func (l *Location) Joined(e *Row) {
	if l.Online == 0 {
		l.sums = ages{base: e.at} // nothing was left but rounding
	}
	if e.at-l.sums.base > 600 {
		l.sums.rebase(e.at)
	}
	l.Online++
	l.sums.add(e.at, e.rate, 1)
}

// Left is for one that ended, moved away, or is seen anew.
func (l *Location) Left(e *Row) {
	l.Online--
	l.sums.add(e.at, e.rate, -1)
}

// Cost is how many requests a list of the location takes.
func (l *Location) Cost() int {
	size := cmp.Or(l.PerPage, MaxPerPage)
	return max(1, (l.Online+size-1)/size)
}
