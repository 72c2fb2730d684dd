package poller

import (
	"math"
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
	// Reading is true while a look is under way, between two of its pages.
	Reading bool

	tracking diff.Tracking // on the platform's clock
	// The sum and the sum of squares of the times at which its sessions were last
	// seen, in seconds since AddedAt: so the sum over all sessions of the squared
	// age costs no walk over them.
	seen, seen2 float64
	learned     learned
	lately      time.Time // scratch of a sweep's end
}

// Age is how long ago the state of the place was last certain.
func (p *Place) Age(now time.Time) time.Duration {
	if p.SeenAt.IsZero() {
		return now.Sub(p.AddedAt)
	}
	return now.Sub(p.SeenAt)
}

func (p *Place) joined(seen time.Time) {
	t := seen.Sub(p.AddedAt).Seconds()
	p.Online++
	p.seen += t
	p.seen2 += t * t
}

func (p *Place) left(seen time.Time) {
	t := seen.Sub(p.AddedAt).Seconds()
	p.Online--
	p.seen -= t
	p.seen2 -= t * t
	if p.Online == 0 {
		// Nothing is left but rounding.
		p.seen, p.seen2 = 0, 0
	}
}

// squares is the sum of the squared ages of its sessions, in s².
func (p *Place) squares(now time.Time) float64 {
	t := now.Sub(p.AddedAt).Seconds()
	return max(0, float64(p.Online)*t*t-2*t*p.seen+p.seen2)
}

// Cost is how many requests a list of the place takes.
func (p *Place) Cost() int { return max(1, (p.Online+MaxPerPage-1)/MaxPerPage) }

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
	sessions     float64 // session-seconds online
	seconds      float64 // seconds watched
	at           time.Time
}

// pass lets time pass with a number of sessions online.
func (l *learned) pass(now time.Time, online int) {
	if !l.at.IsZero() {
		dt := now.Sub(l.at).Seconds()
		keep := math.Exp2(-dt / halfLife.Seconds())
		l.starts *= keep
		l.ends *= keep
		l.sessions = l.sessions*keep + dt*float64(online)
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
