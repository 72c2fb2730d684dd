package poller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
)

// When an access point restarts, all its sessions end and begin anew in the same
// second. Equal starts hide each other on pages, and who ended stands all over the
// list; that location's own list tells both.
const (
	// togetherLeast is how many arrivals of one start make a location unsettled,
	// togetherShare which part of its sessions they are at least, up to togetherMany.
	togetherLeast = 3
	togetherShare = 0.1
	// From togetherMany on, the history is read again.
	togetherMany = 30
	// againSize is that of the pages then: other pages hide others.
	againSize = 83
	// mostSettling is how often a list of several pages is read until hardly anybody on
	// it is new: one in newsShare.
	mostSettling = 8
	newsShare    = 100
)

// unsettle looks for sessions that began at once.
func (k *ledger) unsettle(ev *evidence, changes []events.Event) {
	if ev.scope == ofLocation && ev.first && ev.last {
		k.watched.byID[ev.location].unsettled = 0
		return
	}
	type group struct {
		location string
		start    time.Time
	}
	groups := make(map[group]int)
	for i := range changes {
		e := &changes[i]
		if s := &e.Data.Session; e.Kind == events.Started && !e.Data.Observed.Backfilled && !s.StartedAt.IsZero() {
			groups[group{s.LocationID, s.StartedAt}]++
		}
	}
	for _, g := range slices.SortedFunc(maps.Keys(groups), func(a, b group) int {
		return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.location, b.location))
	}) {
		n := groups[g]
		if location := k.watched.byID[g.location]; location != nil && n >= togetherLeast && float64(n) >= min(togetherMany, togetherShare*float64(location.Online)) {
			location.unsettled = mostSettling
			if ev.scope == ofHistory && n >= togetherMany {
				k.history.readAgain(g.start)
			}
		}
	}
}

// readAgain has the history since a start read once more: of many equal starts a
// page hides some, and who has ended since stands nowhere else.
func (r *historyReader) readAgain(start time.Time) {
	b := &r.probe
	if len(b.Gaps) > 0 && !b.Gaps[len(b.Gaps)-1].From.Before(start.Add(-time.Minute)) {
		return
	}
	g := gap{From: start, Size: againSize}
	if b.Direction == order.OldestFirst {
		g.Date, g.Page, g.Back = b.Date, (b.Page+b.ahead)*plan.MaxPerPage/againSize+1, true
	}
	b.Gaps = append(b.Gaps, g)
}
