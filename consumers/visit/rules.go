package visit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Defaults of Rules.
const (
	DefaultGap      = 30 * time.Minute
	DefaultLateness = 5 * time.Minute
)

// Rules say what a visit is. The zero value has the defaults, no thresholds and no
// groups.
type Rules struct {
	// Gap is the longest silence, without any session online, that a visit outlasts. A
	// guest who comes back later begins another visit. Default DefaultGap.
	Gap time.Duration
	// Lateness is how late a change may become known: so much longer a stay or an end
	// waits, since a session that began or ended before may still show. It should not be
	// shorter than the time that a look at every location takes. Default DefaultLateness.
	Lateness time.Duration
	// Stays are the lengths of stay that get an event of their own.
	Stays []time.Duration
	// Groups are places of several locations, by name. Going from one to another is not
	// leaving. A location is in one group at most.
	Groups map[string][]string
	// Grouped are more of such places, whose locations are of one account each.
	Grouped []Grouped
	// Memory is how long a guest is remembered after a visit, for the number of the next
	// one. 0 remembers nobody: then no visit has a number.
	Memory time.Duration
	// Lapsed is after which time without a visit to the place an event tells that a guest
	// has lapsed; 0 is never.
	Lapsed time.Duration
}

// Grouped is a location that is part of a group.
type Grouped struct{ Account, Location, Group string }

// Check returns what is wrong with the rules.
func (r Rules) Check() error {
	var errs []error
	if r.Gap < 0 || r.Lateness < 0 {
		errs = append(errs, errors.New("visits: gap and lateness must not be negative"))
	}
	if r.Memory < 0 || r.Lapsed < 0 || r.Lapsed%time.Second != 0 {
		errs = append(errs, errors.New("visits: memory and the time of lapsing must not be negative, and the latter is in whole seconds"))
	}
	if r.Lapsed > r.Memory {
		errs = append(errs, fmt.Errorf("visits: a guest who is forgotten after %v cannot lapse after %v", r.Memory, r.Lapsed))
	}
	for _, d := range r.Stays {
		if d < time.Second || d%time.Second != 0 {
			errs = append(errs, fmt.Errorf("visits: a stay of %v: use whole seconds, 1s or more", d))
		}
	}
	in := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Groups)) {
		if name == "" {
			errs = append(errs, errors.New("visits: a group has no name"))
		}
		for _, location := range r.Groups[name] {
			if other, ok := in[location]; ok {
				errs = append(errs, fmt.Errorf("visits: location %s is in the groups %s and %s; a location is in one group at most", location, other, name))
			}
			in[location] = name
		}
	}
	of := map[[2]string]string{}
	for _, g := range r.Grouped {
		key := [2]string{g.Account, g.Location}
		switch other, ok := of[key]; {
		case g.Group == "":
			errs = append(errs, errors.New("visits: a group has no name"))
		case ok && other != g.Group || in[g.Location] != "":
			errs = append(errs, fmt.Errorf("visits: location %s of account %s is in the groups %s and %s; a location is in one group at most", g.Location, g.Account, cmp.Or(other, in[g.Location]), g.Group))
		}
		of[key] = g.Group
	}
	return errors.Join(errs...)
}

func (r Rules) withDefaults() Rules {
	if r.Gap == 0 {
		r.Gap = DefaultGap
	}
	if r.Lateness == 0 {
		r.Lateness = DefaultLateness
	}
	r.Stays = slices.Compact(slices.Sorted(slices.Values(r.Stays)))
	return r
}

// grouping tells the group of each location that is in one.
type grouping struct {
	everywhere map[string]string // by location, of whichever account
	accounts   map[[2]string]string
}

func (r Rules) grouping() grouping {
	g := grouping{map[string]string{}, map[[2]string]string{}}
	for name, locations := range r.Groups {
		for _, location := range locations {
			g.everywhere[location] = name
		}
	}
	for _, one := range r.Grouped {
		g.accounts[[2]string{one.Account, one.Location}] = one.Group
	}
	return g
}

// of returns the group of a location, and false where it is in none.
func (g grouping) of(account, location string) (string, bool) {
	if name, ok := g.accounts[[2]string{account, location}]; ok {
		return name, true
	}
	name, ok := g.everywhere[location]
	return name, ok
}

// within are the locations of an account's group.
func (r Rules) within(account, group string) []string {
	list := slices.Clone(r.Groups[group])
	for _, one := range r.Grouped {
		if one.Account == account && one.Group == group {
			list = append(list, one.Location)
		}
	}
	return list
}
