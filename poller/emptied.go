package poller

import (
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// When the access points of a large venue restart, hundreds end at once. They stand all over
// the list of those online, so that a page of it proves only some of them gone, and the venue's
// own list takes several pages. But of its ended sessions, those that began last are hardly
// any others: a page of these tells of up to a hundred.

// emptied is how far that is read of a location at which many began at once.
type emptied struct {
	from  time.Time // platform's clock: where the oldest come first, who began before is left out
	since time.Time // local clock: when it was noticed
	at    int       // the position at which the next page is to begin
	pages int
	news  int // how many ends a page told of, lately
}

const (
	// leastEmptied is how many sessions are known of a location at least, of those who left
	// and those who came: the list of a smaller one is a page.
	leastEmptied = 150
	// leastNews is how many ends pages have to tell of for the next one to be read.
	leastNews = 10
)

// empty begins to read who has left a location at which many began at once at a time.
func (ps *locations) empty(p *location, start, now time.Time, d order.Direction) {
	if p.Online < leastEmptied || p.emptied != nil {
		return
	}
	e := &emptied{since: now, news: plan.MaxPerPage}
	if d == order.OldestFirst {
		// Where those stand who began last is known only where others began at once before.
		c := p.cohort
		if c == nil || c.readings == 0 || !c.start.Before(start) {
			return
		}
		e.from, e.at = c.start, c.low
	}
	p.emptied = e
	ps.emptying = append(ps.emptying, p)
}

// emptied returns the locations of which that is read; where it could not be for long, the
// sweep has been by.
func (ps *locations) emptied(now time.Time) []*location {
	ps.emptying = slices.DeleteFunc(ps.emptying, func(p *location) bool {
		if p.emptied != nil && now.Sub(p.emptied.since) > followed {
			p.emptied = nil
		}
		return p.emptied == nil
	})
	return ps.emptying
}

// gain is what the next page brings: all that it tells of have waited since.
func (e *emptied) gain(now time.Time) float64 { return float64(e.news) * now.Sub(e.since).Seconds() }

// query is the next page, whose window is w.
func (e *emptied) query(id string, w plan.Window) platform.Query {
	ended := false
	q := platform.Query{LocationID: id, Online: &ended, Page: w.Number, PerPage: w.Size}
	if !e.from.IsZero() {
		q.StartDate = dayBefore(e.from)
	}
	return q
}

// told goes on from a page that told of so many ends, and reports whether it was the last.
func (e *emptied) told(w plan.Window, answer platform.Page, ends int) (done bool) {
	e.pages++
	e.at, e.news = w.Start()+positions(answer, w), (e.news+2*ends)/3
	return !answer.More || e.pages == mostDeparturePages || e.news < leastNews
}

// knownOf counts the sessions that are taken to be online.
func (r *roster) knownOf(sessions []events.Session) (n int) {
	for i := range sessions {
		if r.find(sessions[i].ID) != nil {
			n++
		}
	}
	return n
}
