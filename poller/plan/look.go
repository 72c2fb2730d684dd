package plan

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
	// Past: the next page of the history from before tracking began, on request; asked
	// beside what the strategy chooses.
	Past
	// Count: how many sessions are online by the platform's own count; asked beside
	// what the strategy chooses.
	Count
	// Identify: who is behind the addresses of up to 100 arrivals; asked beside
	// what the strategy chooses.
	Identify
	// Addresses: are up to 100 sessions online still, by their addresses; asked beside
	// what the strategy chooses where the look-up has a budget of its own.
	Addresses
	// Departures: the next page of the ended sessions of a location at which so many began
	// at once that no page of the others proves who of them is gone.
	Departures
)

func (k Kind) String() string {
	return [...]string{"rest", "list", "verify", "discover", "sweep", "probe", "survey", "figures", "backfill", "past", "count", "identify", "addresses", "departures"}[k]
}

// Look is one request that a strategy chose.
type Look struct {
	Kind     Kind
	Location string // of List and Departures
	Session  string // of Verify and Figures
	// InTurn asks a Sweep for the page behind the last one, not for one that was
	// chosen.
	InTurn bool
	// Page is the one that was chosen for a Sweep. For is the session for which it
	// was, if any; Follows is true where it goes on from the page before.
	Page    Window
	For     *Row
	Follows bool
}

// MaxPerPage is the platform's documented maximum of records a request.
const MaxPerPage = 100

// Window is one page of a list: Number, counted from 1, of Size records.
type Window struct{ Number, Size int }

// Start is the position at which the page begins, counted from 0.
func (w Window) Start() int { return (w.Number - 1) * w.Size }

// End is the position behind the page's last record.
func (w Window) End() int { return w.Number * w.Size }
