package poller

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// State of an account's polling.
type State string

const (
	// Starting: nothing was seen yet.
	Starting State = "starting"
	// Polling: all is well.
	Polling State = "polling"
	// Waiting: the platform refuses or fails, and is asked again after a pause.
	Waiting State = "waiting"
	// Paused: the outbox is full.
	Paused State = "paused"
	// Stopped: the platform refuses the token. A person has to act.
	Stopped State = "stopped"
)

// Status is a moment of an account's polling. Times are on the local clock.
type Status struct {
	At        time.Time
	State     State
	Error     string // the newest, of what State says; empty while Polling
	Locations []LocationStatus
	Budgets   []BudgetStatus
	Plan      Plan
}

// Plan is what was learned of the account, and what the planner can make of it.
type Plan struct {
	// Order of the account's list: newest first, oldest first, learning, or none.
	// Sorted by start, one page proves who is gone; without order only whole lists do.
	Order string
	// Missing counts the sessions that wait for proof that they are gone, Hidden is
	// the part of the list that its last reading of several pages did not show.
	Missing int
	Hidden  float64
	// Displaced counts the sessions that stand out of the list's order.
	Displaced int
	// Lag is how far behind answers may be, by what they showed of late; zero where none
	// was.
	Lag time.Duration
	// Settling is for how long yet the starts of sessions have to stay, where they changed,
	// before a page proves an end by them again.
	Settling time.Duration
	// Roams is true once a session was seen to move between locations, so that a
	// missing one is asked about before it counts as ended.
	Roams bool
	// Gaps counts the parts of the history that were missed and are still being
	// read.
	Gaps int
	// Past says how far the history from before tracking began was read.
	Past PastStatus
	// Addresses is what is known of checks by address.
	Addresses AddressPlan
	// Pending counts the ends that wait for their final figures.
	Pending int
	// Count compares what is known with the platform's own count.
	Count Count
	// Starts and Ends are learned rates of the whole account, an hour.
	Starts, Ends float64
	// Late is true while the budget does not permit the maximum staleness.
	Late bool
	// Forecast is what this account permits, given an order and the default
	// weights.
	Forecast plan.Forecast
	// Look is the newest decision, Why its reason.
	Look plan.Kind
	Why  string
}

// LocationStatus is what Status says of one location.
type LocationStatus struct {
	ID, Name string
	Online   int
	// Age is how long ago its state was last certain; see plan.Location.Age.
	Age time.Duration
	// Starts and Ends are learned rates, an hour.
	Starts, Ends float64
	// Seen is false while it was never read completely.
	Seen bool
}

// BudgetStatus is what Status says of one endpoint's budget.
type BudgetStatus struct {
	Endpoint    platform.Endpoint
	Used, Limit int // requests of the last budget.Window
}

// Online returns how many sessions are online in all locations.
func (s Status) Online() int {
	n := 0
	for _, l := range s.Locations {
		n += l.Online
	}
	return n
}

// Staleness returns the greatest age of a location.
func (s Status) Staleness() time.Duration {
	var longest time.Duration
	for _, l := range s.Locations {
		longest = max(longest, l.Age)
	}
	return longest
}

// Ready reports whether every location was read once and polling goes on.
func (s Status) Ready() bool {
	for _, l := range s.Locations {
		if !l.Seen {
			return false
		}
	}
	return (s.State == Polling || s.State == Waiting) && len(s.Locations) > 0
}

// board is where the poller's goroutine meets others: it shows them the newest
// status, and takes what Backfill asks for.
type board struct {
	mu       sync.Mutex
	status   Status
	backfill time.Time
}

func (b *board) ask(since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backfill = since
}

// asked returns what was asked for since the last call; zero is nothing.
func (b *board) asked() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := b.backfill
	b.backfill = time.Time{}
	return since
}

func (b *board) read() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *board) write(s Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s
}

// Status returns the newest status. Ages are as of now.
func (p *Poller) Status(now time.Time) Status {
	s := p.board.read()
	if s.State == "" {
		s.State = Starting
	}
	s.Locations = slices.Clone(s.Locations)
	for i := range s.Locations {
		s.Locations[i].Age += now.Sub(s.At)
	}
	s.At = now
	for endpoint, b := range p.Budgets {
		used, limit := b.Used(now)
		s.Budgets = append(s.Budgets, BudgetStatus{endpoint, used, limit})
	}
	return s
}

// publishing is the time between two publications of the status, for each
// location: it copies all of them. It is never less than a second.
const publishing = 1 * time.Millisecond

// publishStatus makes the newest status visible to other goroutines.
func (p *Poller) publishStatus(now time.Time) {
	last := p.board.read()
	state, text := p.state()
	if state == last.State && text == last.Error && now.Sub(last.At) < max(time.Second, time.Duration(len(p.watched.all))*publishing) {
		return
	}
	next := Status{At: now, State: state, Error: text, Locations: make([]LocationStatus, len(p.watched.all)), Plan: p.reckon()}
	longest := time.Duration(math.MaxInt64)
	if at := p.certain(now); !at.IsZero() {
		longest = now.Sub(at)
		if oldest := p.roster.oldest(now); oldest != nil {
			longest = max(longest, now.Sub(oldest.Seen))
		}
	}
	for i, location := range p.watched.all {
		next.Locations[i] = LocationStatus{
			ID: location.ID, Name: location.name, Online: location.Online, Age: min(location.Age(now), longest), Seen: !location.SeenAt.IsZero(),
			Starts: 3600 * p.rates().StartsAt(&location.Location), Ends: 3600 * p.rates().HazardAt(&location.Location) * float64(location.Online),
		}
	}
	p.board.write(next)
	if late := p.planned.Late; late != p.late {
		p.late = late
		if late {
			p.Logger.Warn("the requests that the platform allows do not permit the maximum staleness: raise GUESTFLOW_MAX_STALENESS, ask for a higher limit, or split the locations over two keys",
				"online", p.roster.len(), "round", next.Plan.Forecast.Round())
		} else {
			p.Logger.Info("the maximum staleness can be kept again")
		}
	}
}

// reckon says what was learned of the account, and what the planner can make of it.
func (p *Poller) reckon() Plan {
	v, online := &p.view, p.roster.len()
	made := Plan{
		Order: "none", Roams: p.roaming, Gaps: len(p.history.probe.Gaps), Pending: len(p.pending.ends), Late: p.planned.Late, Count: p.counting.Count,
		Past: p.history.status(), Addresses: p.checks.status(), Missing: len(p.missing.ids), Hidden: p.missing.hidden, Lag: p.lagging(p.Clock.Now()), Settling: p.settling(), Look: p.planned.Kind, Why: p.planned.Why,
		Starts: 3600 * p.rates().Starts(), Ends: 3600 * p.rates().Hazard() * float64(online),
	}
	for loose := range p.roster.loose {
		if loose.in[ofAccount].displaced {
			made.Displaced++
		}
	}
	switch {
	case v.Ordered:
		made.Order = string(p.accountList.Direction)
	case v.Learning:
		made.Order = "learning"
	}
	if v.Budget > 0 {
		limit := v.Budget * budget.Window.Seconds()
		made.Forecast = plan.NewForecast(online, max(1, len(p.watched.all)), limit, 1)
		if p.checks.beside() {
			made.Addresses.Forecast = plan.NewAddressForecast(online, limit, made.Addresses.Alone, 1)
		}
	}
	return made
}

func (p *Poller) state() (State, string) {
	state, text := Polling, ""
	if len(p.watched.all) == 0 {
		state = Starting
	}
	for endpoint, r := range p.requests.rests {
		switch {
		case r.Refused && endpoint == platform.Sessions:
			return Stopped, r.Err.Error()
		case endpoint == platform.Sessions || len(p.watched.all) == 0:
			state, text = Waiting, r.Err.Error()
		}
	}
	if p.commits.full != nil {
		return Paused, p.commits.full.Error()
	}
	return state, text
}
