package alert

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/internal/group"
)

// Rules are a checked rules file.
type Rules struct {
	// Stale is the age at which figures are too old for anything to rest on them.
	Stale time.Duration
	Rules []Rule
}

// Rule is one entry of the file.
type Rule struct {
	Name string
	What alerts.What
	// Figure is "online", "devices" or "guests".
	Figure string
	// Threshold raises the alert, Clear clears it. Of Busier both are factors of what is
	// usual; of Silent, Threshold is how many sessions online are usual where guests are
	// expected, and one guest clears it.
	Threshold, Clear float64
	// AtLeast is the figure below which nothing is busier than usual.
	AtLeast int
	// Hold is how long it must be so before the alert is raised, and not so before it is
	// cleared.
	Hold time.Duration
	// Locations are globs in the syntax of path.Match over location ids, Accounts names;
	// empty means all.
	Locations, Accounts []string
	// Groups are ids of those whose locations the rule is for; empty means all.
	Groups []string
	// Hours are when the rule is for, in the file's zone; none is always.
	Hours Hours

	in *group.Set // the locations of Groups; nil for all
}

// String says when the alert is raised and cleared.
func (r Rule) String() string {
	text := fmt.Sprintf("%s: raised ", r.Name)
	switch r.What {
	case alerts.Above:
		text += fmt.Sprintf("at %v %s or more for %v, cleared below %v", r.Threshold, r.Figure, r.Hold, r.Clear)
	case alerts.Below:
		text += fmt.Sprintf("at %v %s or less for %v, cleared at %v or more", r.Threshold, r.Figure, r.Hold, r.Clear)
	case alerts.Busier:
		text += fmt.Sprintf("at %v times the usual sessions online, %d or more, for %v, cleared below %v times", r.Threshold, r.AtLeast, r.Hold, r.Clear)
	case alerts.Silent:
		text += fmt.Sprintf("where nobody is online for %v while %v sessions are usual, cleared by a guest", r.Hold, r.Threshold)
	}
	if len(r.Groups) > 0 {
		text += ", in " + strings.Join(r.Groups, ", ")
	}
	return text
}

// covers reports whether the rule is for a location.
func (r *Rule) covers(v *Venue) bool {
	if !r.in.Has(v.Account, v.Location) || len(r.Accounts) > 0 && !slices.Contains(r.Accounts, v.Account) {
		return false
	}
	return len(r.Locations) == 0 || slices.ContainsFunc(r.Locations, func(glob string) bool {
		ok, _ := path.Match(glob, v.Location) // checked when the file was read
		return ok
	})
}

// named finds a rule.
func (r *Rules) named(name string) *Rule {
	for i := range r.Rules {
		if r.Rules[i].Name == name {
			return &r.Rules[i]
		}
	}
	return nil
}
