package poller

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/poller/plan"
)

// TestRosterAgreesWithItself: whoever comes, is shown with another start or out of order,
// moves, is set aside and goes, each is in the rows or loose, and found.
func TestRosterAgreesWithItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := noon
		r, places := newRoster(plan.NewTrack(noon), func() time.Time { return now }), newLocations()
		at := []*location{places.add(r.track.Rates.Location("hall", now)), places.add(r.track.Rates.Location("cafe", now))}
		ids := rapid.Map(rapid.IntRange(0, 30), func(i int) string { return fmt.Sprintf("s%02d", i) })
		starts := rapid.Map(rapid.IntRange(0, 6), func(i int) (since time.Time) {
			if i > 0 {
				since = noon.Add(-time.Duration(i) * 400 * time.Millisecond)
			}
			return since
		})
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Second)
			id, m := ids.Draw(t, "id"), timing{sent: now, came: now}
			e := r.find(id)
			if e == nil {
				r.add(id, at[rapid.IntRange(0, 1).Draw(t, "at")], starts.Draw(t, "since"), m)
				continue
			}
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				r.touch(e, starts.Draw(t, "start"), m)
			case 2:
				r.displace(e)
			case 3:
				r.setAside(e)
			case 4:
				r.move(id, at[rapid.IntRange(0, 1).Draw(t, "to")])
			case 5:
				r.remove(id)
			case 6:
				r.disorder(rapid.SampledFrom([]scope{ofAccount, ofLocation}).Draw(t, "list"))
			}
			ascending(t, r)
			for _, bounds := range [][2]time.Time{{}, {noon.Add(-2 * time.Second), noon.Add(-time.Second)}} {
				found := 0
				for e := range r.looseWithin(bounds[0], bounds[1]) {
					found++
					if !r.loose[e] {
						t.Fatalf("%s is found among the loose", e.ID)
					}
				}
				for e := range r.loose {
					if !e.Start.IsZero() && (bounds[0].IsZero() || e.Start.After(bounds[0]) && e.Start.Before(bounds[1])) {
						found--
					}
				}
				if found < 0 {
					t.Fatalf("%d of the loose between %v are not found", -found, bounds)
				}
			}
		}
	})
}
