package poller

import (
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// A list is as long as it is: no number of pages ends its reading.
func TestReadingOfALongListEndsWithTheList(t *testing.T) {
	t.Parallel()
	const online = 510_000
	r := newReading(time.Now(), 0)
	for done, n := false, 0; !done; n++ {
		w := r.next()
		end := min(online, w.Start()+w.Size)
		page := platform.Page{Records: end - w.Start(), PerPage: w.Size, More: end < online, Sessions: make([]events.Session, end-w.Start())}
		for i := range page.Sessions {
			page.Sessions[i].ID = fmt.Sprint(w.Start() + i)
		}
		if done = r.add(page, timing{}); n > online/50 {
			t.Fatalf("%d pages were not enough", n)
		}
	}
	if len(r.shown) != online {
		t.Errorf("it ended after %d of %d sessions", len(r.shown), online)
	}
}

// While an answer is awaited, so many may arrive that many pages in a row show only who
// was shown before: the list goes on behind them.
func TestReadingGoesOnWhereArrivalsMovedTheList(t *testing.T) {
	t.Parallel()
	const online, came = 20_000, 5000
	r := newReading(time.Now(), 0)
	for done := false; !done; {
		w, arrived := r.next(), 0
		if r.pages >= 30 {
			arrived = came // They stand first.
		}
		end := min(online+arrived, w.Start()+w.Size)
		page := platform.Page{Records: end - w.Start(), PerPage: w.Size, More: end < online+arrived, Sessions: make([]events.Session, end-w.Start())}
		for i := range page.Sessions {
			page.Sessions[i].ID = fmt.Sprint(w.Start() + i - arrived)
		}
		if done = r.add(page, timing{}); r.pages > 1000 {
			t.Fatal("it does not end")
		}
	}
	if len(r.shown) < online || r.repeats {
		t.Errorf("it ended after %d of %d sessions", len(r.shown), online)
	}
}

// TestReadingOfPagesThatComeRoundEnds, though no two in a row are the same.
func TestReadingOfPagesThatComeRoundEnds(t *testing.T) {
	t.Parallel()
	r := newReading(time.Now(), 0)
	for done := false; !done; {
		w := r.next()
		page := platform.Page{Records: w.Size, PerPage: w.Size, More: true, Sessions: make([]events.Session, w.Size)}
		for i := range page.Sessions {
			page.Sessions[i].ID = fmt.Sprint(r.pages%3, " ", i)
		}
		if done = r.add(page, timing{}); r.pages > 150 {
			t.Fatal("it does not end")
		}
	}
	if !r.repeats {
		t.Error("nobody learns why it ended")
	}
}
