package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
)

// groupRights is what a NATS user is permitted so that it receives what happens at a group's
// locations, and nothing else.
type groupRights struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Permissions are those of a user in the configuration of a NATS server.
	Permissions natsPermissions `json:"permissions"`
	// Consumer is the name of the durable consumers, and InboxPrefix the prefix that the
	// client is to use; both where it may read the past.
	Consumer    string `json:"consumer,omitempty"`
	InboxPrefix string `json:"inbox_prefix,omitempty"`
	// Withheld are places of visits that are only in part the group's.
	Withheld []string `json:"withheld,omitempty"`

	streams []groupStream
}

type natsPermissions struct {
	Subscribe natsSubjects `json:"subscribe"`
	Publish   natsSubjects `json:"publish"`
}

type natsSubjects struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// groupStream is a stream, and the subjects in it that a group receives.
type groupStream struct {
	name     string
	subjects []string
}

// roamed is a place of visits that has several locations.
type roamed struct {
	name string
	in   func(account string) []group.Place // its locations in an account
}

// roaming are the places of visits that the configuration makes of several locations.
func (c *Config) roaming(tree *group.Tree) (list []roamed) {
	old, _ := c.visitGroups() // checked by loadConfig
	for name, locations := range old {
		list = append(list, roamed{name, func(account string) (places []group.Place) {
			for _, l := range locations {
				places = append(places, group.Place{Account: account, Location: l})
			}
			return places
		}})
	}
	for _, g := range tree.Roaming() {
		list = append(list, roamed{g.ID, func(account string) []group.Place {
			return slices.DeleteFunc(g.Set().Places(), func(p group.Place) bool { return p.Account != account })
		}})
	}
	slices.SortFunc(list, func(a, b roamed) int { return cmp.Compare(a.name, b.name) })
	return list
}

// rightsOf works out the rights of a group; past is whether it may also read what was.
func rightsOf(g *group.Group, sessions events.Subjects, sessionStream string, places []roamed, past bool) groupRights {
	r := groupRights{ID: g.ID, Name: g.Name}
	var ofSessions, ofVisits, ofAlerts []string
	accounts := map[string]bool{}
	any := func(location string) string {
		if location == group.Every {
			return "" // any, to a filter
		}
		return location
	}
	shared := map[group.Place]bool{} // places of visits that are others' too
	for _, p := range g.Set().Places() {
		if accounts[p.Account] {
			continue
		}
		accounts[p.Account] = true
		for _, place := range places {
			members := place.in(p.Account)
			mine := slices.IndexFunc(members, func(m group.Place) bool { return g.Set().Has(m.Account, m.Location) }) >= 0
			if other := slices.IndexFunc(members, func(m group.Place) bool { return !g.Set().Has(m.Account, m.Location) }); other >= 0 {
				shared[group.Place{Account: p.Account, Location: place.name}] = true
				if mine {
					r.Withheld = append(r.Withheld, fmt.Sprintf("visits to %s of account %s: %s is a part of that place, and not of this group", place.name, p.Account, members[other]))
				}
			} else if mine && !g.Set().Has(p.Account, place.name) {
				ofVisits = append(ofVisits, visits.Subjects{}.Filter(p.Account, place.name, ""))
			}
		}
	}
	for _, p := range g.Set().Places() {
		ofSessions = append(ofSessions, sessions.Filter(p.Account, any(p.Location), ""))
		ofAlerts = append(ofAlerts, alerts.Subjects{}.Filter(p.Account, any(p.Location), ""))
		if !shared[p] { // a place may be called like a location
			ofVisits = append(ofVisits, visits.Subjects{}.Filter(p.Account, any(p.Location), ""))
		}
	}
	slices.Sort(ofVisits)
	r.streams = []groupStream{{sessionStream, ofSessions}, {visits.DefaultStream, ofVisits}, {alerts.DefaultStream, ofAlerts}}
	for _, s := range r.streams {
		r.Permissions.Subscribe.Allow = append(r.Permissions.Subscribe.Allow, s.subjects...)
	}
	if len(r.Permissions.Subscribe.Allow) == 0 {
		r.Permissions.Subscribe.Deny = []string{">"} // an empty list would permit all
	}
	if !past || len(r.Permissions.Subscribe.Allow) == 0 {
		r.Permissions.Publish.Deny = []string{">"}
		return r
	}
	r.Consumer = r.consumer()
	r.InboxPrefix = "_INBOX_" + g.ID
	r.Permissions.Subscribe.Allow = append(r.Permissions.Subscribe.Allow, r.InboxPrefix+".>")
	for _, s := range r.streams {
		of := s.name + "." + r.Consumer
		r.Permissions.Publish.Allow = append(r.Permissions.Publish.Allow,
			"$JS.API.CONSUMER.INFO."+of, "$JS.API.CONSUMER.MSG.NEXT."+of, "$JS.ACK."+of+".>")
	}
	return r
}

// consumer is the name of the group's durable consumers.
func (r *groupRights) consumer() string { return "group-" + r.ID }

// rightsOfGroups are those of the groups that are named, of all where none is.
func (c *Config) rightsOfGroups(ids []string, past bool) (list []groupRights, err error) {
	tree, err := c.groupTree()
	if err != nil {
		return nil, usageError(err.Error())
	}
	if tree == nil {
		return nil, usageError("there is no file of groups: give --file or set GUESTFLOW_GROUPS_FILE")
	}
	if _, err := c.inGroups(ids); err != nil {
		return nil, err
	}
	sessions, err := events.NewSubjects(c.SubjectPrefix)
	if err != nil {
		return nil, usageError(err.Error())
	}
	places := c.roaming(tree)
	_ = tree.Walk(func(g *group.Group, _ int) error {
		if len(ids) == 0 || slices.Contains(ids, g.ID) {
			list = append(list, rightsOf(g, sessions, c.Stream, places, past))
		}
		return nil
	})
	return list, nil
}

// write writes the rights as a part of a NATS server's configuration.
func (r *groupRights) write(out io.Writer) {
	fmt.Fprintf(out, "# %s\n", strings.Join(strings.Fields(printable(r.Name)), " "))
	for _, w := range r.Withheld {
		fmt.Fprintf(out, "# withheld: %s\n", strings.Join(strings.Fields(printable(w)), " "))
	}
	if r.Consumer != "" {
		fmt.Fprintf(out, "# its client sets the inbox prefix %s, and reads by the consumers %s\n", r.InboxPrefix, r.Consumer)
	}
	fmt.Fprintf(out, "GROUP_%s {\n", r.ID)
	for _, of := range []struct {
		name     string
		subjects natsSubjects
	}{{"subscribe", r.Permissions.Subscribe}, {"publish", r.Permissions.Publish}} {
		fmt.Fprintf(out, "  %s {\n", of.name)
		for _, list := range []struct {
			name     string
			subjects []string
		}{{"allow", of.subjects.Allow}, {"deny", of.subjects.Deny}} {
			if len(list.subjects) == 0 {
				continue
			}
			fmt.Fprintf(out, "    %s: [\n", list.name)
			for _, subject := range list.subjects {
				fmt.Fprintf(out, "      %s\n", strconv.Quote(subject)) // of printable ASCII, as subjects are encoded
			}
			fmt.Fprintln(out, "    ]")
		}
		fmt.Fprintln(out, "  }")
	}
	fmt.Fprintln(out, "}")
}

func groupsCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "groups",
		Short: "Show groups of locations, and what their people need of NATS",
		Long: `Works with the groups of a file (deploy/README.md describes it), which guestflow run
serves where GUESTFLOW_GROUPS_FILE names it.`,
	}
	c.PersistentFlags().StringVar(&file, "file", "", "groups file (default GUESTFLOW_GROUPS_FILE)")
	read := func(cmd *cobra.Command) (Config, error) {
		cfg, err := configured(cmd)
		if file != "" {
			cfg.GroupsFile = file
		}
		return cfg, err
	}
	c.AddCommand(groupsCheckCommand(read), groupsPermissionsCommand(read), groupsConsumersCommand(read))
	return c
}

func groupsCheckCommand(read func(*cobra.Command) (Config, error)) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check a file of groups, and show what is in it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := read(cmd)
			if err != nil {
				return err
			}
			if _, err := cfg.rightsOfGroups(nil, false); err != nil {
				return err
			}
			tree, out := groupsAsTheyAre(cfg), cmd.OutOrStdout()
			for _, g := range tree.Grants {
				var ids []string
				for _, of := range g.Groups {
					ids = append(ids, of.ID)
				}
				fmt.Fprintln(out, printable(fmt.Sprintf("token %s: %s, personal data %s", g.Name, strings.Join(ids, ", "), map[bool]string{true: "shown", false: "masked"}[g.Personal])))
			}
			return tree.Walk(func(g *group.Group, depth int) error {
				text := fmt.Sprintf("%sgroup %s: %s", strings.Repeat("  ", depth), g.ID, g.Name)
				if g.Roaming {
					text += ", one place to visits"
				}
				for i, p := range g.Locations {
					text += map[bool]string{true: ": ", false: ", "}[i == 0] + p.String()
				}
				_, err := fmt.Fprintln(out, printable(text))
				return err
			})
		},
	}
}

func groupsPermissionsCommand(read func(*cobra.Command) (Config, error)) *cobra.Command {
	var asJSON, past bool
	c := &cobra.Command{
		Use:   "permissions [GROUP]...",
		Short: "Print what NATS users of groups may subscribe to",
		Long: `Prints the permissions of a NATS user for each group, as a part of a server's
configuration: its user has permissions: $GROUP_ID. The user receives what happens at the
group's locations as it happens, sessions, visits and alerts, and may publish nothing.

With --past it may also read what the streams hold, by durable consumers that guestflow
groups consumers makes. This takes rights to publish requests, and a NATS server sends the
answers to wherever the request says: such a user can put copies of what it may read, and
answers of the server, under any subject of its NATS account. Give --past to whom you would
let write there, or an account of its own.

Events hold the personal data that guestflow publishes; personal_data of a token is about
the web API alone. An event of a session that came from another location names that one.`,
		Example: "  guestflow groups permissions north > north.conf\n  guestflow groups permissions --json",
		RunE: func(cmd *cobra.Command, ids []string) error {
			cfg, err := read(cmd)
			if err != nil {
				return err
			}
			list, err := cfg.rightsOfGroups(ids, past)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetEscapeHTML(false)
				return e.Encode(map[string]any{"groups": list})
			}
			for i := range list {
				list[i].write(cmd.OutOrStdout())
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as one JSON document")
	c.Flags().BoolVar(&past, "past", false, "also for reading what the streams hold")
	return c
}

func groupsConsumersCommand(read func(*cobra.Command) (Config, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "consumers [GROUP]...",
		Short: "Make or change the durable consumers of groups",
		Long: `Makes a durable pull consumer group-ID for each group in each stream that there is, with
the group's subjects as its filter, or gives one that is there the filter that it should
have; it goes on where it was. Run it again when the groups file has changed.`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			cfg, err := read(cmd)
			if err != nil {
				return err
			}
			list, err := cfg.rightsOfGroups(ids, true)
			if err != nil {
				return err
			}
			conn, js, err := reachClient(cmd.Context(), cfg, "", nil)
			if err != nil {
				return err
			}
			defer conn.Close()
			for i := range list {
				if err := list[i].consumers(cmd.Context(), js, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// consumers makes those of a group. Where it has no subject there is none: without a filter
// it would have everything.
func (r *groupRights) consumers(ctx context.Context, js jetstream.JetStream, out io.Writer) error {
	for _, of := range r.streams {
		stream, err := js.Stream(ctx, of.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil && len(of.subjects) == 0 {
			if err = stream.DeleteConsumer(ctx, r.consumer()); err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
				continue
			}
		}
		if err == nil {
			_, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable: r.consumer(), Description: "guestflow: " + r.ID, FilterSubjects: of.subjects, AckPolicy: jetstream.AckExplicitPolicy,
			})
		}
		if err != nil {
			return fmt.Errorf("consumer %s of stream %s: %w", r.consumer(), of.name, err)
		}
		fmt.Fprintf(out, "consumer %s of stream %s: %d subjects\n", r.consumer(), of.name, len(of.subjects))
	}
	return nil
}
