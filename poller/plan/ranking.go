package plan

import (
	"cmp"
	"slices"
	"sort"
)

// ranking finds the location that is worth most without looking at all of them for
// each decision: at those that were worth most lately, and at a stretch of the
// others in turn. What a location is worth changes slowly, so that among many
// thousands the best few are nearly as good as the best.
type ranking struct {
	next int // of the locations, at which the next stretch begins
	top  []ranked
	// cost is how many requests a list of each location takes together, as of the
	// last whole turn; counted is that of the turn under way.
	cost, counted int
}

type ranked struct {
	location *Location
	worth    float64
}

const (
	stretch      = 64 // locations looked at for one decision
	topLocations = 16
)

// best returns the location for which worth is greatest, and that worth; nil
// where there is none.
func (r *ranking) best(locations []*Location, worth func(*Location) float64) (*Location, float64) {
	for i := range r.top {
		r.top[i].worth = worth(r.top[i].location)
	}
	slices.SortStableFunc(r.top, func(a, b ranked) int { return cmp.Compare(b.worth, a.worth) })
	for range min(stretch, len(locations)) {
		if r.next >= len(locations) {
			r.next = 0
			r.cost, r.counted = r.counted, 0
		}
		l := locations[r.next]
		r.next++
		r.counted += l.Cost()
		w := worth(l)
		if len(r.top) == topLocations && w <= r.top[topLocations-1].worth || slices.ContainsFunc(r.top, func(x ranked) bool { return x.location == l }) {
			continue
		}
		// Behind its equals, so that who is known for longest is first.
		at := sort.Search(len(r.top), func(i int) bool { return r.top[i].worth < w })
		r.top = slices.Insert(r.top, at, ranked{l, w})
		r.top = r.top[:min(len(r.top), topLocations)]
	}
	if len(r.top) == 0 {
		return nil, 0
	}
	return r.top[0].location, r.top[0].worth
}

// requests is how many requests a list of each location takes together.
func (r *ranking) requests(locations []*Location) int {
	if r.cost == 0 {
		for _, l := range locations {
			r.cost += l.Cost()
		}
	}
	return r.cost
}
