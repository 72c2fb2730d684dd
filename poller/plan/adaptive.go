package plan

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

	ranking ranking
	pages   pages
	price   float64
	overdue time.Duration
	others  int // looks since the last one of the sweep
}

// Next takes the look with the highest index.
func (a *Adaptive) Next(now time.Time, v *View) Decision {
	a.pages.aside = nil
	if v.Ordered && !v.Learning {
		a.pages.choose(now, v, a.overdue) // While learning, pages are read in turn.
	}
	late := a.late(v)
	d := a.decide(now, v)
	d.Aside, d.Price, d.Overdue, d.Late = a.pages.aside, a.price, a.overdue, late
	return d
}

func (a *Adaptive) limit() time.Duration {
	if a.MaxStaleness == 0 {
		return 5 * time.Minute
	}
	return a.MaxStaleness
}

func (a *Adaptive) decide(now time.Time, v *View) Decision {
	switch {
	case v.DiscoveryDue:
		return discover(v) // Looks bring no less after it.
	case v.Whole:
		return a.whole(v)
	case v.Learning:
		return sweepInTurn("the order of the list is being learned")
	case !v.Ordered:
		a.price = 0
		return a.unordered(now, v)
	}
	a.overdue = a.oldest(v)
	d := a.ordered(now, v)
	if a.others++; d.Kind == Sweep {
		a.others = 0
	}
	return d
}

// ordered plans where the list has an order. Whatever else is to be done, every
// fifth look is one of the sweep.
func (a *Adaptive) ordered(now time.Time, v *View) Decision {
	if v.Unsettled != nil && v.Unsettled.Cost() == 1 && v.Turn%3 != 0 {
		return settle(v)
	}
	best, index := a.sweep(), a.pages.gain()
	worth := max(index, alone(v))
	if a.price == 0 {
		a.price = worth
	}
	a.price += smoothing * (worth - a.price)
	period, asked := a.period(v), addressPreference*max(index, v.FiguresGain)
	due := v.Probing && v.ProbeAge+seconds(0.5/v.Budget) > period
	switch {
	case a.others > 3:
		return best
	case !v.Probing && v.Turn%2 == 0 && a.pages.unread(now) > period:
		return Decision{Look: Look{Kind: Sweep, Page: a.pages.newest(now)}, Why: "arrivals stand on it, and the history does not show them"}
	case v.Probing && v.ProbeAge > 3*period:
		return probe("arrivals were last read three times as long ago as pays") // Whatever else there is, nobody waits longer.
	case v.Reading != nil && v.Turn%readingTurn == 1:
		return finish(v)
	case v.Unsettled != nil && v.Turn%readingTurn == 1:
		return settle(v)
	case v.Departures != nil && v.DeparturesGain > preference*worth && v.Turn%2 == 0 && !due:
		return departures(v)
	case proves(v) && v.AddressGain > asked:
		return addresses() // It asks about those who are missing, too.
	case proves(v):
		return verify(v)
	case v.Missed && v.Turn%backfillTurn == 0:
		return backfill()
	case due:
		return probe("arrivals were last read as long ago as pays")
	case v.AddressGain > asked && a.pages.chosen.overdue == nil:
		best, index = addresses(), v.AddressGain
	case v.Figures != "" && v.FiguresGain > worth && a.pages.chosen.overdue == nil:
		best, index = figures(v, "its end has waited longer for its figures than any page is worth"), v.FiguresGain
	}
	if index = preference * index; v.Beside == 0 {
		index = max(index, preference*a.price)
	}
	if a.pages.chosen.overdue != nil {
		return best
	}
	location, gain := a.ranking.best(v.Locations, func(l *Location) float64 {
		if l.Asking || l.Cost() > 1 {
			return 0 // A location of several pages is read by the sweep, page by page.
		}
		return l.gain(now, v)
	})
	if gain > index {
		return list(location, "it is worth more than any page of the account's list")
	}
	return best
}

// sweep asks for the page that was chosen.
func (a *Adaptive) sweep() Decision {
	c := &a.pages.chosen
	d := Decision{Look: Look{Kind: Sweep, Page: c.Window, For: c.overdue, Follows: c.follows}}
	switch {
	case c.overdue != nil:
		d.Why = "a session on it was not seen for too long"
	case c.follows:
		d.Why = "it goes on from the page before"
	default:
		d.Why = "what is between it and the page before is worth little"
	}
	return d
}

// late says whether the budget permits the maximum staleness: where there is an
// order a round of the list takes its pages, and the probes beside it; where
// there is none, each location has to be listed.
func (a *Adaptive) late(v *View) bool {
	pages := math.Ceil(float64(v.Online) / v.perPage())
	requests := pages + math.Sqrt(pages)
	if !v.Ordered && !v.Learning {
		requests = float64(a.ranking.requests(v.Locations))
	}
	return requests > v.Budget*a.limit().Seconds()
}

// period is the time between two probes at which one brings as much as a page of
// a sweep that takes all other requests: with pages and probes τ apart, and the
// sweep's rounds T = P/(B−1/τ), wλτ²/2 of the arrivals equals μT²/2P of the ends.
// With equal rates that is (1+√P)/B. What is asked about addresses beside it takes a
// part of the ends off the sweep, as so many more requests would. At the pages' own worth, instead of this
// mean, each old page would put the probes off. Every other request stays with
// the sweep whatever the rates.
func (a *Adaptive) period(v *View) time.Duration {
	weight := a.StartWeight
	if weight == 0 {
		weight = 1
	}
	period := (1 + math.Sqrt(a.pages.roots/(weight*v.Rates.starts))) / (v.Budget + checkWorth*v.Beside)
	return max(seconds(2/v.Budget), min(seconds(period), a.overdue/2))
}

// addressPreference is by how much a request about addresses must be better than a page
// where both spend the same budget: what it finds is asked about again, and sessions that
// were seen one by one leave pages that are worth less.
const addressPreference = 4

// checkWorth is what a request about addresses takes off the sweep, in pages of it: what
// it finds has to be asked about twice, a second apart.
const checkWorth = 0.75

// alone is what a page of the list would bring if nothing looked at addresses beside it,
// zero where nothing does: ends wait for the platform's figures no more often than they
// would then.
func alone(v *View) float64 {
	if v.Beside == 0 {
		return 0
	}
	pages := max(1, float64(v.Online)/v.perPage())
	round := pages / v.Budget * (1 + 1/math.Sqrt(pages)) // P/(B−x) with x = B/(1+√P)
	return v.Rates.hazard * v.perPage() * round * round / 2
}

func addresses() Decision {
	return Decision{Look: Look{Kind: Addresses}, Why: "sessions chosen one by one are worth more than any page"}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// smoothing is the weight of the newest choice in Decision.Price.
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

// proves reports whether the next request goes into what is missing: one in four, every
// other one where many are, or one in eight where readings settle these sooner.
func proves(v *View) bool {
	n := len(v.Missing)
	switch {
	case n == 0:
		return false
	case v.Sooner && !v.Ordered:
		return v.Turn%8 == 0
	case n < someMissing || v.Ordered && n < manyMissing:
		return v.Turn%4 == 0
	}
	return v.Turn%2 == 0
}

const (
	someMissing = 8
	manyMissing = 30
)

// whole plans where one page is all of the list: it proves everything at once.
// Beside it, the history shows who came and went between two pages.
func (a *Adaptive) whole(v *View) Decision {
	a.price = min(a.price+smoothing, FiguresWorth/2)
	switch {
	case v.Figures != "" && v.Turn%2 == 0:
		return figures(v, "one page is all of the list, so there are requests to spare")
	case v.Missed && v.Turn%backfillTurn == 0:
		return backfill()
	case v.Probing && v.ProbeAge > wholeProbes:
		return probe("who came and went between two pages shows there")
	}
	return sweepInTurn("one page is all of the list")
}

// FiguresWorth is what an end with the platform's figures is worth: as much as
// learning of a change that many seconds sooner.
const FiguresWorth = 0.9

// wholeProbes is the time between two probes there.
const wholeProbes = 5 * time.Second

// oldest is the age from which a session's page comes before all others. Two
// rounds of the list, which pages that cut off who began at once make longer, are the
// greatest age that a sweep needs, four where single
// locations are looked at beside it and where a page out of turn costs more, as it
// shows arrivals, too. A limit below one and a half cannot be kept, and trying
// would only slow the sweep down, which then keeps ages lowest by itself.
func (a *Adaptive) oldest(v *View) time.Duration {
	pages := math.Ceil(max(1, float64(v.Online)) / v.perPage())
	cut := min(v.Track.cut, mostCut)
	requests := pages * (1 + longer*cut/(1-cut))
	if v.Probing {
		requests += math.Sqrt(pages)
	}
	round := requests / v.Budget
	age := 2 * round
	if !v.Probing {
		age = 4 * round
	}
	if s := a.limit().Seconds(); s > 1.5*round {
		age = min(age, s)
	}
	// Several may be due at the same time, and an answer may be late.
	age = max(min(leeway*age, age-8/v.Budget), 0.65*age)
	return time.Duration(age * float64(time.Second))
}

// longer is which part of what a round takes more, for pages that cut off who began at
// once, adds to the greatest age. With more of it, fewer sessions are overdue, and pages
// leave the track less often, but those that are wait for longer: 99 % of the ends of the
// benchmark's E10 are seen within 73 s with none of it, 75 s so, 78 s with half and 85 s
// with three quarters of it. The mean is no less from here on. mostCut bounds it.
const (
	longer  = 0.3
	mostCut = 0.5
)

// leeway is the part of the greatest age from which sessions come first.
const leeway = 0.9

// gain is the expected number of ends at the location that a look would detect,
// times half of how long they have waited, in seconds; without probes that of
// arrivals as well: whoever arrived has waited about as long as the location's
// sessions were not seen.
func (l *Location) gain(now time.Time, v *View) float64 {
	t := v.Track.Rows.Seconds(now)
	if v.Probing {
		return l.sums.gain(t, 0)
	}
	arrivals := v.Rates.StartsAt(l)
	age := l.Age(now).Seconds()
	alone := arrivals * age * age / 2
	if l.Online == 0 {
		return alone
	}
	ends := l.sums.gain(t, 0)
	return ends + min(alone, l.sums.gain(t, arrivals/float64(l.Online))-ends)
}

// unordered plans where only whole lists prove that anybody is gone. The account's
// list, read in rounds, shows who came, and whom it does not show; the lists of
// these sessions' locations prove who is gone. Where listing the locations one after
// another takes hardly more requests, or a page of the round is under way, that does
// both.
func (a *Adaptive) unordered(now time.Time, v *View) Decision {
	if v.Promising && !v.Sweeping && v.Turn%promisingTurn == 0 {
		return sweepInTurn("a page of the account's list may tell its order")
	}
	if d, ok := a.urgent(v); ok {
		return d
	}
	if v.Unsettled != nil && v.Unsettled.Cost() == 1 && v.Turn%3 != 0 {
		return settle(v)
	}
	if v.AddressGain > 0 && v.Turn%2 == 1 {
		return addresses() // No list proves as much.
	}
	if pages := 1 + v.Online/int(v.perPage()); a.ranking.requests(v.Locations) > 7*pages/2 && !v.Sweeping {
		return sweepInTurn("pages of the account's list show who came, in far fewer requests than all locations take")
	}
	return a.located(now, v)
}

// promisingTurn is how many looks there are to a page of the account's list that
// may tell its order.
const promisingTurn = 3

// urgent is what comes before the rest where there is no order.
func (a *Adaptive) urgent(v *View) (Decision, bool) {
	switch {
	case v.DiscoveryDue:
		return discover(v), true
	case proves(v):
		return verify(v), true
	case v.Reading != nil:
		return finish(v), true
	}
	return Decision{}, false
}

// located plans location by location, by the same index, none left out for long.
// Round robin is what it comes to where nothing is known of the rates.
func (a *Adaptive) located(now time.Time, v *View) Decision {
	if d, ok := a.urgent(v); ok {
		return d
	}
	// Round robin's own period, and half as much again, is the longest that a
	// location waits.
	longest := seconds(1.5 * float64(a.ranking.requests(v.Locations)) / v.Budget)
	location, _ := a.ranking.best(v.Locations, func(l *Location) float64 {
		if l.Asking {
			return 0
		}
		if wait := now.Sub(l.AskedAt); wait > longest {
			return math.MaxFloat64 / 1e12 * min(1e9, wait.Seconds())
		}
		return l.gain(now, v) / float64(l.Cost())
	})
	if location == nil {
		return rest()
	}
	return list(location, "it has waited longest, or changes most")
}

// SquareRoot looks at one location after another by the same index, without
// sweeps or probes.
type SquareRoot struct{ planner Adaptive }

// Next takes the location with the highest index.
func (s *SquareRoot) Next(now time.Time, v *View) Decision {
	alone := *v
	alone.Probing = false
	return s.planner.located(now, &alone)
}
