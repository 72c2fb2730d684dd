package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/poller/platform"
)

func visitSettings(cfg Config, log *slog.Logger) visit.Settings {
	groups, _ := cfg.visitGroups() // checked by loadConfig
	var grouped []visit.Grouped
	for _, p := range groupsAsTheyAre(cfg).Roaming() {
		for _, l := range p.Set().Places() {
			grouped = append(grouped, visit.Grouped{Account: l.Account, Location: l.Location, Group: p.ID})
		}
	}
	return visit.Settings{
		Rules:        visit.Rules{Gap: cfg.VisitGap, Lateness: cfg.VisitLateness, Stays: cfg.VisitStays, Groups: groups, Grouped: grouped, Memory: cfg.VisitMemory, Lapsed: cfg.VisitLapsed},
		WholeHistory: cfg.VisitHistory == "whole",
		Stream:       cfg.Stream, Prefix: cfg.SubjectPrefix, MaxAge: cfg.fullAge(), Replicas: cfg.StreamReplicas, Declared: !cfg.StreamManage, Log: log,
	}
}

// visitGroups reads the groups: name=id,id and so on, separated by semicolons.
func (c *Config) visitGroups() (map[string][]string, error) {
	groups := map[string][]string{}
	for text := range strings.SplitSeq(c.VisitGroups, ";") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		name, list, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		locations := trimmed(strings.Split(list, ","))
		switch {
		case !ok || name == "" || len(locations) == 0:
			return nil, fmt.Errorf("%q is no group; write name=location,location", strings.TrimSpace(text))
		case groups[name] != nil:
			return nil, fmt.Errorf("the group %q stands there twice; put its locations together", name)
		}
		groups[name] = locations
	}
	return groups, nil
}

// visitFaults checks what the visits are configured to be.
func (c *Config) visitFaults() []error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(envPrefix+"_"+format, args...))
		}
	}
	bad(c.VisitGap <= 0, "VISIT_GAP=%v: use a positive duration", c.VisitGap)
	bad(c.VisitLateness <= 0, "VISIT_LATENESS=%v: use a positive duration", c.VisitLateness)
	bad(c.VisitMemory < 0, "VISIT_MEMORY=%v: use 0 or a positive duration", c.VisitMemory)
	bad(c.VisitLapsed < 0 || c.VisitLapsed%time.Second != 0, "VISIT_LAPSED=%v: use 0 or a positive duration in whole seconds", c.VisitLapsed)
	bad(c.VisitLapsed > c.VisitMemory, "VISIT_LAPSED=%v: a guest who is forgotten after GUESTFLOW_VISIT_MEMORY, %v, cannot lapse later", c.VisitLapsed, c.VisitMemory)
	for _, d := range c.VisitStays {
		err := visit.Rules{Stays: []time.Duration{d}}.Check()
		bad(err != nil, "VISIT_STAYS: %v: use whole seconds, 1s or more", d)
	}
	groups, err := c.visitGroups()
	if err == nil {
		err = visit.Rules{Groups: groups}.Check()
	}
	bad(err != nil, "VISIT_GROUPS: %v", err)
	return errs
}

// lookedAt is the platform's time up to which an account was looked at, with what was seen
// in the stream.
func (a *app) lookedAt(name string) time.Time {
	m, err := a.fleet.find(name)
	if err != nil {
		return time.Time{} // it has left the file: nobody looks any more
	}
	opened := m.open()
	if opened == nil { // another process polls it, and decides by its looks; or nobody can now
		return time.Unix(0, 1)
	}
	looked, now := time.Unix(0, m.metrics.looked.Load()), time.Now()
	if unsent := opened.Unsent(now); unsent > now.Sub(looked) {
		looked = now.Add(-unsent)
	}
	earliest, _ := opened.Client.Clock().Bounds(looked)
	return earliest
}

// countSessions has the platform of an account count, where it is polled here and a
// request is to spare.
func (a *app) countSessions(ctx context.Context, name string, of visit.Counted) (int, error) {
	m, err := a.fleet.find(name)
	if err != nil {
		return 0, visit.ErrElsewhere
	}
	opened := m.open()
	if opened == nil {
		return 0, visit.ErrElsewhere
	}
	return opened.SpareCount(ctx, platform.Query{GuestID: of.GuestID, LocationID: of.LocationID, EndDate: of.EndedBefore})
}

func visitsCommand() *cobra.Command {
	var (
		since    string
		kinds    []string
		asJSON   bool
		noFollow bool
	)
	c := &cobra.Command{
		Use:   "visits",
		Short: "Show the guests' visits as they come, or replay them",
		Long: `Shows the events of the stream of visits, which guestflow run publishes where
GUESTFLOW_VISITS is true, and guestflow visits run in a process of its own.`,
		Example: "  guestflow visits --kind started\n  guestflow visits --since 24h --kind ended --json --no-follow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			subjects, err := visitFilters(kinds)
			if err != nil {
				return err
			}
			from := consume.FromNow()
			if noFollow {
				from = consume.FromStart()
			}
			if since != "" {
				at, err := parsePast("since", since, time.Now())
				if err != nil {
					return err
				}
				from = consume.FromTime(at)
			}
			conn, js, err := reachClient(cmd.Context(), cfg, "", readingRights(Config{Stream: visits.DefaultStream}))
			if err != nil {
				return err
			}
			defer conn.Close()
			stream, err := js.Stream(cmd.Context(), visits.DefaultStream)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("stream %s does not exist; guestflow run makes it where GUESTFLOW_VISITS is true", visits.DefaultStream)
			}
			if err != nil {
				return fmt.Errorf("stream %s: %w", visits.DefaultStream, err)
			}
			show := showing(cmd, visits.Decode, visitText, asJSON)
			if noFollow {
				return consume.Past(cmd.Context(), stream, from, subjects, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
					return true, show(m)
				})
			}
			return followVisits(cmd.Context(), js, stream, from, subjects, show)
		},
	}
	c.Flags().StringVar(&since, "since", "", "replay from a time (RFC 3339) or for a while back (2h, 7d)")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "kinds of events: "+visitKinds()+" (default all)")
	c.Flags().BoolVar(&noFollow, "no-follow", false, "end with the newest event; without --since from the start")
	c.Flags().BoolVar(&asJSON, "json", false, "one CloudEvents document a line")
	c.AddCommand(visitsRunCommand())
	return c
}

func visitKinds() string {
	var names []string
	for _, k := range visits.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func visitFilters(kinds []string) (filters []string, err error) {
	for _, k := range kinds {
		kind := visits.Kind(k)
		if !kind.Valid() {
			return nil, usageError(fmt.Sprintf("--kind %q: use %s", k, visitKinds()))
		}
		filters = append(filters, visits.Subjects{}.Filter("", "", kind))
	}
	if len(filters) == 0 {
		filters = []string{visits.Subjects{}.All()}
	}
	return filters, nil
}

// followVisits shows what comes until ctx ends; it goes on when the connection is back.
func followVisits(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, from consume.From, subjects []string, show func(jetstream.Msg) error) error {
	for {
		err := readVisits(ctx, js, stream, &from, subjects, show)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, consume.ErrAway) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func readVisits(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, from *consume.From, subjects []string, show func(jetstream.Msg) error) error {
	r, err := consume.Open(ctx, js.Conn(), stream, *from, subjects...)
	if err != nil {
		return err
	}
	defer r.Close()
	*from = consume.FromSequence(r.Behind + 1)
	for {
		m, meta, err := r.Next()
		if err != nil {
			return err
		}
		if err := show(m); err != nil {
			return err
		}
		*from = consume.FromSequence(meta.Sequence.Stream + 1)
	}
}

// showing writes events, and says which messages are none: whoever else may write to a
// stream, what follows is shown.
func showing[E any](cmd *cobra.Command, decode func([]byte) (E, error), text func(E) string, asJSON bool) func(jetstream.Msg) error {
	return func(m jetstream.Msg) (err error) {
		e, bad := decode(m.Data())
		switch {
		case bad != nil:
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), printable(fmt.Sprintf("warning: a message on %s is left out: %v", m.Subject(), bad)))
		case asJSON:
			var line bytes.Buffer
			if err = json.Compact(&line, m.Data()); err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), line.String())
			}
		default:
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(text(e)))
		}
		return err
	}
}

// visitText is an event in one line.
func visitText(e visits.Event) string {
	v := &e.Data.Visit
	who := v.GuestID
	if v.Identity == visits.ByDevice {
		who = v.DeviceMAC
	}
	what := string(v.Arrival)
	switch e.Kind {
	case visits.Counted:
		what = ""
	case visits.Stayed, visits.Lapsed:
		what = (time.Duration(e.Data.ThresholdSeconds) * time.Second).String()
	case visits.Ended:
		what = fmt.Sprintf("%s, %d sessions, %d devices, %d bytes down, %d up, %s", time.Duration(v.DurationSeconds)*time.Second,
			v.Sessions, v.Devices, v.DownloadedBytes, v.UploadedBytes, e.Data.Observed.End)
	}
	what = strings.TrimPrefix(what+whichVisit(v), ", ")
	place := v.Place
	if v.Group == "" && v.LocationName != "" {
		place = v.LocationName
	}
	return fmt.Sprintf("%s  %-7s  %s  %s %s  %s", e.Time.Format(time.RFC3339), e.Kind, place, v.Identity, orDash(who), what)
}

// whichVisit tells what is known of the visit's number.
func whichVisit(v *visits.Visit) (text string) {
	switch {
	case v.Number > 0:
		text = fmt.Sprintf(", visit %d", v.Number)
	case v.First == visits.No:
		text = ", not the first visit"
	}
	if v.DaysSinceLast != nil {
		text += fmt.Sprintf(", %d days after the last", *v.DaysSinceLast)
	}
	return text
}

func visitsRunCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Make visits of the session events until stopped", Args: cobra.NoArgs, Annotations: map[string]string{service: "yes"},
		Long: `Makes visits in a process of its own. One is enough: a second one changes nothing, and
goes on where the first one ends.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd, (*Config).needGroups)
			if err != nil {
				return err
			}
			conn, js, err := connectClient(cmd.Context(), cfg, "")
			if err != nil {
				return err
			}
			defer conn.Close()
			log, level := changingLogger(cmd.ErrOrStderr(), cfg)
			outliveHangup(cmd.Context(), cmd.ErrOrStderr(), level.hangUp)
			forget := newForgetter(cfg, js, log)
			settings := visitSettings(cfg, log)
			settings.Forgotten = forget.list
			forget.alone, forget.visits = "visits", visit.New(settings)
			return forget.beside(cmd.Context(), func() error { return forget.visits.Run(cmd.Context(), js) })
		},
	}
}

// visitGauges are read at each scrape.
var visitGauges = []struct {
	name, help string
	labels     []string
}{
	{"visits_open", "Visits that are not over, those in a silence included.", nil},
	{"visits_present", "Visits with a session online.", nil},
	{"visits_behind_events", "Session events that no visit was made of yet.", nil},
	{"visits_published_events", "Events of visits since the start of this process.", []string{"kind"}},
}

func describeVisits(into map[string]*prometheus.Desc, constant prometheus.Labels) {
	for _, g := range visitGauges {
		into[g.name] = prometheus.NewDesc("guestflow_"+g.name, g.help, g.labels, constant)
	}
}

func collectVisits(s visit.Status, gauge func(name string, v float64, labels ...string)) {
	gauge("visits_open", float64(s.Open))
	gauge("visits_present", float64(s.Present))
	gauge("visits_behind_events", float64(s.Behind))
	for _, k := range visits.Kinds() {
		gauge("visits_published_events", float64(s.Published[k]), string(k))
	}
}
