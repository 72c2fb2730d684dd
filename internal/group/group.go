// Package group knows which locations belong together, and who may see which: a tree of
// groups and the tokens of those who look after them, read from a file that people write.
//
// Data comes from that file and what it refers to. It goes, as values that never change, to
// whatever filters by location. The package imports internal/handwritten and nothing else
// of the project.
package group

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// Every stands for all locations of an account in Place.Location, as no location is called.
const Every = "*"

// Place names one location of an account, or Every of it.
type Place struct{ Account, Location string }

func (p Place) String() string { return p.Account + "/" + p.Location }

// Set is which locations something is for. A nil Set has every location there is.
type Set struct {
	accounts map[string]bool // whole ones
	places   map[Place]bool
}

// NewSet returns the set of these places.
func NewSet(places ...Place) *Set {
	s := &Set{accounts: map[string]bool{}, places: map[Place]bool{}}
	for _, p := range places {
		s.add(p)
	}
	return s
}

func (s *Set) add(p Place) {
	if p.Location == Every {
		s.accounts[p.Account] = true
	} else {
		s.places[p] = true
	}
}

// Has reports whether a location is in the set.
func (s *Set) Has(account, location string) bool {
	return s == nil || s.accounts[account] || s.places[Place{account, location}]
}

// Equal reports whether both have the same locations, written in the same way.
func (s *Set) Equal(other *Set) bool {
	if s == nil || other == nil {
		return s == other
	}
	return maps.Equal(s.accounts, other.accounts) && maps.Equal(s.places, other.places)
}

// All yields the places of the set in any order; an account that is in it as a whole comes
// with Every alone.
func (s *Set) All() iter.Seq[Place] {
	return func(yield func(Place) bool) {
		if s == nil {
			return
		}
		for account := range s.accounts {
			if !yield(Place{account, Every}) {
				return
			}
		}
		for p := range s.places {
			if !s.accounts[p.Account] && !yield(p) {
				return
			}
		}
	}
}

// Places are those of All in order of account and location.
func (s *Set) Places() []Place {
	return slices.SortedFunc(s.All(), func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Location, b.Location))
	})
}

// Group is a node of the tree: its own locations, and those of the groups in it.
type Group struct {
	ID, Name  string
	Locations []Place
	Groups    []*Group
	// Roaming groups are one place to visits: going about them is not leaving.
	Roaming bool

	set *Set
}

// Set is that of all its locations, those of its groups included.
func (g *Group) Set() *Set { return g.set }

// gather fills in the sets of the group and all in it.
func (g *Group) gather() {
	g.set = NewSet(g.Locations...)
	for _, of := range g.Groups {
		of.gather()
		maps.Copy(g.set.accounts, of.set.accounts)
		maps.Copy(g.set.places, of.set.places)
	}
}

// Tree is a checked groups file. It never changes. A nil Tree has no groups.
type Tree struct {
	Groups []*Group // those that are in no other
	Grants []*Grant

	ids map[string]*Group
}

// Find returns a group; nil where there is none.
func (t *Tree) Find(id string) *Group {
	if t == nil {
		return nil
	}
	return t.ids[id]
}

// IDs are those of all groups, sorted.
func (t *Tree) IDs() []string {
	if t == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.ids))
}

// Of returns the locations of several groups together, and which of the ids is none.
func (t *Tree) Of(ids ...string) (set *Set, unknown string) {
	set = NewSet()
	for _, id := range ids {
		g := t.Find(id)
		if g == nil {
			return NewSet(), id
		}
		maps.Copy(set.accounts, g.set.accounts)
		maps.Copy(set.places, g.set.places)
	}
	return set, ""
}

// Holding are the ids of the groups that have one of an account's locations, sorted.
func (t *Tree) Holding(account string, locations ...string) (ids []string) {
	if t == nil {
		return nil
	}
	for id, g := range t.ids {
		if slices.ContainsFunc(locations, func(l string) bool { return g.set.Has(account, l) }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Roaming are the groups that are one place to visits.
func (t *Tree) Roaming() (list []*Group) {
	_ = t.Walk(func(g *Group, _ int) error {
		if g.Roaming {
			list = append(list, g)
		}
		return nil
	})
	return list
}

// Walk calls visit for each group, those above before those in them, until it returns an
// error.
func (t *Tree) Walk(visit func(g *Group, depth int) error) error {
	if t == nil {
		return nil
	}
	var walk func(list []*Group, depth int) error
	walk = func(list []*Group, depth int) error {
		for _, g := range list {
			if err := visit(g, depth); err != nil {
				return err
			}
			if err := walk(g.Groups, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(t.Groups, 0)
}

// under returns the group of an id among those given and all in them.
func under(list []*Group, id string) *Group {
	for _, g := range list {
		if g.ID == id {
			return g
		}
		if found := under(g.Groups, id); found != nil {
			return found
		}
	}
	return nil
}
