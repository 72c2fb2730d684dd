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
