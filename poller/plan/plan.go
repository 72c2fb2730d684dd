package plan

import "time"

// Strategy chooses the next request. It is asked at the moment at which a request
// may go out, so it decides on the newest knowledge. It must not change the View,
// nor keep it; what it has to remember from one decision to the next is its own.
type Strategy interface {
	Next(now time.Time, v *View) Decision
}

// View is what is known of the account when a request may go out. Times are on the
// local clock.
type View struct {
	// Turn counts the requests so far.
	Turn int
	// Locations in the order in which they became known.
	Locations []*Location
	// Online is how many sessions are known to be online.
	Online int
	// Budget is how many requests a second the list of sessions allows.
	Budget float64
	// Rates at which sessions come and go.
	Rates *Rates
	// Track has the sessions as the account's list has them, and says where on its
	// pages they are to be expected; Asked are the pages under way.
	Track *Track
	Asked []Window
	// Placed reports whether a session of the list was shown in its position there. Of
	// others no page says that they are gone.
	Placed func(*Row) bool

	// Ordered is true while the account's list is sorted by start, so that one page
	// proves who is not on it; Learning while that is being found out. Whole is true
	// while one page is all of the list.
	Ordered, Learning, Whole bool
	// Promising is true while the list has no order and no page has contradicted one:
	// there is not enough evidence yet.
	Promising bool
	// Sweeping is true while a page of the account's list is under way.
	Sweeping bool
	// DiscoveryDue is true when the locations are to be asked for again, Surveying
	// when they are learned from the account's sessions.
	DiscoveryDue, Surveying bool
	// Reading is the location whose list has further pages to read; nil is none.
	Reading *Location
	// Unsettled is a location at which many sessions began at once, so that pages hide
	// some of them, and others probably ended: its own list tells. Nil is none.
	Unsettled *Location
	// Departures is a location at which more sessions began at once than a page shows, of
	// which its ended sessions tell, and DeparturesGain what a page of these brings; nil is
	// none. Followed reports whether a session is one of those of whom that was read lately.
	Departures     *Location
	DeparturesGain float64
	Followed       func(*Row) bool
	// Missing holds the ids of sessions that lists failed to show, without proof that
	// they are gone. The first is the one most worth a question.
	Missing []string
	// Sooner is true where further readings settle most of them sooner than questions do:
	// ends that many readings agree on need no proof.
	Sooner bool
	// Probing is true where arrivals can be read from the end of the account's
	// history, ProbeAge how long ago they were.
	Probing  bool
	ProbeAge time.Duration
	// Missed is true while a part of the account's history is to be read that was
	// missed.
	Missed bool
	// AddressGain is what a request about addresses would bring, where it spends the
	// same budget as the list of sessions; zero where there is none.
	AddressGain float64
	// Beside is how many requests a second go into addresses on a budget of their own,
	// times the share of the sessions that can be asked about so.
	Beside float64
	// Figures is the session whose end waits for its final figures and is most
	// worth asking about, empty where there is none; FiguresGain what that would
	// bring. Gains are expected undetected changes times the half of how long they
	// have waited, in seconds.
	Figures     string
	FiguresGain float64
}

// perPage is how many records a page has.
func (v *View) perPage() float64 {
	if v.Track == nil {
		return MaxPerPage
	}
	return float64(v.Track.Size)
}

// Decision is what a strategy made of a View.
type Decision struct {
	Look
	// Why is the reason, for a person.
	Why string
	// Aside are sessions that no page can settle: they are taken out of the rows, and
	// asked about one by one.
	Aside []*Row
	// Price is what the decisions bring a request, smoothed, as a gain. Where it is
	// zero nothing is asked that only brings final figures.
	Price float64
	// Overdue is the age from which a session is read before all others; zero never.
	Overdue time.Duration
	// Late says that the budget does not permit the maximum staleness.
	Late bool
}
