package publisher

import "time"

// pace finds out, for Auto and a stream that is not replicated, which way is
// faster through a backlog. That depends on the disk alone: a server that syncs
// each write syncs a batch once and chained messages one by one, and one that does
// not sync writes batches twice. It cannot be asked, so it is measured.
//
// Chained stands for Fast, too, where the stream allows that.
//
// Without a backlog, Atomic is used, which other writers do not disturb.
type pace struct {
	way     Way
	began   time.Time
	entries int
	rate    map[Way]float64 // entries a second when there was a backlog
	tried   time.Time       // when Chained was measured last
}

const (
	// paceEntries is how many batches, or windows, are measured.
	paceEntries = 2
	// paceTrial bounds the time that a trial may take on a slow way.
	paceTrial = 200 * time.Millisecond
	// paceEvery is how long a measurement is believed.
	paceEvery = 10 * time.Minute
	// paceGain is how much faster Chained has to be.
	paceGain = 1.2
)

// start begins a stretch and returns the way to go.
func (p *pace) start(now time.Time) Way {
	if p.way == "" {
		p.way = Atomic
	}
	p.began, p.entries = now, 0
	return p.way
}

// sent counts entries that went out of a backlog, and reports whether it is time to
// turn to the other way. full is a batch or window.
func (p *pace) sent(n, full int, now time.Time) (turn bool) {
	p.entries += n
	took := now.Sub(p.began)
	if p.way == Atomic && p.chainedWins() && now.Sub(p.tried) <= paceEvery && p.entries >= full {
		p.turn() // Known from an earlier backlog.
		return true
	}
	enough := p.entries >= paceEntries*full && took > 0
	if !enough && (p.way == Atomic || took < paceTrial) {
		return false
	}
	if p.rate == nil {
		p.rate = map[Way]float64{}
	}
	p.rate[p.way] = float64(p.entries) / took.Seconds()
	switch {
	case p.way == Chained:
		p.tried = now
		turn = !p.chainedWins()
	case p.tried.IsZero() || now.Sub(p.tried) > paceEvery:
		turn = true
	default:
		turn = p.chainedWins()
	}
	if turn {
		p.turn()
	} else {
		p.began, p.entries = now, 0
	}
	return turn
}

func (p *pace) chainedWins() bool { return p.rate[Chained] > paceGain*p.rate[Atomic] }

func (p *pace) turn() {
	if p.way == Atomic {
		p.way = Chained
	} else {
		p.way = Atomic
	}
}

// pause ends the backlog, and reports whether to turn.
func (p *pace) pause(now time.Time) (turn bool) {
	turn = p.way == Chained
	p.way, p.began, p.entries = Atomic, now, 0
	return turn
}

// disturbed notes that another writer came between chained messages.
func (p *pace) disturbed(now time.Time) {
	if p.way == Chained {
		p.way, p.tried = Atomic, now
		delete(p.rate, Chained)
	}
}
