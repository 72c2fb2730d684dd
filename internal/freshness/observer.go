package freshness

import (
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/internal/virtual"
)

// life is one session's ground truth and what was seen of it.
type life struct {
	start, end time.Time // zero end: online
	started    bool
	ended      bool
}

// observer compares committed events with the ground truth.
type observer struct {
	run       *Run
	clock     *virtual.Clock
	trace     *trace
	lives     map[string]*life
	starts    []float64
	ends      []float64
	falseEnds int
	online    int // sessions, in truth
	// died is when the process was killed, born when the next one began; zero is never.
	died, born time.Time
	// settled is two rounds of the list later. What changed from the one to the other counts
	// apart: these are the delays of it.
	settled                  time.Time
	startsAround, endsAround []float64
	// crowd is how many were online when a session ended, over all measured ends,
	// passed how many ends these are.
	crowd, passed float64
}

func (o *observer) truth(t simulator.Truth) {
	switch t.Kind {
	case simulator.TruthStart:
		o.lives[t.Session] = &life{start: t.Time}
		o.online++
	case simulator.TruthEnd:
		if l := o.lives[t.Session]; l != nil {
			l.end = t.Time
			if o.measured(t.Time) {
				o.crowd += float64(o.online)
				o.passed++
			}
			o.online--
		}
	}
}

func (o *observer) measured(t time.Time) bool {
	since := t.Sub(epoch)
	return since >= o.run.Warmup && since < o.run.Warmup+o.run.Horizon
}

func (o *observer) committed(changes []events.Event) {
	o.trace.published(changes)
	for i := range changes {
		e := &changes[i]
		l := o.lives[e.Data.Session.ID]
		if l == nil {
			continue
		}
		switch {
		case e.Kind.Arrival() && !l.started:
			l.started = true
			o.see(l.start, &o.starts, &o.startsAround)
		case e.Kind == events.Ended && l.end.IsZero():
			o.falseEnds++
		case e.Kind == events.Ended && !l.ended:
			l.ended = true
			o.see(l.end, &o.ends, &o.endsAround)
		}
	}
}

// see takes into account that a change is seen now: by how long after it, and if a restart
// may have delayed that, by how long after the later of the two.
func (o *observer) see(change time.Time, usual, around *[]float64) {
	switch now := o.clock.Now(); {
	case !o.measured(change):
	case o.delayed(change) && change.Before(o.born):
		*around = append(*around, now.Sub(o.born).Seconds())
	case o.delayed(change):
		*around = append(*around, now.Sub(change).Seconds())
	default:
		*usual = append(*usual, now.Sub(change).Seconds())
	}
}

// delayed reports whether a restart may have delayed that a change is seen.
func (o *observer) delayed(change time.Time) bool {
	return !o.born.IsZero() && !change.Before(o.died) && !change.After(o.settled)
}
