package plan

import "time"

// RoundRobin lists the locations one after another, in equal turns.
type RoundRobin struct {
	next    int       // of the locations
	chosen  *Location // the last one
	askedAt time.Time
}

// Next finishes a list that was begun, then takes the location that is next in
// turn. Every other request at most goes into verification.
func (r *RoundRobin) Next(_ time.Time, v *View) Decision {
	switch {
	case v.DiscoveryDue:
		return discover(v)
	case len(v.Missing) > 0 && v.Turn%2 == 0:
		return verify(v)
	case v.Reading != nil:
		return finish(v)
	case len(v.Locations) == 0:
		return rest()
	}
	// The turn passes once the location is asked, not when it is chosen.
	for range v.Locations {
		if r.chosen != nil && !r.chosen.Asking && r.chosen.AskedAt.Equal(r.askedAt) {
			break
		}
		if r.chosen != nil {
			r.next++
		}
		r.next %= len(v.Locations)
		r.chosen = v.Locations[r.next]
		r.askedAt = r.chosen.AskedAt
	}
	return list(r.chosen, "the next in turn")
}

// SweepOnly sweeps the account again and again; where its list has no order, it
// is round robin.
type SweepOnly struct{ fallback RoundRobin }

// Next takes the next page of the sweep. One request in four at most goes into
// verification.
func (s *SweepOnly) Next(now time.Time, v *View) Decision {
	switch {
	case v.DiscoveryDue || !v.Ordered && !v.Learning:
		return s.fallback.Next(now, v)
	case proves(v):
		return verify(v)
	}
	return sweepInTurn("the next page in turn")
}

func list(l *Location, why string) Decision {
	return Decision{Look: Look{Kind: List, Location: l.ID}, Why: why}
}

func finish(v *View) Decision {
	return list(v.Reading, "its list of several pages was begun")
}

func settle(v *View) Decision {
	return list(v.Unsettled, "many of its sessions began at once, and hide each other on pages of the account's list")
}

func sweepInTurn(why string) Decision {
	return Decision{Look: Look{Kind: Sweep, InTurn: true}, Why: why}
}

func probe(why string) Decision { return Decision{Look: Look{Kind: Probe}, Why: why} }

func backfill() Decision {
	return Decision{Look: Look{Kind: Backfill}, Why: "a part of the history was missed"}
}

func verify(v *View) Decision {
	return Decision{Look: Look{Kind: Verify, Session: v.Missing[0]}, Why: "no page proves whether it is gone"}
}

func figures(v *View, why string) Decision {
	return Decision{Look: Look{Kind: Figures, Session: v.Figures}, Why: why}
}

func departures(v *View) Decision {
	return Decision{
		Look: Look{Kind: Departures, Location: v.Departures.ID}, Why: "more of its sessions began at once than a page shows, and its ended ones tell who has left",
	}
}

func rest() Decision { return Decision{Why: "no location is known"} }

// discover finds the locations.
func discover(v *View) Decision {
	if v.Surveying {
		return Decision{Look: Look{Kind: Survey}, Why: "locations are due, and the platform does not list them"}
	}
	return Decision{Look: Look{Kind: Discover}, Why: "locations are due"}
}
