package publisher

import (
	"testing"
	"time"
)

// TestPaceGoesTheFasterWay drives a backlog of 100 batches with ways of given
// speeds, and counts what went which way.
func TestPaceGoesTheFasterWay(t *testing.T) {
	const full = 1000
	for _, c := range []struct {
		name            string
		atomic, chained time.Duration // for a batch
		disturbed       bool
		mostly          Way
	}{
		{"synced server", 50 * time.Millisecond, 700 * time.Millisecond, false, Atomic},
		{"server that does not sync", 20 * time.Millisecond, 11 * time.Millisecond, false, Chained},
		{"hardly a difference", 20 * time.Millisecond, 19 * time.Millisecond, false, Atomic},
		{"other writers", 20 * time.Millisecond, 11 * time.Millisecond, true, Atomic},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			now := time.Unix(0, 0)
			count := map[Way]int{}
			way := p.start(now)
			if way != Atomic {
				t.Fatalf("starts with %s", way)
			}
			for range 100 {
				took := c.atomic
				if way == Chained {
					took = c.chained
				}
				now = now.Add(took)
				count[way]++
				turn := p.sent(full, full, now)
				if c.disturbed && way == Chained {
					p.disturbed(now)
					turn = true
				}
				if turn {
					way = p.start(now)
				}
			}
			if count[c.mostly] < 90 {
				t.Errorf("%v", count)
			}
			p.pause(now)
			if way := p.start(now); way != Atomic {
				t.Errorf("%s without a backlog", way)
			}
		})
	}
}
