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
	// leastAgain is how often that is at least: a reading of five pages hides a third of
	// who began at once, and who has ended stands nowhere else. It goes on while it shows
	// many new ones, mostAgain times at most.
	leastAgain, mostAgain = 2, 6
	// mostSettling is how often a list of several pages is read until hardly anybody on
	// it is new: one in newsShare.
	mostSettling = 8
	newsShare    = 30
	// fewNews is how many a reading of the history may have shown of whom nobody knew, for
	// it to be the last.
	fewNews = 10
)

// unsettle looks for sessions that began at once.
func (k *ledger) unsettle(ev *evidence, changes []events.Event) {
	if ev.scope == ofLocation && ev.first && ev.last {
		k.watched.unsettle(k.watched.byID[ev.location], 0)
		return
	}
	if ev.scope == ofHistory {
		k.history.newcomers(changes)
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
			k.watched.unsettle(location, mostSettling)
			if n >= togetherMany && k.accountList.Established() {
				k.watched.empty(location, g.start, k.Clock.Now(), k.accountList.Direction)
			}
			if ev.scope == ofHistory && n >= togetherMany {
				k.history.readAgain(g.start)
			}
		}
	}
}

// againSize is that of the pages of each reading again: other pages hide others.
func againSize(reading int) int { return plan.MaxPerPage - 7 - 5*reading }

// readAgain has the history since a start read once more: of many equal starts a
// page hides some, and who has ended since stands nowhere else.
func (r *historyReader) readAgain(start time.Time) {
	b := &r.probe
	if len(b.Gaps) > 0 && !b.Gaps[len(b.Gaps)-1].From.Before(start.Add(-time.Minute)) {
		return
	}
	r.again(start, 1)
}

// again begins a reading since a start at which many began.
func (r *historyReader) again(start time.Time, reading int) {
	b := &r.probe
	g := gap{From: start, Size: againSize(reading), Again: reading}
	if b.Direction == order.OldestFirst {
		g.Date, g.Page, g.Back = b.Date, (b.Page+b.ahead)*plan.MaxPerPage/g.Size+1, true
		if r.roster.track.Fixed {
			g.Page = b.Page + b.ahead + 1
		}
	}
	b.Gaps = append(b.Gaps, g)
}

// newcomers counts who turned up of those for whom the history is read again.
func (r *historyReader) newcomers(changes []events.Event) {
	b := &r.probe
	if len(b.Gaps) == 0 || b.Gaps[len(b.Gaps)-1].Again == 0 {
		return
	}
	g := &b.Gaps[len(b.Gaps)-1]
	for i := range changes {
		if e := &changes[i]; e.Kind == events.Started && e.Data.Session.StartedAt.Equal(g.From) {
			g.News++
		}
	}
}

// enough reports whether no further reading is worth its pages: the last one was a whole
// list on one page, or has shown hardly anybody new after several.
func (g *gap) enough(onePage bool) bool {
	return g.Again == 0 || onePage || g.Again >= mostAgain || g.Again >= leastAgain && g.News <= fewNews
}
