package poller

import (
	"context"
	"math"
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

	// unseen is how many of them have probably ended unseen, waits for how long these have
	// waited together, in seconds, at a time.
	unseen, waits float64
	reckoned      time.Time // local clock
	// ended is how many of them the last complete reading showed, tied that under way.
	ended, tied int

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
	// hiddenWeight has pages read twice as often as what they show is worth. Weights from 1
	// to 8 make no difference to the mean delay in the benchmark's E9; 99 % of the ends after
	// a restart are seen soonest with 4.
	hiddenWeight = 4
	// variants is how many readings there are whose pages have another size: equal pages hide
	// the same sessions.
	variants = 6
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
		c.reckoned = c.read
	}
	c.n = 0
	for e := range d.roster.at(l) {
		if e.Start.Equal(start) && !byAddress(e) {
			c.n++
		}
	}
	if c.n == 0 {
		c.unseen, c.waits = 0, 0
	}
	return c
}

// next returns the location whose ended sessions are most worth a page, and what that
// brings, as a gain.
func (d *departures) next(now time.Time) (of *plan.Location, gain float64) {
	if now.Before(d.faulty) {
		return nil, 0
	}
	for _, l := range d.watched.emptied(now) {
		if g := l.emptied.gain(now); g > gain && !d.requests.asking(plan.Departures, l.ID) {
			of, gain = &l.Location, g
		}
	}
	for _, l := range d.cohorts {
		l.cohort.pass(now, d.rates().HazardAt(&l.Location))
		g := l.cohort.gain()
		if l.cohort.read.Before(d.begun) && now.Sub(d.begun) < followed {
			g += inherited
		}
		if g > gain && !d.requests.asking(plan.Departures, l.ID) {
			of, gain = &l.Location, g
		}
	}
	return of, gain
}

// pass lets time pass, in which so many of them end a second.
func (c *cohort) pass(now time.Time, hazard float64) {
	t, ends := max(0, now.Sub(c.reckoned).Seconds()), float64(c.n)*hazard
	c.waits += c.unseen*t + ends*t*t/2
	c.unseen += ends * t
	c.reckoned = now
}

// gain is what the next page brings: each shows other ones of those who have ended, as
// many as it has room for. Whom it hides waits for one after it, and that may be hidden
// again, so each is worth more than what it shows.
func (c *cohort) gain() float64 {
	return hiddenWeight * c.waits * min(1, plan.MaxPerPage/float64(max(1, c.ended)))
}

// showed takes a page into account that shows so many of them.
func (c *cohort) showed(n int) {
	c.tied += n
	if c.readings > 0 && n > 0 {
		c.hides(1 - float64(n)/float64(max(c.ended, n)))
	}
}

// hides leaves of those who have ended unseen the part that was not shown.
func (c *cohort) hides(part float64) { c.unseen, c.waits = c.unseen*part, c.waits*part }

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
	l, direction := d.watched.byID[id], d.accountList.Direction
	if e := l.emptied; e != nil {
		w := p.windowFrom(e.at, overlap)
		return d.read(ctx, p, e.query(id, w), func(answer platform.Page, _ timing, ends int) {
			if e.told(w, answer, ends) && l.emptied == e {
				l.emptied = nil
			}
		})
	}
	c := l.cohort
	if c == nil {
		return nil
	}
	w, fixed := p.fixedFrom(c.at)
	if !fixed {
		w = c.window()
	}
	ended := false
	query := platform.Query{LocationID: id, Online: &ended, Page: w.Number, PerPage: w.Size}
	if direction == order.OldestFirst {
		query.StartDate = dayBefore(c.start)
	}
	return d.read(ctx, p, query, func(answer platform.Page, m timing, _ int) { c.found(w, answer, direction, m) })
}

// read asks for a page of ended sessions, takes it, and goes on from it, with how many of
// those on it were known to be online.
func (d *departures) read(ctx context.Context, p *Poller, query platform.Query, then func(platform.Page, timing, int)) error {
	direction := d.accountList.Direction
	return p.askSessions(ctx, query, func(answer platform.Page, m timing, err error) error {
		if err != nil {
			return nil
		}
		ends := d.roster.knownOf(answer.Sessions)
		ev := evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: ofHistory}
		if err := p.take(ctx, ev); err != nil {
			return err
		}
		if reason := unusable(answer, direction); reason != "" {
			d.faulty = m.came.Add(recheck)
			d.Logger.Warn("the list of ended sessions cannot be used: who began at once is asked about one by one", "reason", reason, "again_in", recheck)
			return nil
		}
		then(answer, m, ends)
		return nil
	})
}

// window is the next page. Other pages hide others, so that those of each reading differ.
func (c *cohort) window() plan.Window {
	return windowAmong(c.at, overlap, plan.MaxPerPage-c.readings%variants, variants)
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
	n := 0
	for i := range answer.Sessions {
		if answer.Sessions[i].StartedAt.Equal(c.start) {
			n++
		}
	}
	c.showed(n)
	done := false
	switch {
	case first.IsZero() && w.Number == 1:
		done = true // Nobody has ended.
	case first.IsZero():
		c.high = w.Start()
		c.seek()
	case !c.inside && d.Before(last, c.start):
		c.low, c.tied, done = covered, 0, !answer.More
		c.seek()
	case !c.inside && !d.Before(first, c.start) && w.Number > 1:
		c.high, c.tied = w.Start(), 0
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
		c.read, c.ended, c.tied = c.began, c.tied, 0
		if full := math.Ceil(float64(c.ended) / plan.MaxPerPage); c.readings == 0 || c.ended == 0 {
			c.hides(math.Pow(1-1/max(1, full), full))
		}
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
