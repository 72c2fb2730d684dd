package poller

import "github.com/guestflow/guestflow/poller/plan"

// AddressPlan is what is known of checks by address; see Poller.Addresses.
type AddressPlan struct {
	// On is true where they are made, Established once what they tell is proof, Useless
	// where they tell nothing sooner than the lists do.
	On, Established, Useless bool
	// Live and Gone count the cases that agreed with the lists since the last
	// contradiction, of those needed.
	Live, LiveNeeded, Gone, GoneNeeded int
	// Stayed counts the sessions that kept their address until they ended, in the same way.
	Stayed, StayedNeeded int
	// Contradictions counts those that did not, Lost how often checks were proof until
	// one.
	Contradictions, Lost int
	// Alone is the share of the sessions online whose address nobody else is known to
	// have, Located that of those whose address is known.
	Alone, Located float64
	// Forecast is what they permit, once established; zero where they share a budget with
	// the lists, or nothing is known yet.
	Forecast plan.AddressForecast
}

func (c *checks) status() AddressPlan {
	made := AddressPlan{
		On: c.Addresses != nil, Established: c.Established(), Useless: !c.wanted(),
		Live: c.Live, Gone: c.Gone, Contradictions: c.Contradictions, Lost: c.Lost,
	}
	made.Stayed = c.Stayed
	made.LiveNeeded, made.GoneNeeded, made.StayedNeeded = c.Needed()
	if n := float64(c.roster.len()); n > 0 {
		made.Alone, made.Located = float64(c.roster.book.askable)/n, float64(c.roster.book.known)/n
	}
	return made
}
