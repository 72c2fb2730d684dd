package poller

import (
	"context"
	"time"

	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Where more sessions began in one second than a page holds, as when the access points of
// a large venue restart, no page of the sessions online proves that one of them is gone:
// each shows some of them. The location's ended sessions show it. They stand side by side
// there, sorted by start, so one page tells of up to a hundred ends, by the platform's own
// record of each.

// cohort are those who began at once at a location. Its cursor is a position among the
// location's ended sessions, which only moves away from the list's beginning.
type cohort struct {
	start time.Time // platform's clock
	n     int       // how many of them the lists alone can tell of
	read  time.Time // local clock: what became of them is known up to then, as far as pages show it

	began     time.Time // local clock: when the reading under way began
	at        int       // the position at which the next page is to begin
	low, high int       // those who began at once stand between; zero is not known
	jump      int       // how far ahead they were sought last
	pages     int       // of the reading under way
	inside    bool      // it has come to them
	readings  int       // complete
}

// departures has them read.
type departures struct {
	*account
	cohorts  []*location // that have one
	surveyed time.Time   // local clock
	faulty   time.Time   // local clock: the list of the ended is of no use before
}

const (
	// crowded is how many who began at once a page may have no room for, with what has to
	// stand before and behind them.
	crowded = 90
	// surveying is the time between two counts of them, and surveyingEach what is added for
	// each session online.
	surveying, surveyingEach = 10 * time.Second, time.Millisecond
	// mostDeparturePages bounds a reading.
	mostDeparturePages = 20
	// inherited is what it is worth more where a former process read them last: for how
	// long nobody did is not known.
	inherited = 1e6
	// followed is how long ago they were read at most for pages to wait.
	followed = 2 * time.Minute
)

// survey finds the cohorts now and then. ByAddress says of whom addresses tell sooner.
func (d *departures) survey(now time.Time, byAddress func(*entry) bool) {
	if now.Sub(d.surveyed) < surveying+time.Duration(d.roster.len())*surveyingEach {
		return
	}
	d.surveyed, d.cohorts = now, d.cohorts[:0]
	for _, l := range d.watched.all {
		if l.Online < crowded {
			l.cohort = nil
			continue
		}
		if l.cohort = d.cohortOf(l, byAddress); l.cohort != nil {
			d.cohorts = append(d.cohorts, l)
		}
	}
}

// cohortOf returns the largest cohort at a location, as it was known where it is the same;
// nil where there is none.
func (d *departures) cohortOf(l *location, byAddress func(*entry) bool) *cohort {
	together := make(map[time.Time]int)
	var start time.Time
	for e := range d.roster.at(l) {
		together[e.Start]++
	}
	for s, n := range together {
		if most := together[start]; !s.IsZero() && (start.IsZero() || n > most || n == most && s.Before(start)) {
			start = s
		}
	}
	if start.IsZero() || together[start] < crowded {
		return nil
	}
	c := l.cohort
	if c == nil || !c.start.Equal(start) {
		c = &cohort{start: start, read: d.Clock.Now()}
		for e := range d.roster.at(l) {
			if e.Start.Equal(start) && e.Seen.Before(c.read) {
				c.read = e.Seen
			}
		}
	}
	c.n = 0
	for e := range d.roster.at(l) {
		if e.Start.Equal(start) && !byAddress(e) {
			c.n++
		}
	}
	return c
}

// next returns the location whose ended sessions are most worth a page, and what that
// brings, as a gain.
func (d *departures) next(now time.Time) (of *plan.Location, gain float64) {
	if now.Before(d.faulty) {
		return nil, 0
	}
	for _, l := range d.cohorts {
		age := now.Sub(l.cohort.read).Seconds()
		g := float64(l.cohort.n) * d.rates().HazardAt(&l.Location) * age * age / 2
		if l.cohort.read.Before(d.begun) && now.Sub(d.begun) < followed {
			g += inherited
		}
		if g > gain && !d.requests.asking(plan.Departures, l.ID) {
			of, gain = &l.Location, g
		}
	}
	return of, gain
}

// follows reports whether what becomes of a session is read so: pages may wait.
func (d *departures) follows(row *plan.Row) bool {
	e := d.roster.entry(row)
	if e == nil || e.at.cohort == nil || !e.at.cohort.start.Equal(e.Start) {
		return false
	}
	now := d.Clock.Now()
	return !now.Before(d.faulty) && now.Sub(e.at.cohort.read) < followed
}

// ask asks for the next page of the ended sessions of a cohort's location.
func (d *departures) ask(ctx context.Context, p *Poller, id string) error {
	c := d.watched.byID[id].cohort
	if c == nil {
		return nil
	}
	direction := d.accountList.Direction
	w := windowFrom(c.at, overlap+2*(c.readings%5)) // Other pages hide others.
	ended := false
	query := platform.Query{LocationID: id, Online: &ended, Page: w.Number, PerPage: w.Size}
	if direction == order.OldestFirst {
		query.StartDate = dayBefore(c.start)
	}
	return p.askSessions(ctx, query, func(answer platform.Page, m timing, err error) error {
		if err != nil {
			return nil
		}
		ev := evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: ofHistory}
		if err := p.take(ctx, ev); err != nil {
			return err
		}
		if reason := unusable(answer, direction); reason != "" {
			d.faulty = m.came.Add(recheck)
			d.Logger.Warn("the list of ended sessions cannot be used: who began at once is asked about one by one", "reason", reason, "again_in", recheck)
			return nil
		}
		c.found(w, answer, direction, m)
		return nil
	})
}

// unusable says why a page of ended sessions tells nothing; empty where it does.
func unusable(answer platform.Page, d order.Direction) string {
	for i := range answer.Sessions {
		if answer.Sessions[i].Online {
			return "it shows sessions that are online"
		}
	}
	if o := Order(answer.Sessions); o != "" && o != string(d) {
		return "it is not sorted as the list of online sessions"
	}
	return ""
}

// found goes on from a page.
func (c *cohort) found(w plan.Window, answer platform.Page, d order.Direction, m timing) {
	if c.pages++; c.pages == 1 {
		c.began = m.sent
	}
	covered := w.Start() + positions(answer, w)
	first, last := startsOf(answer.Sessions)
	if d == order.NewestFirst {
		first, last = last, first
	}
	done := false
	switch {
	case first.IsZero() && w.Number == 1:
		done = true // Nobody has ended.
	case first.IsZero():
		c.high = w.Start()
		c.seek()
	case !c.inside && d.Before(last, c.start):
		c.low, done = covered, !answer.More
		c.seek()
	case !c.inside && !d.Before(first, c.start) && w.Number > 1:
		c.high = w.Start()
		c.seek()
	default:
		if !c.inside {
			c.inside, c.low = true, w.Start()
			for i := range answer.Sessions {
				if d.Before(answer.Sessions[i].StartedAt, c.start) {
					c.low = w.Start() + i + 1
				}
			}
		}
		c.at, done = covered, !answer.More || d.Before(c.start, last)
	}
	if done || c.pages == mostDeparturePages {
		c.read = c.began
		c.at, c.high, c.jump, c.pages, c.inside = c.low, 0, 0, 0, false
		c.readings++
	}
}

// seek has the next page begin where those who began at once may stand.
func (c *cohort) seek() {
	switch {
	case c.high == 0:
		c.at = c.low + c.jump
		c.jump = 2*c.jump + plan.MaxPerPage
	case c.high <= c.low:
		// Some records have gone since, and the others have moved up.
		c.low = max(0, c.high-2*plan.MaxPerPage)
		c.at = c.low
	case c.high-c.low <= plan.MaxPerPage:
		c.at = c.low
	default:
		c.at = (c.low + c.high) / 2
	}
}
