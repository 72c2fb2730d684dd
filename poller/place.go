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

	ranks    map[string]int // by session id: where the last list of several pages had it
	asking   bool           // a page of its list is under way
	tracking diff.Tracking  // on the platform's clock
	sums     ages
	learned  learned
	lately   time.Time // scratch of tend
	missing  int       // sessions that are missing there, where one page of its list answers for all
}

// Age is how long ago the state of the place was last certain.
func (p *Place) Age(now time.Time) time.Duration {
	if p.SeenAt.IsZero() {
		return now.Sub(p.AddedAt)
	}
	return now.Sub(p.SeenAt)
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

// keepsOrder reports whether those of a list's sessions that the last one showed,
// too, stand in the same order.
func (p *Place) keepsOrder(ids []string) bool {
	ranks := make(map[string]int, len(ids))
	kept, last := true, -1
	for i, id := range ids {
		if rank, ok := p.ranks[id]; ok {
			kept, last = kept && rank > last, rank
		}
		ranks[id] = i
	}
	p.ranks = ranks
	return kept
}
