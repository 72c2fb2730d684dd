package poller

import (
	"math"
	"time"
)

// Learning: rates are counts over exposure, both forgotten with a half-life, so
// that a burst or the night is followed within minutes, and drawn towards a
// prior by as much as the little evidence of a small or new location leaves
// open.
const (
	halfLife = 20 * time.Minute
	// typicalStay is the prior of all priors: nothing was seen yet.
	typicalStay = 45 * time.Minute
	// priorEvents is how many events the prior weighs.
	priorEvents = 3
)

// learned is what was seen of arrivals and ends: of one place, or of all.
type learned struct {
	starts, ends float64 // events
	// sessions is the time for which sessions are known to have been online, in
	// seconds. It counts when a session is seen again or found ended, not as it
	// passes: what nobody looked at tells nothing.
	sessions float64
	seconds  float64 // seconds watched
	at       time.Time
}

// pass lets time pass.
func (l *learned) pass(now time.Time) {
	if !l.at.IsZero() {
		dt := now.Sub(l.at).Seconds()
		keep := math.Exp2(-dt / halfLife.Seconds())
		l.starts *= keep
		l.ends *= keep
		l.sessions *= keep
		l.seconds = l.seconds*keep + dt
	}
	l.at = now
}

// hazard is the rate at which one session ends, per second, given that of the
// account.
func (l *learned) hazard(prior float64) float64 {
	return (l.ends + priorEvents) / (l.sessions + priorEvents/prior)
}

// arrivals is the rate at which sessions start, per second; as many start as end
// where nothing else is known.
func (l *learned) arrivals(online int, hazard float64) float64 {
	prior := max(float64(online), 0.2) * hazard
	return (l.starts + 1) / (l.seconds + 1/prior)
}

// tenure is how the rate at which sessions end depends on how long they have
// lasted, compared with all of their location: most visits have a typical
// length. Stretch k holds sessions that have lasted for 2^k minutes.
type tenure struct {
	stretches [12]struct{ ends, expected float64 }
}

const (
	// tenurePrior is how many ends weigh as much as the assumption that the rate
	// does not depend on it, tenureMemory how many are remembered.
	tenurePrior  = 30
	tenureMemory = 2000
)

func (t *tenure) stretch(lasted time.Duration) int {
	k := math.Log2(1 + max(0, lasted.Minutes()))
	return min(len(t.stretches)-1, int(k))
}

func (t *tenure) learn(lasted time.Duration, ends, expected float64) {
	s := &t.stretches[t.stretch(lasted)]
	s.ends += ends
	s.expected += expected
	if s.expected > tenureMemory {
		s.ends /= 2
		s.expected /= 2
	}
}

func (t *tenure) factor(lasted time.Duration) float64 {
	s := &t.stretches[t.stretch(lasted)]
	return (s.ends + tenurePrior) / (s.expected + tenurePrior)
}

// lasted is for how long a session had lasted when it was last seen; zero where
// its start is not known.
func (p *Poller) lasted(e *entry) time.Duration {
	if e.since.IsZero() {
		return 0
	}
	return e.seen.Sub(e.since)
}

// watched learns that a session was online until a time.
func (p *Poller) watched(e *entry, until time.Time) {
	d := until.Sub(e.seen).Seconds()
	if d <= 0 || e.seen.Before(p.begun) {
		return
	}
	e.place.learned.sessions += d
	p.estate.learned.sessions += d
	if !e.since.IsZero() {
		p.tenure.learn(p.lasted(e), 0, d*e.place.learned.hazard(p.estate.Hazard))
	}
}

// ended learns that a session has ended before a time, half of it online.
func (p *Poller) ended(e *entry, before time.Time) {
	if e.seen.Before(p.begun) {
		return // while nobody looked
	}
	p.watched(e, e.seen.Add(before.Sub(e.seen)/2))
	e.place.learned.ends++
	p.estate.learned.ends++
	if !e.since.IsZero() {
		p.tenure.learn(p.lasted(e), 1, 0)
	}
}

// rate is that at which a session ends, per second, as far as is learned.
func (p *Poller) rate(e *entry) float64 {
	rate := e.place.learned.hazard(p.estate.Hazard)
	if !e.since.IsZero() {
		rate *= p.tenure.factor(p.lasted(e))
	}
	return rate
}
