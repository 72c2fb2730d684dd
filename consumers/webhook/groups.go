package webhook

import (
	"errors"
	"fmt"
	"slices"

	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// treeOf are the groups in use; nil where there are none.
func treeOf(groups func() *group.Tree) *group.Tree {
	if groups == nil {
		return nil
	}
	return groups()
}

const noGroups = "set GUESTFLOW_GROUPS_FILE, here as for the process that sends webhooks"

// inGroups are the locations of an entry's groups; nil where it names none.
func (l *loader) inGroups(t *topic, ids []string) (*group.Set, error) {
	switch {
	case len(ids) == 0:
		return nil, nil
	case l.groups == nil:
		return nil, errors.New("there is no file of groups: " + noGroups)
	case t == forgottenTopic:
		return nil, errors.New("who is to be forgotten is so at every location; leave groups out")
	}
	set, unknown := l.groups.Of(ids...)
	if unknown != "" {
		return nil, fmt.Errorf("there is no group %q%s", unknown, handwritten.DidYouMean(unknown, l.groups.IDs()))
	}
	return set, nil
}

// refuse returns an error when an expression asks for what no event has, or for a group that
// there is not.
func (l *loader) refuse(source string) error {
	if err := l.absent.refuse(source); err != nil {
		return err
	}
	u := usesOf(source)
	if l.groups == nil && slices.Contains(u.paths, "groups") {
		return errors.New("groups is in no event: " + noGroups)
	}
	for _, id := range u.groups {
		if l.groups.Find(id) == nil {
			return fmt.Errorf("there is no group %q%s", id, handwritten.DidYouMean(id, l.groups.IDs()))
		}
	}
	return nil
}

// mentioned are the groups, where an expression mentions them.
func mentioned(source string, groups *group.Tree) *group.Tree {
	if !slices.Contains(usesOf(source).paths, "groups") {
		return nil
	}
	return groups
}

// groups are those that an event's locations are in.
func (n *notice) groups(all *group.Tree) []string {
	if all == nil {
		return nil
	}
	return all.Holding(n.account, n.places...)
}

// placesFor are locations of which samples may be, so that they are in the groups that an
// endpoint asks for: one of each group, which its globs match where it has any.
func placesFor(e *Endpoint, u uses) (places []group.Place) {
	first := func(set *group.Set) {
		for _, p := range set.Places() {
			if p.Location == group.Every {
				p.Location = "example"
				if len(e.Locations) > 0 {
					p.Location = instanceOf(e.Locations[0])
				}
			}
			if len(e.Locations) == 0 || e.globs(p.Location) {
				places = append(places, p)
				return
			}
		}
	}
	if e.in != nil {
		first(e.in)
	}
	if e.condition != nil {
		for _, text := range u.texts {
			if g := e.condition.groups.Find(text); g != nil {
				first(g.Set())
			}
		}
	}
	return places
}
