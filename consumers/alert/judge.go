package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events/alerts"
)

// Venue is a look at the figures of one location.
type Venue struct {
	Account, Location, Name string
	// LookedAt is when the platform was last asked about the location, on its clock.
	LookedAt time.Time
	// Online sessions, Devices and Guests are the figures of that look. Fewer and More
	// are by how much they may be less, and more, by now.
	Online, Devices, Guests int
	Fewer, More             int
	// Usual is how many are online at this weekday and hour usually, Basis how that is
	// known; empty where it is not.
	Usual float64
	Basis string
}

func (v *Venue) figure(name string) int {
	switch name {
	case "devices":
		return v.Devices
	case "guests":
		return v.Guests
	}
	return v.Online
}

// key names what can have one alert.
type key struct{ account, location, rule string }

// Judge decides what is raised and cleared. It is a pure fold: of looks at the figures,
// and of the events that are in the stream. It is not safe for concurrent use.
type Judge struct {
	rules  Rules
	raised map[key]alerts.Event
	since  map[key]time.Time // from when on it is so that the next event is due
	looked time.Time         // last
}

// NewJudge returns one who knows of no alert.
func NewJudge(rules Rules) *Judge {
	return &Judge{rules: rules, raised: map[key]alerts.Event{}, since: map[key]time.Time{}}
}

// Use replaces the rules. What was held by the former ones begins anew.
func (j *Judge) Use(rules Rules) {
	j.rules = rules
	clear(j.since)
}

// Take notes an event that is in the stream.
func (j *Judge) Take(e alerts.Event) {
	k := key{e.Account, e.Data.Alert.LocationID, e.Data.Alert.Rule}
	delete(j.since, k)
	if e.Kind == alerts.Raised {
		j.raised[k] = e
	} else {
		delete(j.raised, k)
	}
}

// Forget forgets all alerts, for a stream that is read anew.
func (j *Judge) Forget() { clear(j.raised) }

// Raised are the alerts that are not cleared, the latest first.
func (j *Judge) Raised() []alerts.Event {
	all := make([]alerts.Event, 0, len(j.raised))
	for _, e := range j.raised {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b alerts.Event) int { return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.ID, b.ID)) })
	return all
}

// Look returns the events that are due at a time. They count once they are handed to
// Take.
func (j *Judge) Look(now time.Time, venues []Venue) (due []alerts.Event) {
	if now.Sub(j.looked) > j.rules.Stale {
		clear(j.since) // nobody saw that it was so all the time
	}
	j.looked = now
	present := map[key]bool{}
	normal := j.normal(now, venues)
	for i := range venues {
		v := &venues[i]
		for r := range j.rules.Rules {
			rule := &j.rules.Rules[r]
			if !rule.covers(v) {
				continue
			}
			k := key{v.Account, v.Location, rule.Name}
			present[k] = true
			if e, ok := j.decide(now, k, rule, v, normal[v.Account]); ok {
				due = append(due, e)
			}
		}
	}
	for k, e := range j.raised {
		rule := j.rules.named(k.rule)
		if rule != nil && rule.What == e.Data.Alert.What && (present[k] || rule.covers(&Venue{Account: k.account, Location: k.location})) {
			continue // its location may be back in the figures soon
		}
		due = append(due, cleared(e, now, alerts.Removed))
	}
	for k := range j.since {
		if !present[k] {
			delete(j.since, k)
		}
	}
	slices.SortFunc(due, func(a, b alerts.Event) int { return strings.Compare(a.ID, b.ID) })
	return due
}

// decide returns the event that is due of one rule at one location.
func (j *Judge) decide(now time.Time, k key, rule *Rule, v *Venue, others crowd) (alerts.Event, bool) {
	standing, raised := j.raised[k]
	if raised && standing.Data.Alert.What != rule.What {
		return alerts.Event{}, false // the loop over what is raised clears it
	}
	if !rule.Hours.open(now) {
		delete(j.since, k)
		if raised {
			return cleared(standing, now, alerts.Closed), true
		}
		return alerts.Event{}, false
	}
	beyond, back := rule.compare(v, others, j.known(now, v))
	due := beyond
	if raised {
		due = back
	}
	if !due {
		delete(j.since, k)
		return alerts.Event{}, false
	}
	since, begun := j.since[k]
	if !begun {
		since = now
		j.since[k] = now
	}
	if now.Sub(since) < rule.Hold {
		return alerts.Event{}, false
	}
	if raised {
		e := cleared(standing, now, alerts.Over)
		rule.fill(&e.Data.Alert, v)
		return e, true
	}
	e := alerts.Event{Account: v.Account, Kind: alerts.Raised, Time: now, Data: alerts.Data{Revision: 1, Alert: alerts.Alert{
		Rule: rule.Name, What: rule.What, LocationID: v.Location, Since: since, RaisedAt: now,
	}}}
	rule.fill(&e.Data.Alert, v)
	return e.Sealed(), true
}

// known reports whether the figures are young enough to rest anything on them.
func (j *Judge) known(now time.Time, v *Venue) bool {
	return !v.LookedAt.IsZero() && now.Sub(v.LookedAt) <= j.rules.Stale
}

// compare says whether the figure is certain to be beyond the threshold, and whether it is
// certain to be back. It can be neither.
func (r *Rule) compare(v *Venue, others crowd, known bool) (beyond, back bool) {
	if !known {
		return false, false
	}
	value := v.figure(r.Figure)
	low, high := float64(max(0, value-v.Fewer)), float64(value+v.More)
	switch r.What {
	case alerts.Above:
		return low >= r.Threshold, high < r.Clear
	case alerts.Below:
		return high <= r.Threshold, low >= r.Clear
	case alerts.Busier:
		usual := max(v.Usual, 1)
		if v.Basis == "" {
			return false, false
		}
		return low >= r.Threshold*usual && low >= float64(r.AtLeast), high < r.Clear*usual || high < float64(r.AtLeast)
	case alerts.Silent:
		// The looks themselves must show nobody: who may have come since the last one is
		// shown by the next one.
		expected := v.Basis != "" && v.Usual >= r.Threshold
		return value == 0 && expected && others.without(v).areNormal(), value > 0
	}
	return false, false
}

// fill sets the figures of an alert as they are at the location.
func (r *Rule) fill(a *alerts.Alert, v *Venue) {
	a.Figure, a.LocationName, a.LookedAt = r.Figure, cmp.Or(v.Name, a.LocationName), v.LookedAt
	a.Value = v.figure(r.Figure)
	a.Low, a.High = max(0, a.Value-v.Fewer), a.Value+v.More
	a.Threshold, a.Usual, a.Basis = r.Threshold, nil, v.Basis
	if v.Basis != "" {
		usual := v.Usual
		a.Usual = &usual
		if r.What == alerts.Busier {
			a.Threshold = r.Threshold * max(usual, 1)
		}
	}
}

// cleared returns the end of an alert.
func cleared(e alerts.Event, at time.Time, why alerts.Reason) alerts.Event {
	e.Kind, e.Time, e.Data.Revision = alerts.Cleared, at, 2
	e.Data.Alert.ClearedAt, e.Data.Alert.Reason = at, why
	return e.Sealed()
}

// crowd are the locations of an account where guests are expected: how many there are,
// and how many of them have at least half of what is usual.
type crowd struct{ expected, normal int }

// expects is how many sessions online are usual where guests count as expected, for the
// comparison with other locations.
const expects = 3

func crowdOf(v *Venue) crowd {
	if v.Basis == "" || v.Usual < expects {
		return crowd{}
	}
	c := crowd{expected: 1}
	if 2*float64(v.Online) >= v.Usual {
		c.normal = 1
	}
	return c
}

// normal counts by account, of figures that are known.
func (j *Judge) normal(now time.Time, venues []Venue) map[string]crowd {
	all := map[string]crowd{}
	for i := range venues {
		if v := &venues[i]; j.known(now, v) {
			c, one := all[v.Account], crowdOf(v)
			all[v.Account] = crowd{c.expected + one.expected, c.normal + one.normal}
		}
	}
	return all
}

func (c crowd) without(v *Venue) crowd {
	one := crowdOf(v)
	return crowd{c.expected - one.expected, c.normal - one.normal}
}

// areNormal reports whether most have their guests, and there are enough to tell.
func (c crowd) areNormal() bool { return c.expected >= 2 && 2*c.normal > c.expected }
