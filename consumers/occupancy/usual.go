package occupancy

import (
	"math"
	"time"
)

// Days tells how many sessions began at a place on each weekday, Monday first, as the
// platform's own history has it: on average. It reports false where that is not known.
type Days func(Place) (perDay [7]float64, ok bool)

// Usual is how many sessions are online at a weekday and hour usually.
type Usual struct {
	Online float64 `json:"online"`
	// Basis says how that is known: "observed" of this hour of this weekday, over two weeks
	// or more; "hour" of this hour on other days, weighted by how many sessions begin on
	// each weekday; "share" of all that are online in the account now, by the share that
	// the place has of the sessions of such a day.
	Basis string `json:"basis"`
}

// Week is what is usual at a location.
type Week struct {
	Account string `json:"account"`
	ID      string `json:"id"`
	// Zone is that of the hours.
	Zone string `json:"zone"`
	// Since is from when on its hours were seen.
	Since time.Time `json:"since,omitzero"`
	// Hours are the 168 hours from Monday 00:00 on: how many are online on average; null
	// where that is not known yet.
	Hours []*float64 `json:"hours"`
	// Days are the sessions that begin on each weekday, Monday first; absent where the
	// platform's history is not known.
	Days []float64 `json:"days,omitempty"`
	Now  *Usual    `json:"now,omitempty"`
}

const (
	weekHours = 7 * 24
	// keepWeeks is how far back the hours go at most: then all that was seen counts half.
	keepWeeks = 16
	// longestStay bounds what one session adds.
	longestStay = 14 * 24 * time.Hour
	hourMillis  = int64(time.Hour / time.Millisecond)
)

// week holds how many session hours were seen in each hour of the week.
type week struct {
	from  int64     // earlier than the area's since where the history was published, later after a halving
	cells []float32 // none until a session ended
}

// hourOf is the hour of the week, from Monday 00:00 on.
func hourOf(ms int64, zone *time.Location) int {
	at := time.UnixMilli(ms).In(zone)
	return (int(at.Weekday())+6)%7*24 + at.Hour()
}

// stayed adds a session that was here from since to at. Half hours are taken whole: zones
// begin at those.
func (l *area) stayed(since, at int64, zone *time.Location) {
	from := nonzero(l.week.from, l.since)
	since = max(since, from, at-longestStay.Milliseconds())
	if since >= at {
		return
	}
	if l.week.cells == nil {
		l.week.cells = make([]float32, weekHours)
	}
	for since < at {
		next := min(at, (since/(hourMillis/2)+1)*(hourMillis/2))
		l.week.cells[hourOf(since, zone)] += float32(next-since) / float32(hourMillis)
		since = next
	}
	if seen := at - from; seen > keepWeeks*weekHours*hourMillis {
		l.week.from = at - seen/2
		for i := range l.week.cells {
			l.week.cells[i] /= 2
		}
	}
}

// past notes that sessions of the platform's history, from this time on, are in the stream.
func (l *area) past(from int64) {
	if from > 0 && from < nonzero(l.week.from, l.since) {
		l.week.from = from
	}
}

// at returns what is usual in an hour of the week, of what was seen until now.
func (l *area) at(hour int, now int64, zone *time.Location, perDay [7]float64, counted bool) (u Usual, ok bool) {
	from := nonzero(l.week.from, l.since)
	cell := func(h int) float64 {
		if l.week.cells == nil {
			return 0
		}
		return float64(l.week.cells[h])
	}
	switch hours := (now - from) / hourMillis; {
	case hours >= 2*weekHours:
		return usualOf(cell(hour)/timesSeen(hour, weekHours, from, now, zone), "observed"), true
	case hours >= 24:
		all, weight := 0.0, 1.0
		for h := hour % 24; h < weekHours; h += 24 {
			all += cell(h)
		}
		if mean := meanOf(perDay); counted && mean > 0 {
			weight = perDay[hour/24] / mean
		}
		return usualOf(weight*all/timesSeen(hour%24, 24, from, now, zone), "hour"), true
	}
	return Usual{}, false
}

// timesSeen is how often an hour was, of a period of so many hours, that of the week
// beginning on Monday; what began or ended within one counts in part.
func timesSeen(hour, period int, from, now int64, zone *time.Location) float64 {
	_, offset := time.UnixMilli(now).In(zone).Zone()
	until := func(ms int64) float64 {
		const thursday = 3 * 24 // the clock's first day
		hours := float64(ms)/float64(hourMillis) + float64(offset)/3600 + thursday
		whole := math.Floor(hours / float64(period))
		return whole + min(1, max(0, hours-whole*float64(period)-float64(hour)))
	}
	return until(now) - until(from)
}

// usualOf is no finer than anybody needs.
func usualOf(online float64, basis string) Usual {
	return Usual{math.Round(10*online) / 10, basis}
}

func meanOf(perDay [7]float64) (mean float64) {
	for _, n := range perDay {
		mean += n / 7
	}
	return mean
}

// usual returns what is usual at a location now. sessions is how many begin in the whole
// account on such a day.
func (a *account) usual(l *area, now int64, zone *time.Location, days Days, sessions float64) (Usual, bool) {
	hour := hourOf(now, zone)
	perDay, counted := daysOf(days, l.place())
	if u, ok := l.at(hour, now, zone, perDay, counted); ok {
		return u, true
	}
	if counted && sessions > 0 {
		return usualOf(float64(a.total.online())*perDay[hour/24]/sessions, "share"), true
	}
	return Usual{}, false
}

func daysOf(days Days, p Place) (perDay [7]float64, ok bool) {
	if days == nil {
		return perDay, false
	}
	return days(p)
}

// sessionsOf sums what begins in the account on the weekday of now; 0 where that is not
// known of every location.
func (a *account) sessionsOf(now int64, zone *time.Location, days Days) (sum float64) {
	for _, l := range a.areas {
		perDay, ok := daysOf(days, l.place())
		if !ok {
			return 0
		}
		sum += perDay[hourOf(now, zone)/24]
	}
	return sum
}

// Week returns what is usual at a location.
func (o *Occupancy) Week(p Place, now time.Time, days Days) (Week, bool) {
	l := o.find(p)
	if l == nil {
		return Week{}, false
	}
	a, ms, zone := o.accounts[p.Account], toMillis(now), o.limits.Zone
	w := Week{Account: p.Account, ID: p.Location, Zone: zone.String(), Since: fromMillis(nonzero(l.week.from, l.since)), Hours: make([]*float64, weekHours)}
	perDay, counted := daysOf(days, p)
	if counted {
		w.Days = perDay[:]
	}
	for h := range w.Hours {
		if u, ok := l.at(h, ms, zone, perDay, counted); ok {
			w.Hours[h] = &u.Online
		}
	}
	if u, ok := a.usual(l, ms, zone, days, a.sessionsOf(ms, zone, days)); ok {
		w.Now = &u
	}
	return w, true
}
