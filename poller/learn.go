package poller

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

// learned is what was seen at one place, or in all of the account: lately, and
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

// hazard is the rate at which one session of a place ends, per second.
func (e *Estate) hazard(p *Place) float64 {
	usual := p.learned.usually.hazard(e.usualHazard)
	return p.learned.lately.hazard(usual * e.Hazard / e.usualHazard)
}

// arrivalsAt is the rate at which sessions start at a place, per second; as many
// start as end where nothing else is known.
func (e *Estate) arrivalsAt(p *Place) float64 {
	usual := p.learned.usually.arrivals(max(float64(p.Online), 0.2) * e.hazard(p))
	return p.learned.lately.arrivals(usual * e.startsNow)
}

// rates brings those of the account up to date.
func (e *Estate) rates(now time.Time) {
	e.learned.pass(now)
	e.day.pass(now)
	starts, ends := e.day.factors(now)
	e.startsNow = starts
	e.usualHazard = e.learned.usually.hazard(1 / typicalStay.Seconds())
	e.Hazard = e.learned.lately.hazard(e.usualHazard * ends)
	usual := e.learned.usually.arrivals(max(float64(e.Online), 0.2) * e.Hazard)
	e.arrivals = e.learned.lately.arrivals(usual * starts)
}

// tenure is how the rate at which sessions end depends on how long they have
// lasted, compared with all of their location: most visits have a typical
// length. Stretch k holds sessions that have lasted for 2^k minutes.
type tenure struct {
	Stretches [12]struct{ Ends, Expected float64 }
}

const (
	// tenurePrior is how many ends weigh as much as the assumption that the rate
	// does not depend on it, tenureMemory how many are remembered.
	tenurePrior  = 30
	tenureMemory = 2000
)

func (t *tenure) stretch(lasted time.Duration) int {
	k := math.Log2(1 + max(0, lasted.Minutes()))
	return min(len(t.Stretches)-1, int(k))
}

func (t *tenure) learn(lasted time.Duration, ends, expected float64) {
	s := &t.Stretches[t.stretch(lasted)]
	s.Ends += ends
	s.Expected += expected
	if s.Expected > tenureMemory {
		s.Ends /= 2
		s.Expected /= 2
	}
}

func (t *tenure) factor(lasted time.Duration) float64 {
	s := &t.Stretches[t.stretch(lasted)]
	return (s.Ends + tenurePrior) / (s.Expected + tenurePrior)
}

// lasted is for how long a session had lasted when it was last seen; zero where
// its start is not known.
func (p *Poller) lasted(e *entry) time.Duration {
	if e.since.IsZero() {
		return 0
	}
	return e.seen.Sub(e.since)
}

// learn counts what was seen of a place.
func (p *Poller) learn(place *Place, c counts) {
	place.learned.count(c)
	p.estate.learned.count(c)
	p.estate.day.Hours[p.Clock.Now().UTC().Hour()].add(1, c)
	if c.Starts+c.Ends > 0 {
		p.memorable = true
	}
}

// watched learns that a session was online until a time.
func (p *Poller) watched(e *entry, until time.Time) {
	d := until.Sub(e.seen).Seconds()
	if d <= 0 || e.seen.Before(p.begun) {
		return
	}
	p.learn(e.place, counts{Sessions: d})
	p.aim.surge.expected += d * e.rate
	if !e.since.IsZero() {
		p.tenure.learn(p.lasted(e), 0, d*p.estate.hazard(e.place))
	}
}

// ended learns that a session has ended before a time, half of it online.
func (p *Poller) ended(e *entry, before time.Time) {
	if e.seen.Before(p.begun) {
		return // while nobody looked
	}
	p.watched(e, e.seen.Add(before.Sub(e.seen)/2))
	p.learn(e.place, counts{Ends: 1})
	p.aim.surge.ends++
	if !e.since.IsZero() {
		p.tenure.learn(p.lasted(e), 1, 0)
	}
}

// rate is that at which a session ends, per second, as far as is learned.
func (p *Poller) rate(e *entry) float64 {
	rate := p.estate.hazard(e.place)
	if !e.since.IsZero() {
		rate *= p.tenure.factor(p.lasted(e))
	}
	return rate
}

// memory is what of the rates outlives the process.
type memory struct {
	Account counts
	Day     day
	Tenure  tenure
	Places  map[string]counts // by location
}

const (
	ratesKey    = "account.rates"
	ratesSaving = 30 * time.Minute
)

// saveRates remembers what is usual, now and then and at the end, where anybody
// came or went since.
func (p *Poller) saveRates(now time.Time, atEnd bool) error {
	if !p.memorable || !atEnd && now.Sub(p.memorised) < ratesSaving {
		return nil
	}
	p.memorable, p.memorised = false, now
	m := memory{Account: p.estate.learned.usually.rounded(), Day: p.estate.day, Tenure: p.tenure, Places: make(map[string]counts, len(p.estate.Places))}
	for i := range m.Day.Hours {
		m.Day.Hours[i] = m.Day.Hours[i].rounded()
	}
	for _, place := range p.estate.Places {
		if c := place.learned.usually; c.Starts+c.Ends > 0 {
			m.Places[place.ID] = c.rounded()
		}
	}
	maps.Copy(m.Places, p.known)
	return p.remember(ratesKey, m)
}

// rounded drops the digits that say nothing, so that many places take little
// room.
func (c counts) rounded() counts {
	return counts{math.Round(10*c.Starts) / 10, math.Round(10*c.Ends) / 10, math.Round(c.Sessions), math.Round(c.Watched)}
}

// recallRates takes what a former process has learned.
func (p *Poller) recallRates() error {
	var m memory
	if err := p.recall(ratesKey, &m); err != nil {
		return err
	}
	p.estate.learned.usually, p.estate.day.Hours, p.tenure = m.Account, m.Day.Hours, m.Tenure
	p.known = m.Places
	p.estate.rates(p.begun)
	return nil
}
