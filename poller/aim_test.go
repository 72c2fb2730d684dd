package poller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestSettingAsideLeavesAPageToChoose: with the overdue sessions that no page can
// settle, blocks of the ring may go.
func TestSettingAsideLeavesAPageToChoose(t *testing.T) {
	aside, joined := 0, 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c := newCounter(t, newShelf(), noon)
		r, now := &c.roster.ring, noon.Add(time.Hour)
		for i := range 4 * blockMax {
			seen := noon
			if rng.IntN(20) > 0 {
				seen = now
			}
			c.roster.add(fmt.Sprint(i), c.place("hall", "Hall"), noon.Add(time.Duration(i)*time.Second), instant(seen))
		}
		// One session less, and two blocks are one.
		for !slices.ContainsFunc(r.blocks[1:], func(b *block) bool {
			return len(r.blocks[b.at-1].entries)+len(b.entries) == blockMax/2+1
		}) {
			c.roster.remove(fmt.Sprint(rng.IntN(4 * blockMax)))
		}
		for _, b := range r.blocks {
			b.stale = true
			for _, e := range b.entries {
				e.rate = float64(rng.IntN(2))
				if rng.IntN(9) == 0 {
					c.aim.front = []*entry{e}
				}
			}
		}
		before := len(r.blocks)
		c.choosePage(now, time.Minute)
		if c.aim.choice.number < 1 || c.aim.choice.size < 1 {
			t.Fatalf("seed %d: page %+v", seed, c.aim.choice)
		}
		if aside += len(c.roster.loose); len(r.blocks) < before {
			joined++
		}
	}
	if aside == 0 || joined == 0 {
		t.Errorf("%d set aside, blocks joined %d times: the test shows nothing", aside, joined)
	}
}
