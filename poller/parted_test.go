package poller

import (
	"fmt"
	"testing"
	"time"
)

// TestWhoHasLeftIsForgotten, while requests are under way without a pause, and not before
// the oldest of them may have been answered by what was before.
func TestWhoHasLeftIsForgotten(t *testing.T) {
	c := newCounter(t, newShelf(), noon)
	const each = time.Second
	slow := &request{sent: noon}
	c.requests.underWay = []*request{slow}
	for i := range 600 {
		now := noon.Add(time.Duration(i) * each)
		c.roster.parted[fmt.Sprint(i)] = c.roster.rows.Seconds(now)
		c.requests.underWay = append(c.requests.underWay[:1], &request{sent: now})
		c.prune(now)
	}
	if n := len(c.roster.parted); n != 600 {
		t.Errorf("%d of 600 are kept beside a request that was sent before all of them", n)
	}
	c.requests.underWay = c.requests.underWay[1:]
	c.prune(noon.Add(620 * each))
	if n, most := len(c.roster.parted), int((mostLag+pruning)/each); n == 0 || n > most {
		t.Errorf("%d of 600 are kept, want at most %d", n, most)
	}
}
