package poller

import (
	"cmp"
	"slices"
	"sort"
)

// rota finds the location that is worth most without looking at all of them for
// each decision: at those that were worth most lately, and at a stretch of the
// others in turn. What a location is worth changes slowly, so that among many
// thousands the best few are nearly as good as the best.
type rota struct {
	next int // of the places, at which the next stretch begins
	top  []ranked
	// cost is how many requests a list of each location takes together, as of the
	// last whole turn; counted is that of the turn under way.
	cost, counted int
}

type ranked struct {
	place *Place
	worth float64
}

const (
	stretch   = 64 // locations looked at for one decision
	topPlaces = 16
)

// best returns the location for which worth is greatest, and that worth; nil
// where there is none.
func (r *rota) best(places []*Place, worth func(*Place) float64) (*Place, float64) {
	for i := range r.top {
		r.top[i].worth = worth(r.top[i].place)
	}
	slices.SortStableFunc(r.top, func(a, b ranked) int { return cmp.Compare(b.worth, a.worth) })
	for range min(stretch, len(places)) {
		if r.next >= len(places) {
			r.next = 0
			r.cost, r.counted = r.counted, 0
		}
		p := places[r.next]
		r.next++
		r.counted += p.Cost()
		w := worth(p)
		if len(r.top) == topPlaces && w <= r.top[topPlaces-1].worth || slices.ContainsFunc(r.top, func(x ranked) bool { return x.place == p }) {
			continue
		}
		// Behind its equals, so that who is known for longest is first.
		at := sort.Search(len(r.top), func(i int) bool { return r.top[i].worth < w })
		r.top = slices.Insert(r.top, at, ranked{p, w})
		r.top = r.top[:min(len(r.top), topPlaces)]
	}
	if len(r.top) == 0 {
		return nil, 0
	}
	return r.top[0].place, r.top[0].worth
}

// requests is how many requests a list of each location takes together.
func (r *rota) requests(places []*Place) int {
	if r.cost == 0 {
		for _, p := range places {
			r.cost += p.Cost()
		}
	}
	return r.cost
}
