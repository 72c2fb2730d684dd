package poller

import (
	"time"

	"github.com/guestflow/guestflow/poller/platform"
)

// Kind of a look.
type Kind int

const (
	// Rest: nothing is worth asking for now.
	Rest Kind = iota
	// List: the next page of one location's online sessions.
	List
	// Verify: is one missing session online anywhere? Asked for its guest, so the
	// answer fits one page, which is one query.
	Verify
	// Discover: the next page of the account's locations.
	Discover
	// Sweep: the next page of the account's online sessions, in the list's order.
	Sweep
	// Probe: the end of the account's history at which the newest sessions stand.
	Probe
	// Survey: the next page of the account's online sessions, to learn locations
	// where the platform does not list them.
	Survey
	// Figures: the history of the guest of a session that has ended, for the
	// platform's own record of the end.
	Figures
	// Backfill: the next page of a part of the account's history that was missed.
	Backfill
	// Past: the next page of the history from before tracking began; see
	// Poller.Backfill. Asked beside what the strategy chooses.
	Past
	// Count: how many sessions are online by the platform's own count; asked beside
	// what the strategy chooses.
	Count
	// Identify: who is behind the addresses of up to 100 arrivals; guest.Lookup asks
	// for it beside what the strategy chooses.
	Identify
)

func (k Kind) String() string {
	return [...]string{"rest", "list", "verify", "discover", "sweep", "probe", "survey", "figures", "backfill", "past", "count", "identify"}[k]
}

// Endpoint is the one whose budget a look of the kind spends.
func (k Kind) Endpoint() platform.Endpoint {
	switch k {
	case Discover:
		return platform.Locations
	case Count:
		return platform.Count
	case Identify:
		return platform.Guests
	}
	return platform.Sessions
}

// Look is one request that a strategy chose.
type Look struct {
	Kind     Kind
	Location string // of List
	Session  string // of Verify and Figures
	// InTurn asks a Sweep for the page behind the last one, not the one that is
	// worth most.
	InTurn bool

	window window // of Sweep
}

// Strategy chooses the next request. It is asked at the moment at which a
// request may go out, so it decides on the newest knowledge; it must not keep
// the estate.
type Strategy interface {
	Next(now time.Time, e *Estate) Look
}

// Estate is what a strategy decides on.
type Estate struct {
	// Turn counts the requests so far.
	Turn int
	// Places in the order in which they became known.
	Places []*Place
	// Online is how many sessions are known to be online.
	Online int
	// Reading is the location whose list has further pages to read; nil is none.
	Reading *Place
	// Missing holds sessions that lists failed to show, without proof that they
	// are gone.
	Missing []string
	// DiscoveryDue is true when the locations are to be asked for again, Surveying
	// when they are learned from the account's sessions.
	DiscoveryDue, Surveying bool
	// Budget is how many requests a second the list of sessions allows.
	Budget float64
	// Ordered is true while the account's list is sorted by start, so that one page
	// proves who is not on it; Learning while that is being found out. Whole is true
	// while one page is all of the list.
	Ordered, Learning, Whole bool
	// Promising is true while the list has no order and no page has contradicted one:
	// there is not enough evidence yet.
	Promising bool
	// Sweeping is true while a page of the account's list is under way.
	Sweeping bool
	// Unsettled is a location at which many sessions began at once, so that pages hide
	// some of them, and others probably ended: its own list tells. Nil is none.
	Unsettled *Place
	// Hidden is the part of the list that the last complete reading of several pages
	// probably did not show.
	Hidden float64
	// Overdue is the age from which a session's page is swept before all others;
	// zero never. It is for the strategy to set.
	Overdue time.Duration
	// Due is true while the sweep's next page is such a one.
	Due bool
	// SweepGain is what the next page of the account's list would bring. Gains are
	// expected undetected changes times the half of how long they have waited.
	SweepGain float64
	// Probing is true where arrivals can be read from the end of the account's
	// history, ProbeAge how long ago they were.
	Probing  bool
	ProbeAge time.Duration
	// Figures is the session whose end waits for its final figures and is most
	// worth asking about, empty where there is none; FiguresGain what that would
	// bring.
	Figures     string
	FiguresGain float64
	// Price is what the strategy's choices bring a request, smoothed. A strategy
	// that keeps it zero asks for no final figures.
	Price float64
	// Late is for the strategy to say that the budget does not permit the maximum
	// staleness.
	Late bool
	// Missed is true while a part of the account's history is to be read that was
	// missed.
	Missed bool
	// Hazard is the rate at which one of the account's sessions ends, per second.
	Hazard float64

	// roots is what the square roots of the rates at which sessions end add up to,
	// squared and divided by the sessions on a page: of a list of P pages whose
	// sessions all end at the same rate, P times the rate of ends.
	roots    float64
	began    time.Time // local clock: that of the places' sums
	arrivals float64   // the rate at which the account's sessions start, per second
	learned  learned
	day      day
	// usualHazard is that of the account over a week, startsNow by how much more
	// sessions start at this hour than usual.
	usualHazard, startsNow float64
}

// RoundRobin lists the locations one after another, in equal turns.
type RoundRobin struct {
	next    int    // of the places
	chosen  *Place // the last one
	askedAt time.Time
}

// Next finishes a list that was begun, then takes the location that is next in
// turn. Every other request at most goes into verification.
func (r *RoundRobin) Next(_ time.Time, e *Estate) Look {
	if look, ok := urgent(e); ok {
		return look
	}
	if len(e.Places) == 0 {
		return Look{Kind: Rest}
	}
	// The turn passes once the location is asked, not when it is chosen.
	for range e.Places {
		if r.chosen != nil && !r.chosen.asking && r.chosen.AskedAt.Equal(r.askedAt) {
			break
		}
		if r.chosen != nil {
			r.next++
		}
		r.next %= len(e.Places)
		r.chosen = e.Places[r.next]
		r.askedAt = r.chosen.AskedAt
	}
	return Look{Kind: List, Location: r.chosen.ID}
}

// discover finds the locations.
func discover(e *Estate) Look {
	if e.Surveying {
		return Look{Kind: Survey}
	}
	return Look{Kind: Discover}
}

// urgent is what comes before any location: finding them, every other request at
// most what is missing, and finishing a list that was begun.
func urgent(e *Estate) (Look, bool) {
	switch {
	case e.DiscoveryDue:
		return discover(e), true
	case len(e.Missing) > 0 && e.Turn%2 == 0:
		return Look{Kind: Verify, Session: e.Missing[0]}, true
	case e.Reading != nil:
		return Look{Kind: List, Location: e.Reading.ID}, true
	}
	return Look{}, false
}
