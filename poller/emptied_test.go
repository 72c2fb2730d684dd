package poller

import (
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// A location's ended sessions are read from the newest on, for as long as they tell
// of anybody who is taken to be online.
func TestHowFarAnEmptiedLocationIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		ends []int // that each page would tell of
		more int   // of the pages, so many are followed by another
		want int   // pages read
	}{
		"all of it":             {[]int{90, 70, 60, 50}, 3, 4},
		"until the others come": {[]int{90, 40, 2, 0, 0, 90}, 9, 4},
		"a page of others":      {[]int{90, 5, 80, 70, 0, 0, 0, 0}, 9, 6},
		"nobody had left":       {[]int{0, 0, 0, 0}, 9, 3},
	} {
		e := &emptied{since: noon, news: plan.MaxPerPage}
		pages, last := 0, -1
		for done := false; !done; pages++ {
			w := windowFrom(e.at, overlap)
			q := e.query("hall", w)
			if w.End() <= last || q.Online == nil || *q.Online || q.LocationID != "hall" {
				t.Fatalf("%s: page %d is %+v", name, pages, q)
			}
			last = w.End()
			done = e.told(w, platform.Page{Records: w.Size, PerPage: w.Size, More: pages < c.more}, c.ends[pages])
		}
		if pages != c.want {
			t.Errorf("%s: %d pages were read, want %d", name, pages, c.want)
		}
	}
}

// Who began at once at a large location tells that others left it; nothing is read of a
// small one, nor where those that began last may stand anywhere, nor for long.
func TestWhichLocationsAreEmptied(t *testing.T) {
	c := newCounter(t, newShelf(), noon)
	for i := range 260 {
		at := map[bool]string{true: "hall", false: "cafe"}[i < 200]
		c.roster.add(fmt.Sprint(i), c.location(at, ""), noon.Add(-time.Hour), instant(noon))
	}
	hall, cafe := c.watched.byID["hall"], c.watched.byID["cafe"]
	read := func() []*location { return c.watched.emptied(noon.Add(time.Second)) }
	c.watched.empty(cafe, noon, noon, order.NewestFirst)
	c.watched.empty(hall, noon, noon, order.OldestFirst)
	if len(read()) > 0 {
		t.Fatal("a small location is read, or one from an end that is not known")
	}
	hall.cohort = &cohort{start: noon.Add(-time.Hour), readings: 1, low: 700}
	c.watched.empty(hall, noon, noon, order.OldestFirst)
	w := windowFrom(hall.emptied.at, overlap)
	if q := hall.emptied.query("hall", w); len(read()) != 1 || w.Start() > 700 || w.End() < 750 || q.StartDate == "" {
		t.Errorf("behind others who began at once it is read from %+v on", q)
	}
	hall.cohort = nil
	if l, gain := c.departures.next(noon.Add(10 * time.Second)); l == nil || l.ID != "hall" || gain < 500 {
		t.Errorf("after ten seconds %+v brings %v", l, gain)
	}
	if l, _ := c.departures.next(noon.Add(followed + time.Second)); l != nil || hall.emptied != nil {
		t.Error("it is read though the sweep has been by")
	}
}
