package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/poller/platform"
)

// groups looks for the locations of the groups file in the platforms' lists. One that is not
// there may be still to come, so it is a warning.
func (c *checker) groups(ctx context.Context, cfg Config) {
	tree, err := cfg.groupTree()
	if err != nil || tree == nil {
		return // it was read a moment ago
	}
	var cautions []string
	ok := c.once("groups", func() (found string, err error) {
		found, cautions, err = checkGroups(ctx, tree, c.accounts)
		return found, err
	})
	for _, caution := range cautions {
		if ok {
			fmt.Fprintf(c.out, "WARN  groups: %s\n", caution)
		}
	}
}

func checkGroups(ctx context.Context, tree *group.Tree, accounts []Config) (found string, cautions []string, err error) {
	wanted := map[string][]string{} // locations, by account
	_ = tree.Walk(func(g *group.Group, _ int) error {
		for _, p := range g.Locations {
			wanted[p.Account] = append(wanted[p.Account], p.Location)
		}
		return nil
	})
	total := 0
	for _, cfg := range accounts {
		ids := wanted[cfg.Account]
		delete(wanted, cfg.Account)
		slices.Sort(ids)
		ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == group.Every })
		total += len(ids)
		if len(ids) == 0 {
			continue
		}
		names, whole, err := listLocations(ctx, cfg)
		if err != nil {
			return "", nil, err
		}
		for _, id := range ids {
			if _, known := names[id]; known || !whole {
				continue
			}
			cautions = append(cautions, fmt.Sprintf("the platform of account %s has no location %q, in %s: %s", cfg.Account, id,
				strings.Join(tree.Holding(cfg.Account, id), ", "), remedyFor(id, names)))
		}
	}
	for _, account := range slices.Sorted(maps.Keys(wanted)) {
		cautions = append(cautions, fmt.Sprintf("account %q is none that is polled here, and has %d locations in the file; is it misspelt? An account ends at the first slash of a location, so one whose own id has a slash is written with its account", account, len(wanted[account])))
	}
	return fmt.Sprintf("%d groups of %d locations, %d tokens", len(tree.IDs()), total, len(tree.Grants)), cautions, nil
}

// remedyFor says what may have been meant by an id that there is not.
func remedyFor(id string, names map[string]string) string {
	for known, name := range names {
		if name == id {
			return fmt.Sprintf("that is the name of %s, and ids are wanted", known)
		}
	}
	return "ids are wanted, not names; mend it, or leave it where the location is still to come"
}

// listLocations returns the ids and names of an account's locations as the platform lists
// them, and whether these are all.
func listLocations(ctx context.Context, cfg Config) (names map[string]string, whole bool, err error) {
	client, err := cfg.client(true)
	if err != nil {
		return nil, false, err
	}
	names = map[string]string{}
	for page := 1; page <= mostLocationPages; page++ {
		list, err := client.Locations(ctx, page)
		var fault *platform.Error
		switch {
		case errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden):
			return names, false, nil // it does not list them
		case err != nil:
			return nil, false, asked(cfg, err)
		}
		for _, l := range list.Locations {
			names[l.ID] = l.Name
		}
		if !list.More {
			return names, true, nil
		}
	}
	return names, false, nil
}
