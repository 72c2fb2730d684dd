package freshness

import (
	"math"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
)

// gauge reads from a poller now and then how old is what it knows, and whether addresses
// are proof.
type gauge struct {
	run              *Run
	row              *Row
	lengths          []length
	measured, proven float64 // readings, and those while they were
}

// length is how many sessions were online at a time.
type length struct {
	at     time.Time
	online int
}

// read takes a reading, where the last one is some seconds old. Ages count only while no
// restart makes them older.
func (g *gauge) read(now time.Time, p *poller.Poller, sim *simulator.Simulator, o *observer) {
	if n := len(g.lengths); n > 0 && now.Sub(g.lengths[n-1].at) < 5*time.Second {
		return
	}
	g.lengths = append(g.lengths, length{now, sim.Count(simulator.Query{Online: simulator.Online})})
	if now.Sub(epoch) < g.run.Warmup {
		return
	}
	status := p.Status(now)
	g.measured++
	if g.row.Contradictions = status.Plan.Addresses.Contradictions; status.Plan.Addresses.Established {
		g.proven++
	}
	g.row.Proof = g.proven / g.measured
	if !o.died.IsZero() && now.Before(o.settled) {
		return
	}
	age := status.Staleness()
	g.row.MaxStaleness = max(g.row.MaxStaleness, age.Seconds())
	g.row.RatioAge = max(g.row.RatioAge, age.Seconds()/oldest(longest(g.lengths, now.Add(-age)), g.run.Order))
}

// longest is the greatest length since a time: an age is the work of the list as
// it was meanwhile.
func longest(lengths []length, since time.Time) int {
	n := 0
	for i := len(lengths) - 1; i >= 0; i-- {
		if n = max(n, lengths[i].online); lengths[i].at.Before(since) {
			break
		}
	}
	return n
}

// oldest is the age that no location should exceed, in seconds: two rounds of the
// list beside the probes for arrivals, where it is sorted so that there can be any.
func oldest(online int, order simulator.Order) float64 {
	pages, probes := max(1, math.Ceil(float64(online)/100)), 0.0
	if order == simulator.NewestFirst || order == simulator.OldestFirst {
		probes = 1 / (1 + math.Sqrt(pages))
	}
	return 2 * pages / (1 - probes)
}
