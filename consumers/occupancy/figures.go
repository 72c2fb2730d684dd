package occupancy

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Interval is where a count lies by now.
type Interval struct {
	// Low and High bound the sessions online: in 99 of 100 cases the true number lies
	// between them, if people come and go as they did in the last hour.
	Low  int `json:"low"`
	High int `json:"high"`
	// LookedAt is when the platform was last asked about the location, on its clock.
	LookedAt time.Time `json:"looked_at"`
}

// Figure is what is known of one location at a time, and how surely.
type Figure struct {
	Place
	Name                    string
	LookedAt                time.Time
	Online, Devices, Guests int
	// Fewer and More are by how much the figures may be less, and more, since LookedAt.
	Fewer, More int
	// Usual is nil where it is not known.
	Usual *Usual
}

// LookAge tells how long ago the platform was last asked about a place. It reports false
// where that is not known here: then what was heard last of the account counts.
type LookAge func(Place) (time.Duration, bool)

// Watched is a place that is looked at.
type Watched struct {
	Place
	Name string
}

// Figures returns those of every location, and the time on the platform's clock: those that
// are watched and of which no event ever told have nobody. It reports false until the whole
// stream was read.
func (s *Service) Figures() (now time.Time, figures []Figure, ok bool) {
	var watched []Watched
	if s.settings.Watched != nil {
		watched = s.settings.Watched()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.ready || s.status.State != Live {
		return now, nil, false
	}
	now = s.now()
	return now, s.state.figures(now, s.settings.LookAge, s.settings.Days, watched), true
}

// untold are the watched places of an account of which no event ever told, as areas.
func (a *account) untold(watched []Watched, now int64) (areas []*area) {
	for _, w := range watched {
		if w.Account == a.name && a.areas[w.Location] == nil {
			l := newArea(w.Account, w.Location, now-recentWindow.Milliseconds())
			l.name = w.Name
			areas = append(areas, l)
		}
	}
	return areas
}

func (o *Occupancy) figures(now time.Time, ages LookAge, days Days, watched []Watched) (figures []Figure) {
	ms := toMillis(now)
	for _, a := range o.accounts {
		sessions, untold := a.sessionsOf(ms, o.limits.Zone, days), a.untold(watched, ms)
		for _, l := range untold {
			if perDay, ok := daysOf(days, l.place()); ok && sessions > 0 {
				sessions += perDay[hourOf(ms, o.limits.Zone)/24]
			}
		}
		for _, l := range slices.AppendSeq(untold, maps.Values(a.areas)) {
			f := Figure{Place: l.place(), Name: l.name, Online: l.online()}
			f.Devices, f.Guests = l.distinct()
			f.LookedAt, f.Fewer, f.More = o.certainty(a, l, ms, ages)
			if u, ok := a.usual(l, ms, o.limits.Zone, days, sessions); ok {
				f.Usual = &u
			}
			figures = append(figures, f)
		}
	}
	return figures
}

// certainty returns when a location was last looked at, and by how much its count may be
// off by now.
func (o *Occupancy) certainty(a *account, l *area, now int64, ages LookAge) (looked time.Time, fewer, more int) {
	at := a.total.seenAt
	if ages != nil {
		if age, ok := ages(l.place()); ok {
			at = now - age.Milliseconds()
		}
	}
	age := time.Duration(max(0, now-at)) * time.Millisecond
	hour := max(now-recentWindow.Milliseconds(), l.since)
	seen := max(time.Minute, time.Duration(now-hour)*time.Millisecond)
	fewer = min(l.online(), l.uncertain(o.gap)+most(l.departures.within(hour, now), seen, age))
	return fromMillis(at).Truncate(time.Second), fewer, most(l.arrivals.within(hour, now), seen, age)
}

// most is how many of something happen within a time at most, in 99 of 100 cases, where so
// many did in the time seen: a quantile of Poisson's distribution. One more is taken for seen
// than was, since none in an hour does not mean never.
func most(n int, seen, within time.Duration) int {
	mean := float64(n+1) * within.Hours() / seen.Hours()
	if mean > 500 {
		return int(math.Ceil(mean + 2.33*math.Sqrt(mean)))
	}
	p := math.Exp(-mean)
	sum, k := p, 0
	for sum < 0.99 {
		k++
		p *= mean / float64(k)
		sum += p
	}
	return k
}

// interval is that of a location's sessions online.
func (o *Occupancy) interval(p Place, now time.Time, ages LookAge) *Interval {
	a := o.accounts[p.Account]
	if a == nil || a.areas[p.Location] == nil {
		return nil
	}
	l := a.areas[p.Location]
	looked, fewer, more := o.certainty(a, l, toMillis(now), ages)
	return &Interval{Low: max(0, l.online()-fewer), High: l.online() + more, LookedAt: looked}
}
