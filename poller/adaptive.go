package poller

import (
	"math"
	"time"
)

// Adaptive is the planner: it always sends the request that brings most.
//
// The index of a look is the expected number of changes that it would detect
// times how long they have waited: changes come at rate λ, so after an age a it
// is λa²/2, divided by the look's cost in requests. Where the ages are those
// that the index itself produces, this is the periodic policy with periods
// proportional to √(cost/λ), which is optimal among periodic ones (Azar, Horvitz,
// Lubetzky, Peres, Shahaf: Tractable near-optimal policies for crawling, PNAS
// 2018; the same index minimises weighted age of information in Kadota &
// Modiano, 2019). Between an arrival probe (one request for all arrivals) and a
// sweep of P pages (a P-th of the ends each) it splits a budget B as B/(1+√P) to
// the rest, the optimum.
type Adaptive struct {
	// StartWeight is how much more an undetected start costs than an undetected
	// end; zero means 1.
	StartWeight float64
	// MaxStaleness is the greatest age that a location may have, whatever its
	// rate, where the budget permits; zero means 5 minutes.
	MaxStaleness time.Duration

	rota  rota
	aside int // looks since the last one of the sweep
}

// Next takes the look with the highest index.
func (a *Adaptive) Next(now time.Time, e *Estate) Look {
	a.judge(e)
	weight, limit := a.StartWeight, a.MaxStaleness
	if weight == 0 {
		weight = 1
	}
	if limit == 0 {
		limit = 5 * time.Minute
	}
	switch {
	case e.DiscoveryDue:
		e.Price = 0
		return discover(e)
	case e.Whole:
		return a.whole(e)
	case e.Learning:
		return Look{Kind: Sweep, InTurn: true}
	case !e.Ordered:
		e.Price = 0
		return a.unordered(now, e)
	}
	e.Overdue = a.overdue(e, limit)
	look := a.ordered(now, e, weight)
	if a.aside++; look.Kind == Sweep {
		a.aside = 0
	}
	return look
}

// ordered plans where the list has an order. Whatever else is to be done, every
// fifth look is one of the sweep.
func (a *Adaptive) ordered(now time.Time, e *Estate, weight float64) Look {
	if e.Unsettled != nil && e.Unsettled.Cost() == 1 && e.Turn%3 != 0 {
		return Look{Kind: List, Location: e.Unsettled.ID}
	}
	best, index := Look{Kind: Sweep}, e.SweepGain
	e.Price += smoothing * (index - e.Price)
	period := a.period(e, weight)
	switch {
	case a.aside > 3:
		return best
	case e.Probing && e.ProbeAge > 3*period:
		return Look{Kind: Probe} // Whatever else there is, nobody waits longer.
	case e.Reading != nil && e.Turn%readingTurn == 1:
		return Look{Kind: List, Location: e.Reading.ID}
	case e.Unsettled != nil && e.Turn%readingTurn == 1:
		return Look{Kind: List, Location: e.Unsettled.ID}
	case proves(e):
		return Look{Kind: Verify, Session: e.Missing[0]}
	case e.Missed && e.Turn%backfillTurn == 0:
		return Look{Kind: Backfill}
	case e.Probing && e.ProbeAge+seconds(0.5/e.Budget) > period:
		return Look{Kind: Probe}
	case e.Figures != "" && e.FiguresGain > index && !e.Due:
		best, index = Look{Kind: Figures, Session: e.Figures}, e.FiguresGain
	}
	index = preference * max(index, e.Price)
	if e.Due {
		return best
	}
	place, gain := a.rota.best(e.Places, func(p *Place) float64 {
		if p.asking || p.Cost() > 1 {
			return 0 // A location of several pages is read by the sweep, page by page.
		}
		return p.gain(now, e)
	})
	if gain > index {
		return Look{Kind: List, Location: place.ID}
	}
	return best
}

// judge says whether the budget permits the maximum staleness: where there is an
// order a round of the list takes its pages, and the probes beside it; where
// there is none, each location has to be listed.
func (a *Adaptive) judge(e *Estate) {
	limit := a.MaxStaleness
	if limit == 0 {
		limit = 5 * time.Minute
	}
	pages := math.Ceil(float64(e.Online) / MaxPerPage)
	requests := pages + math.Sqrt(pages)
	if !e.Ordered && !e.Learning {
		requests = float64(a.rota.requests(e.Places))
	}
	e.Late = requests > e.Budget*limit.Seconds()
}

// period is the time between two probes at which one brings as much as a page of
// a sweep that takes all other requests: with pages and probes τ apart, and the
// sweep's rounds T = P/(B−1/τ), wλτ²/2 of the arrivals equals μT²/2P of the ends.
// With equal rates that is (1+√P)/B. At the pages' own worth, instead of this
// mean, each old page would put the probes off. Every other request stays with
// the sweep whatever the rates.
func (a *Adaptive) period(e *Estate, weight float64) time.Duration {
	period := (1 + math.Sqrt(e.roots/(weight*e.arrivals))) / e.Budget
	return max(seconds(2/e.Budget), min(seconds(period), e.Overdue/2))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// smoothing is the weight of the newest choice in Estate.Price.
const smoothing = 0.03

// preference is by how much a look at one location must be better than a page of
// the sweep or a probe to be taken: sessions that were read out of turn make the
// sweep's own pages worth less.
const preference = 1.1

// backfillTurn is how many looks there are to one at what an outage left unread.
const backfillTurn = 3

// readingTurn is how many looks there are to a page of a location's list of several,
// where the account's list shows the same, and so do probes.
const readingTurn = 4

// proves reports whether the next request goes into what is missing: one in four, or
// every other one where many are.
func proves(e *Estate) bool {
	n := len(e.Missing)
	switch {
	case n == 0:
		return false
	case n < someMissing || e.Ordered && n < manyMissing:
		return e.Turn%4 == 0
	}
	return e.Turn%2 == 0
}

const (
	someMissing = 8
	manyMissing = 30
)

// whole plans where one page is all of the list: it proves everything at once.
// Beside it, the history shows who came and went between two pages.
func (a *Adaptive) whole(e *Estate) Look {
	e.Price = min(e.Price+smoothing, figuresWorth/2)
	switch {
	case e.Figures != "" && e.Turn%2 == 0:
		return Look{Kind: Figures, Session: e.Figures}
	case e.Missed && e.Turn%backfillTurn == 0:
		return Look{Kind: Backfill}
	case e.Probing && e.ProbeAge > wholeProbes:
		return Look{Kind: Probe}
	}
	return Look{Kind: Sweep, InTurn: true}
}

// wholeProbes is the time between two probes there.
const wholeProbes = 5 * time.Second

// overdue is the age from which a session's page comes before all others. Two
// rounds of the list are the greatest age that a sweep needs, four where single
// locations are looked at beside it and where a page out of turn costs more, as it
// shows arrivals, too. A limit below one and a half cannot be kept, and trying
// would only slow the sweep down, which then keeps ages lowest by itself.
func (a *Adaptive) overdue(e *Estate, limit time.Duration) time.Duration {
	pages := math.Ceil(max(1, float64(e.Online)) / MaxPerPage)
	requests := pages
	if e.Probing {
		requests += math.Sqrt(pages)
	}
	round := requests / e.Budget
	age := 2 * round
	if !e.Probing {
		age = 4 * round
	}
	if s := limit.Seconds(); s > 1.5*round {
		age = min(age, s)
	}
	// Several may be due at the same time, and an answer may be late.
	age = max(min(leeway*age, age-8/e.Budget), 0.65*age)
	return time.Duration(age * float64(time.Second))
}

// leeway is the part of the greatest age from which sessions come first.
const leeway = 0.9

// gain is the expected number of ends at the place that a look would detect,
// times half of how long they have waited, in seconds; without probes that of
// arrivals as well: whoever arrived has waited about as long as the place's
// sessions were not seen.
func (p *Place) gain(now time.Time, e *Estate) float64 {
	t := now.Sub(e.began).Seconds()
	if e.Probing {
		return p.sums.gain(t, 0)
	}
	arrivals := e.arrivalsAt(p)
	age := p.Age(now).Seconds()
	alone := arrivals * age * age / 2
	if p.Online == 0 {
		return alone
	}
	ends := p.sums.gain(t, 0)
	return ends + min(alone, p.sums.gain(t, arrivals/float64(p.Online))-ends)
}

// unordered plans where only whole lists prove that anybody is gone. The account's
// list, read in rounds, shows who came, and whom it does not show; the lists of
// these sessions' locations prove who is gone. Where listing the locations one after
// another takes hardly more requests, or a page of the round is under way, that does
// both.
func (a *Adaptive) unordered(now time.Time, e *Estate) Look {
	if e.Promising && !e.Sweeping && e.Turn%promisingTurn == 0 {
		return Look{Kind: Sweep, InTurn: true}
	}
	if look, ok := a.urgent(e); ok {
		return look
	}
	if e.Unsettled != nil && e.Unsettled.Cost() == 1 && e.Turn%3 != 0 {
		return Look{Kind: List, Location: e.Unsettled.ID}
	}
	if pages := 1 + e.Online/MaxPerPage; a.rota.requests(e.Places) > 7*pages/2 && !e.Sweeping {
		return Look{Kind: Sweep, InTurn: true}
	}
	return a.located(now, e)
}

// promisingTurn is how many looks there are to a page of the account's list that
// may tell its order.
const promisingTurn = 3

// urgent is what comes before the rest where there is no order.
func (a *Adaptive) urgent(e *Estate) (Look, bool) {
	switch {
	case e.DiscoveryDue:
		return discover(e), true
	case proves(e):
		return Look{Kind: Verify, Session: e.Missing[0]}, true
	case e.Reading != nil:
		return Look{Kind: List, Location: e.Reading.ID}, true
	}
	return Look{}, false
}

// located plans location by location, by the same index, none left out for long.
// Round robin is what it comes to where nothing is known of the rates.
func (a *Adaptive) located(now time.Time, e *Estate) Look {
	if look, ok := a.urgent(e); ok {
		return look
	}
	// Round robin's own period, and half as much again, is the longest that a
	// location waits.
	longest := seconds(1.5 * float64(a.rota.requests(e.Places)) / e.Budget)
	place, _ := a.rota.best(e.Places, func(p *Place) float64 {
		if p.asking {
			return 0
		}
		if wait := now.Sub(p.AskedAt); wait > longest {
			return math.MaxFloat64 / 1e12 * min(1e9, wait.Seconds())
		}
		return p.gain(now, e) / float64(p.Cost())
	})
	if place == nil {
		return Look{Kind: Rest}
	}
	return Look{Kind: List, Location: place.ID}
}

// SquareRoot looks at one location after another by the same index, without
// sweeps or probes.
type SquareRoot struct{ planner Adaptive }

// Next takes the location with the highest index.
func (s *SquareRoot) Next(now time.Time, e *Estate) Look {
	alone := *e
	alone.Probing = false
	return s.planner.located(now, &alone)
}

// SweepOnly sweeps the account again and again; where its list has no order, it
// is round robin.
type SweepOnly struct{ fallback RoundRobin }

// Next takes the next page of the sweep. One request in four at most goes into
// verification.
func (s *SweepOnly) Next(now time.Time, e *Estate) Look {
	switch {
	case e.DiscoveryDue || !e.Ordered && !e.Learning:
		return s.fallback.Next(now, e)
	case proves(e):
		return Look{Kind: Verify, Session: e.Missing[0]}
	}
	return Look{Kind: Sweep, InTurn: true}
}
