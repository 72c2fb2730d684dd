package poller

import (
	"time"

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
}

// LocationStatus is what Status says of one location.
type LocationStatus struct {
	ID, Name string
	Online   int
	// Age is how long ago its state was last certain; see Place.Age.
	Age time.Duration
	// Seen is false while it was never read completely.
	Seen bool
}

// BudgetStatus is what Status says of one endpoint's budget.
type BudgetStatus struct {
	Endpoint    platform.Endpoint
	Used, Limit int // requests of the last Window
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

// Status returns the newest status. Ages are as of now.
func (p *Poller) Status(now time.Time) Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	if s.State == "" {
		s.State = Starting
	}
	s.Locations = append([]LocationStatus(nil), s.Locations...)
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

// publishStatus makes the newest status visible to other goroutines, at most
// once a second: it copies every place.
func (p *Poller) publishStatus(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state, text := p.state()
	if state == p.status.State && text == p.status.Error && now.Sub(p.status.At) < time.Second {
		return
	}
	p.status = Status{At: now, State: state, Error: text, Locations: make([]LocationStatus, len(p.estate.Places))}
	for i, place := range p.estate.Places {
		p.status.Locations[i] = LocationStatus{place.ID, place.Name, place.Online, place.Age(now), !place.SeenAt.IsZero()}
	}
}

func (p *Poller) state() (State, string) {
	state, text := Polling, ""
	if len(p.places) == 0 {
		state = Starting
	}
	for endpoint, r := range p.rests {
		switch {
		case r.refused && endpoint == platform.Sessions:
			return Stopped, r.err.Error()
		case endpoint == platform.Sessions || len(p.places) == 0:
			state, text = Waiting, r.err.Error()
		}
	}
	if p.full != nil {
		return Paused, p.full.Error()
	}
	return state, text
}
