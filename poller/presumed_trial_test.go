//go:build trial

package poller_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

var (
	presumedSeeds = flag.Uint64("presumed-seeds", 4, "how many lives of each kind TestPresumedEndsAreTrue tries")
	presumedFrom  = flag.Uint64("presumed-from", 1, "the first seed of TestPresumedEndsAreTrue")
)

// TestPresumedEndsAreTrue counts how many presumed ends are false, where lists without order
// are read while rows move, access points restart and more sessions end than could be asked
// about. Fewer than 1 in 10,000 may be.
func TestPresumedEndsAreTrue(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| list | online | times real | lives | ends | presumed | presumed falsely |\n|---|---|---|---|---|---|---|\n")
	presumed, falsely := 0, 0
	for _, order := range []simulator.Order{simulator.Unordered, simulator.Moving} {
		for _, size := range []struct{ online, speed float64 }{{310, 12}, {500, 12}, {1500, 3}} {
			p, f, all := 0, 0, 0
			for seed := range *presumedSeeds {
				ends, pp, ff := presumedEnds(t, order, size.online, size.speed, *presumedFrom+seed)
				all, p, f = all+ends, p+pp, f+ff
			}
			presumed, falsely = presumed+p, falsely+f
			fmt.Fprintf(&b, "| %v | %g | %g | %d | %d | %d | %d |\n", order, size.online, size.speed, *presumedSeeds, all, p, f)
		}
	}
	t.Log(b.String())
	if falsely > presumed/10_000 {
		t.Errorf("%d of %d presumed ends are false", falsely, presumed)
	}
}

// presumedEnds lives an hour of one venue, and counts its ends, those that were presumed, and
// those that were false.
func presumedEnds(t *testing.T, order simulator.Order, online, speed float64, seed uint64) (ends, presumed, falsely int) {
	cfg := town()
	cfg.Seed, cfg.Speed, cfg.Order, cfg.RebootsPerHour, cfg.Ties = seed, speed, order, 1, order == simulator.Unordered
	cfg.Locations = cfg.Locations[:1]
	cfg.Locations[0].MeanOnline = online
	l := newLab(t, cfg, adaptive)
	l.run(time.Hour)
	for _, e := range l.events() {
		if e.Kind == events.Ended {
			ends++
			if e.Data.Observed.End == events.EndPresumed {
				presumed++
			}
		}
	}
	report := (&simulator.Checker{Until: l.clock.Now(), Passes: 1000}).Check(l.truth.All(), l.events())
	if falsely = report.Counts[simulator.FalseEnd]; falsely > 0 {
		t.Logf("seed %d, %v, %g online: %v", seed, order, online, report)
	}
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	return ends, presumed, falsely
}
