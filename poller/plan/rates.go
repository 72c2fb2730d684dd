package plan

import (
	"maps"
	"math"
	"time"
)

// Learning: rates are counts over exposure, both forgotten with a half-life, so
// that a burst or the night is followed within minutes. Where the last minutes
// tell little, they are drawn towards what is usual for the location at this
// hour, and that towards what is usual for the account: a new location begins
// with the latter. What is usual is remembered in the store.
const (
	halfLife   = 20 * time.Minute
	usualLife  = 7 * 24 * time.Hour
	hourEvents = 30 // that weigh as much as the assumption that all hours are alike
	// typicalStay is the prior of all priors: nothing was seen yet.
	typicalStay = 45 * time.Minute
	// priorEvents is how many events the prior weighs.
	priorEvents = 3
)

// counts are events, and for how long they could have been seen.
type counts struct {
	Starts float64 `json:"starts,omitempty"`
	Ends   float64 `json:"ends,omitempty"`
	// Sessions is the time for which sessions are known to have been online, in
	// seconds. It counts when a session is seen again or found ended, not as it
	// passes: what nobody looked at tells nothing.
	Sessions float64 `json:"sessions,omitempty"`
	Watched  float64 `json:"watched,omitempty"` // seconds
}

// add counts more, and keeps a part of what was counted.
func (c *counts) add(keep float64, more counts) {
	c.Starts = c.Starts*keep + more.Starts
	c.Ends = c.Ends*keep + more.Ends
	c.Sessions = c.Sessions*keep + more.Sessions
	c.Watched = c.Watched*keep + more.Watched
}

// hazard is the rate at which one session ends, per second, given a prior.
func (c *counts) hazard(prior float64) float64 {
	return (c.Ends + priorEvents) / (c.Sessions + priorEvents/prior)
}

// arrivals is the rate at which sessions start, per second, given a prior.
func (c *counts) arrivals(prior float64) float64 {
	return (c.Starts + 1) / (c.Watched + 1/prior)
}

// learned is what was seen at one location, or in all of the account: lately, and
// usually.
type learned struct {
	lately, usually counts
	at              time.Time
}

func (l *learned) count(c counts) {
	l.lately.add(1, c)
	l.usually.add(1, c)
}

// pass lets time pass.
func (l *learned) pass(now time.Time) {
	if !l.at.IsZero() && now.After(l.at) {
		d := now.Sub(l.at)
		l.lately.add(faded(d, halfLife), counts{Watched: d.Seconds()})
		l.usually.add(faded(d, usualLife), counts{Watched: d.Seconds()})
	}
	l.at = now
}

func faded(d, halfLife time.Duration) float64 { return math.Exp2(-d.Seconds() / halfLife.Seconds()) }

// day is what was seen of the account in each hour of the day, UTC.
type day struct {
	Hours [24]counts
	at    time.Time
}

// pass lets time pass; hours fade when they come round.
func (d *day) pass(now time.Time) {
	h := &d.Hours[now.UTC().Hour()]
	if d.at.IsZero() || d.at.UTC().Hour() != now.UTC().Hour() {
		h.add(faded(24*time.Hour, usualLife), counts{})
	} else if now.After(d.at) {
		h.Watched += now.Sub(d.at).Seconds()
	}
	d.at = now
}

// factors are by how much sessions start and end more often in this hour than on
// the average of the day.
func (d *day) factors(now time.Time) (starts, ends float64) {
	var all counts
	for i := range d.Hours {
		all.add(1, d.Hours[i])
	}
	h := &d.Hours[now.UTC().Hour()]
	factor := func(events, time, ofAll, timeOfAll float64) float64 {
		if ofAll == 0 || timeOfAll == 0 {
			return 1
		}
		mean := ofAll / timeOfAll
		return (events + hourEvents) / (time*mean + hourEvents)
	}
	return factor(h.Starts, h.Watched, all.Starts, all.Watched), factor(h.Ends, h.Sessions, all.Ends, all.Sessions)
}

// Rates are those at which an account's sessions come and go, as far as they are
// learned: each per second, and Hazard and HazardAt for each session.
type Rates struct {
	began   time.Time // local clock: what was seen before tells nothing
	learned learned
	day     day
	stays   stays
	// usualHazard is that of the account over a week, startsNow by how much more
	// sessions start at this hour than usual.
	usualHazard, startsNow float64
	hazard, starts         float64
	known                  map[string]counts // what is usual at locations that are not known yet, by id
	news                   bool              // somebody came or went since they were remembered
}

// NewRates are those of an account of which nothing is known yet.
func NewRates(began time.Time) *Rates {
	r := &Rates{began: began, learned: learned{at: began}}
	r.Pass(began, 0)
	return r
}

// Location returns a location that became known at a time, with what a former
// process has learned of it.
func (r *Rates) Location(id string, at time.Time) Location {
	l := Location{ID: id, AddedAt: at, learned: learned{usually: r.known[id], at: at}}
	delete(r.known, id)
	return l
}

// Pass brings the account's rates up to date, with so many sessions online.
func (r *Rates) Pass(now time.Time, online int) {
	r.learned.pass(now)
	r.day.pass(now)
	starts, ends := r.day.factors(now)
	r.startsNow = starts
	r.usualHazard = r.learned.usually.hazard(1 / typicalStay.Seconds())
	r.hazard = r.learned.lately.hazard(r.usualHazard * ends)
	usual := r.learned.usually.arrivals(max(float64(online), 0.2) * r.hazard)
	r.starts = r.learned.lately.arrivals(usual * starts)
}

// PassAt lets time pass at a location.
func (r *Rates) PassAt(l *Location, now time.Time) { l.learned.pass(now) }

// Starts is the rate at which the account's sessions start.
func (r *Rates) Starts() float64 { return r.starts }

// Hazard is the rate at which one of the account's sessions ends.
func (r *Rates) Hazard() float64 { return r.hazard }

// HazardAt is the rate at which one session of a location ends.
func (r *Rates) HazardAt(l *Location) float64 {
	usual := l.learned.usually.hazard(r.usualHazard)
	return l.learned.lately.hazard(usual * r.hazard / r.usualHazard)
}

// StartsAt is the rate at which sessions start at a location; as many start as end
// where nothing else is known.
func (r *Rates) StartsAt(l *Location) float64 {
	usual := l.learned.usually.arrivals(max(float64(l.Online), 0.2) * r.HazardAt(l))
	return l.learned.lately.arrivals(usual * r.startsNow)
}

// of is the rate at which a session ends.
func (r *Rates) of(e *Row) float64 {
	rate := r.HazardAt(e.Location)
	if !e.Start.IsZero() {
		rate *= r.stays.factor(e.lasted())
	}
	return rate
}

// Started learns that a session has started at a location.
func (r *Rates) Started(l *Location, now time.Time) { r.learn(l, counts{Starts: 1}, now) }

func (r *Rates) learn(l *Location, c counts, now time.Time) {
	l.learned.count(c)
	r.learned.count(c)
	r.day.Hours[now.UTC().Hour()].add(1, c)
	r.news = r.news || c.Starts+c.Ends > 0
}

// watched learns that a session was online until a time, and returns how many ends
// were to be expected of it.
func (r *Rates) watched(e *Row, until, now time.Time) (expected float64) {
	d := until.Sub(e.Seen).Seconds()
	if d <= 0 || e.Seen.Before(r.began) {
		return 0
	}
	r.learn(e.Location, counts{Sessions: d}, now)
	if !e.Start.IsZero() {
		r.stays.learn(e.lasted(), 0, d*r.HazardAt(e.Location))
	}
	return d * e.rate
}

// ended learns that a session has ended before a time, half of it online, and
// returns what was expected of it; false where it ended while nobody looked.
func (r *Rates) ended(e *Row, before, now time.Time) (expected float64, looked bool) {
	if e.Seen.Before(r.began) {
		return 0, false
	}
	expected = r.watched(e, e.Seen.Add(before.Sub(e.Seen)/2), now)
	r.learn(e.Location, counts{Ends: 1}, now)
	if !e.Start.IsZero() {
		r.stays.learn(e.lasted(), 1, 0)
	}
	return expected, true
}

// stays is how the rate at which sessions end depends on how long they have
// lasted, compared with all of their location: most visits have a typical
// length. Stretch k holds sessions that have lasted for 2^k minutes.
type stays struct {
	Stretches [12]struct{ Ends, Expected float64 }
}

const (
	// staysPrior is how many ends weigh as much as the assumption that the rate
	// does not depend on it, staysMemory how many are remembered.
	staysPrior  = 30
	staysMemory = 2000
)

func (s *stays) stretch(lasted time.Duration) int {
	k := math.Log2(1 + max(0, lasted.Minutes()))
	return min(len(s.Stretches)-1, int(k))
}

func (s *stays) learn(lasted time.Duration, ends, expected float64) {
	k := &s.Stretches[s.stretch(lasted)]
	k.Ends += ends
	k.Expected += expected
	if k.Expected > staysMemory {
		k.Ends /= 2
		k.Expected /= 2
	}
}

func (s *stays) factor(lasted time.Duration) float64 {
	k := &s.Stretches[s.stretch(lasted)]
	return (k.Ends + staysPrior) / (k.Expected + staysPrior)
}

// Memory is what of the rates outlives the process, as JSON.
type Memory struct {
	Account   counts
	Day       day
	Stays     stays             `json:"Tenure"`
	Locations map[string]counts `json:"Places"`
}

// News reports whether anybody came or went since Remember.
func (r *Rates) News() bool { return r.news }

// Remember returns what is to be kept.
func (r *Rates) Remember(locations []*Location) Memory {
	r.news = false
	m := Memory{Account: r.learned.usually.rounded(), Day: r.day, Stays: r.stays, Locations: make(map[string]counts, len(locations))}
	for i := range m.Day.Hours {
		m.Day.Hours[i] = m.Day.Hours[i].rounded()
	}
	for _, l := range locations {
		if c := l.learned.usually; c.Starts+c.Ends > 0 {
			m.Locations[l.ID] = c.rounded()
		}
	}
	maps.Copy(m.Locations, r.known)
	return m
}

// Recall goes on from what a former process kept. It is called before there are
// locations.
func (r *Rates) Recall(m Memory) {
	r.learned.usually, r.day.Hours, r.stays = m.Account, m.Day.Hours, m.Stays
	r.known = m.Locations
	r.Pass(r.began, 0)
}

// rounded drops the digits that say nothing, so that many locations take little
// room.
func (c counts) rounded() counts {
	return counts{math.Round(10*c.Starts) / 10, math.Round(10*c.Ends) / 10, math.Round(c.Sessions), math.Round(c.Watched)}
}
