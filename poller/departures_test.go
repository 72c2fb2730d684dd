package poller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Wherever those who began at once stand among the ended, and however many of others end
// meanwhile: each reading is through in a few pages, and shows all of them.
func TestReadingOfDeparturesShowsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		direction := rapid.SampledFrom([]order.Direction{order.NewestFirst, order.OldestFirst}).Draw(t, "direction")
		together := noon
		var ended []events.Session
		end := func(start time.Time) {
			s := events.Session{ID: fmt.Sprint(len(ended)), StartedAt: start}
			at, _ := slices.BinarySearchFunc(ended, s, func(a, b events.Session) int {
				if direction == order.NewestFirst {
					return b.StartedAt.Compare(a.StartedAt)
				}
				return a.StartedAt.Compare(b.StartedAt)
			})
			ended = slices.Insert(ended, at, s)
		}
		others := func(most int) {
			for range rapid.IntRange(0, most).Draw(t, "others") {
				end(noon.Add(time.Duration(rapid.IntRange(-5000, 5000).Draw(t, "start")) * time.Second))
			}
		}
		others(900)
		c := cohort{start: together}
		for reading := range rapid.IntRange(1, 4).Draw(t, "readings") {
			for range rapid.IntRange(0, 150).Draw(t, "ended") {
				end(together)
			}
			shown, want := make(map[string]bool), 0
			for pages := 1; c.readings == reading; pages++ {
				w := c.window()
				answer := paged(ended, w)
				for i := range answer.Sessions {
					if s := answer.Sessions[i]; s.StartedAt.Equal(together) {
						shown[s.ID] = true
					}
				}
				c.found(w, answer, direction, instant(noon))
				others(2) // They move what was read only away.
				if pages == mostDeparturePages && c.readings == reading {
					t.Fatalf("not through after %d pages: %+v", pages, c)
				}
			}
			for _, s := range ended {
				if s.StartedAt.Equal(together) {
					want++
				}
			}
			// One of the others may have begun with them, and ended behind the reading.
			if len(shown) < want-2*mostDeparturePages || !c.read.Equal(noon) {
				t.Fatalf("%d of %d were shown", len(shown), want)
			}
		}
	})
}

// What is no list of the ended, or not sorted as it has to be, is told apart.
func TestUnusableDepartures(t *testing.T) {
	at := func(seconds ...int) (p platform.Page) {
		for _, s := range seconds {
			p.Sessions = append(p.Sessions, events.Session{StartedAt: noon.Add(time.Duration(s) * time.Second)})
		}
		return p
	}
	live := at(5, 4, 3, 2)
	live.Sessions[1].Online = true
	for name, c := range map[string]struct {
		page platform.Page
		want bool
	}{
		"sorted":       {at(9, 7, 7, 4, 2, 1), true},
		"few":          {at(1, 2), true},
		"empty":        {at(), true},
		"another way":  {at(1, 2, 4, 7, 9), false},
		"not at all":   {at(1, 9, 2, 7, 3), false},
		"online, too":  {live, false},
		"equal starts": {at(1, 1, 1), true},
	} {
		if reason := unusable(c.page, order.NewestFirst); (reason == "") != c.want {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

// What became of those whom a former process knew is read first, for a while: for how long
// nobody looked is not known.
func TestInheritedCohortsComeFirst(t *testing.T) {
	list := hall(150)
	for i := range list {
		list[i].StartedAt = noon.Add(-time.Hour)
	}
	s := newShelf()
	newCounter(t, s, noon).round(list, noon)
	again := noon.Add(time.Minute)
	c := newCounter(t, s, again)
	gain := func(since time.Duration) float64 {
		c.clock.now = again.Add(since)
		c.departures.survey(c.clock.now, func(*entry) bool { return false })
		_, gain := c.departures.next(c.clock.now)
		return gain
	}
	if g := gain(time.Second); g < inherited {
		t.Errorf("a second after the start it is worth %v", g)
	}
	if g := gain(followed + time.Minute); g <= 0 || g >= inherited {
		t.Errorf("after a while it is worth %v", g)
	}
	c = newCounter(t, newShelf(), noon)
	c.round(list, noon)
	if c.departures.survey(noon, func(*entry) bool { return false }); len(c.departures.cohorts) != 1 {
		t.Fatal("there is no cohort")
	}
	if _, g := c.departures.next(noon.Add(time.Second)); g >= inherited {
		t.Errorf("read by this process, it is worth %v", g)
	}
}

// Of a large venue that restarts, the ended sessions are read; of those whom addresses
// tell of, they are not, nor of a venue that a page has room for.
func TestWhoseDeparturesAreRead(t *testing.T) {
	c := newCounter(t, newShelf(), noon)
	for i := range 260 {
		at := map[bool]string{true: "hall", false: "cafe"}[i < 200]
		c.roster.add(fmt.Sprint(i), c.location(at, ""), noon, instant(noon))
	}
	later := noon.Add(5 * time.Minute)
	c.clock.now = later
	nobody, everybody := func(*entry) bool { return false }, func(*entry) bool { return true }
	c.departures.survey(later, nobody)
	if l, gain := c.departures.next(later); l == nil || l.ID != "hall" || gain <= 0 {
		t.Fatalf("%+v brings %v", l, gain)
	}
	if hall, cafe := &c.roster.find("0").Row, &c.roster.find("259").Row; c.departures.follows(hall) || c.departures.follows(cafe) {
		t.Error("pages wait though nothing was read yet")
	}
	c.roster.find("0").at.cohort.read = later
	if hall, cafe := &c.roster.find("0").Row, &c.roster.find("259").Row; !c.departures.follows(hall) || c.departures.follows(cafe) {
		t.Error("pages wait for whom is not read")
	}
	later = later.Add(time.Hour)
	c.departures.survey(later, everybody)
	if _, gain := c.departures.next(later); gain > 0 {
		t.Errorf("read though addresses tell, for %v", gain)
	}
	if n := plan.MaxPerPage; n <= crowded {
		t.Errorf("%d fit a page of %d", crowded, n)
	}
}

// Equal pages hide the same sessions, so no page of a reading is one of those before.
func TestReadingsOfDeparturesDiffer(t *testing.T) {
	var ended []events.Session
	for i := range 1100 {
		s := events.Session{ID: fmt.Sprint(i), StartedAt: noon.Add(-time.Duration(i) * time.Second)}
		if i >= 738 && i < 1038 {
			s.StartedAt = noon.Add(-738 * time.Second)
		}
		ended = append(ended, s)
	}
	c := cohort{start: noon.Add(-738 * time.Second)}
	inside := make(map[plan.Window]int)
	for c.readings <= variants {
		w := c.window()
		if n := inside[w]; c.readings > 0 && n > 0 {
			t.Errorf("reading %d has the page %+v of reading %d", c.readings, w, n)
		}
		if c.readings > 0 {
			inside[w] = c.readings
		}
		c.found(w, paged(ended, w), order.NewestFirst, instant(noon))
	}
	if len(inside) < 3*variants {
		t.Errorf("%d pages in %d readings", len(inside), variants)
	}
}

// What a page hides has waited ever since, and is worth as much.
func TestWhatPagesOfDeparturesHideStaysWorth(t *testing.T) {
	c := cohort{start: noon, n: 300, readings: 1, ended: 200, reckoned: noon}
	c.pass(noon.Add(time.Minute), 1e-3)
	before := c.gain()
	if c.showed(100); c.gain() != before/2 {
		t.Errorf("half are shown: %v of %v is left", c.gain(), before)
	}
	half := c.gain()
	c.pass(noon.Add(time.Minute+time.Second), 0)
	if c.gain() <= half {
		t.Errorf("those that are hidden wait on: %v, %v a second before", c.gain(), half)
	}
	if c.showed(0); c.gain() == 0 {
		t.Error("a page that shows none tells of them")
	}
	if c.showed(250); c.gain() != 0 {
		t.Errorf("all are shown: %v", c.gain())
	}
}
