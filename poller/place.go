package poller

import (
	"time"

	"github.com/guestflow/guestflow/diff"
)

// Place is a location as far as looking at it is concerned. Times are on the
// local clock.
type Place struct {
	ID, Name string
	// Online is how many sessions are known to be online there.
	Online int
	// SeenAt is when the last complete look began; zero when there was none.
	SeenAt time.Time
	// AskedAt is when the last look at it alone ended, complete or not.
	AskedAt time.Time
	// AddedAt is when the place became known to this process.
	AddedAt time.Time

	sessions map[*entry]bool
	readings int  // of its list so far
	asking   bool // a page of its list is under way
	// unsettled is how many readings of its list may be made to find all who began at
	// once.
	unsettled int
	tracking  diff.Tracking // on the platform's clock
	sums      ages
	learned   learned
	lately    time.Time // scratch of tend
	missing   int       // sessions that are missing there, where one page of its list answers for all
}

// Age is how long ago the state of the place was last certain.
func (p *Place) Age(now time.Time) time.Duration {
	if p.SeenAt.IsZero() {
		return now.Sub(p.AddedAt)
	}
	return now.Sub(p.SeenAt)
}

// enter and leave are for sessions that come and go, joined and left for what they
// add to the sums.
func (p *Place) enter(e *entry) {
	if p.sessions == nil {
		p.sessions = make(map[*entry]bool)
	}
	p.sessions[e] = true
	p.joined(e)
}

func (p *Place) leave(e *entry) {
	delete(p.sessions, e)
	p.left(e)
}

func (p *Place) joined(e *entry) {
	if p.Online == 0 {
		p.sums = ages{base: e.at} // nothing was left but rounding
	}
	if e.at-p.sums.base > 600 {
		p.sums.rebase(e.at)
	}
	p.Online++
	p.sums.add(e.at, e.rate, 1)
}

func (p *Place) left(e *entry) {
	p.Online--
	p.sums.add(e.at, e.rate, -1)
}

// Cost is how many requests a list of the place takes.
func (p *Place) Cost() int { return max(1, (p.Online+MaxPerPage-1)/MaxPerPage) }
