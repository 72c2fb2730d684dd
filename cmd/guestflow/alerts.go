package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/consumers/alert"
	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/baseline"
	"github.com/guestflow/guestflow/poller/platform"
)

// needAlerts checks the rules file of the alerts, where one is named.
func (c *Config) needAlerts() error {
	if c.AlertsFile == "" {
		return nil
	}
	groups, err := c.groupTree()
	if err != nil {
		return err
	}
	_, err = alert.Load(c.AlertsFile, groups)
	var unread *fs.PathError
	if errors.As(err, &unread) {
		return fmt.Errorf("%s_ALERTS_FILE, or --file: %w", envPrefix, err)
	}
	return err
}

// baselineZone is that of the hours of which is known what is usual; nil is UTC.
func (c *Config) baselineZone() (*time.Location, error) {
	if c.BaselineZone == "" {
		zone, _ := c.timeZone() // checked by itself
		return zone, nil
	}
	return (&Config{APITimeZone: c.BaselineZone}).timeZone()
}

// openAlerts makes the occupancy, and the alerts that rest on it.
func (a *app) openAlerts() error {
	settings := occupancySettings(a.cfg, a.log, a, a.groups)
	looks := &looks{fleet: a.fleet}
	settings.LookAge, settings.Watched, settings.Forgotten = looks.age, looks.watched, a.forget.list
	if a.cfg.AlertsFile != "" && a.cfg.BaselineDays > 0 {
		zone, _ := a.cfg.baselineZone() // checked by loadConfig
		a.book = baseline.New(baseline.Settings{Days: a.cfg.BaselineDays, Zone: zone, Replicas: a.cfg.StreamReplicas, Declared: !a.cfg.StreamManage})
		settings.Days = func(p occupancy.Place) ([7]float64, bool) { return a.book.Days(p.Account, p.Location) }
	}
	settings.Stories = &stories{stream: a.cfg.Stream, prefix: a.cfg.SubjectPrefix, js: a.nats.js, hooks: a.hooks}
	if a.hooks != nil {
		settings.Webhooks = &hooksShown{dispatcher: a.hooks}
	}
	if a.cfg.AlertsFile != "" {
		settings.Alerts = a.raisedAlerts
	}
	a.web = occupancy.New(settings)
	if a.cfg.AlertsFile == "" {
		return nil
	}
	var err error
	a.alerts, err = alert.New(alert.Settings{
		File: a.cfg.AlertsFile, Source: venues{a.web}, Groups: inUse(a.groups), MaxAge: a.cfg.StreamMaxAge, Replicas: a.cfg.StreamReplicas, Declared: !a.cfg.StreamManage, Log: a.log,
	})
	return err
}

// venues are the figures that alerts are decided by.
type venues struct{ of *occupancy.Service }

// Venues is part of alert.Source.
func (v venues) Venues() (time.Time, []alert.Venue, bool) {
	now, figures, ok := v.of.Figures()
	list := make([]alert.Venue, len(figures))
	for i, f := range figures {
		list[i] = alert.Venue{
			Account: f.Account, Location: f.Location, Name: f.Name, LookedAt: f.LookedAt,
			Online: f.Online, Devices: f.Devices, Guests: f.Guests, Fewer: f.Fewer, More: f.More,
		}
		if f.Usual != nil {
			list[i].Usual, list[i].Basis = f.Usual.Online, f.Usual.Basis
		}
	}
	return now, list, ok
}

// looks tells how old the latest looks at locations are that the stream tells of. The
// pollers are asked once a second at most.
type looks struct {
	fleet *fleet

	mu     sync.Mutex
	at     time.Time
	ages   map[occupancy.Place]time.Duration
	places []occupancy.Watched // of which the ages are
}

func (l *looks) age(p occupancy.Place) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.ask(now)
	age, ok := l.ages[p]
	return age + now.Sub(l.at), ok
}

// watched are the places that were read at least once.
func (l *looks) watched() []occupancy.Watched {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ask(time.Now())
	return l.places
}

// ask asks the pollers; mu is held.
func (l *looks) ask(now time.Time) {
	if now.Sub(l.at) <= time.Second {
		return
	}
	l.at, l.ages, l.places = now, map[occupancy.Place]time.Duration{}, nil
	for _, m := range l.fleet.all() {
		opened := m.open()
		if opened == nil {
			continue
		}
		locations := opened.Status(now).Locations
		unsent := opened.Unsent(now) // what waits to be published is in no figures
		for _, s := range locations {
			if s.Seen {
				p := occupancy.Place{Account: m.cfg.Account, Location: s.ID}
				l.ages[p] = max(s.Age, unsent)
				l.places = append(l.places, occupancy.Watched{Place: p, Name: s.Name})
			}
		}
	}
}

// learn asks the platform for what is usual until ctx ends, where that is wanted.
func (m *member) learn(ctx context.Context) {
	book, log := m.app.book, m.app.log.With("account", m.cfg.Account)
	if book == nil || m.app.AwaitStream(ctx) != nil {
		return
	}
	locations := func() (ids []string) {
		if opened := m.open(); opened != nil {
			for _, l := range opened.Status(time.Now()).Locations {
				ids = append(ids, l.ID)
			}
		}
		return ids
	}
	ask := func(ctx context.Context, location, from, before string) (int, error) {
		opened := m.open()
		if opened == nil {
			return 0, errors.New("the account does not run")
		}
		return opened.SpareCount(ctx, platform.Query{LocationID: location, StartDate: from, EndDate: before})
	}
	told := ""
	for ctx.Err() == nil {
		err := book.Learn(ctx, m.app.nats.js, m.cfg.Account, locations, ask)
		if ctx.Err() != nil {
			return
		}
		if err != nil && told != err.Error() {
			told = err.Error()
			log.Warn("what is usual is not learnt from the platform's history; what is seen from now on is", "error", err)
		}
		if errors.Is(err, account.ErrShared) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
}

func alertsCommand() *cobra.Command {
	var (
		since    string
		asJSON   bool
		noFollow bool
	)
	c := &cobra.Command{
		Use:   "alerts",
		Short: "Show the alerts as they come, or replay them",
		Long: `Shows the events of the stream of alerts, which guestflow run publishes where
GUESTFLOW_ALERTS_FILE names a file of rules.`,
		Example: "  guestflow alerts check --file alerts.yaml\n  guestflow alerts --since 24h --no-follow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
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
			conn, js, err := reachClient(cmd.Context(), cfg, "", readingRights(Config{Stream: alerts.DefaultStream}))
			if err != nil {
				return err
			}
			defer conn.Close()
			stream, err := js.Stream(cmd.Context(), alerts.DefaultStream)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("stream %s does not exist; guestflow run makes it where GUESTFLOW_ALERTS_FILE names a file of rules", alerts.DefaultStream)
			}
			if err != nil {
				return fmt.Errorf("stream %s: %w", alerts.DefaultStream, err)
			}
			show := showing(cmd, alerts.Decode, alertText, asJSON)
			subjects := []string{alerts.Subjects{}.All()}
			if noFollow {
				return consume.Past(cmd.Context(), stream, from, subjects, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
					return true, show(m)
				})
			}
			return followVisits(cmd.Context(), js, stream, from, subjects, show)
		},
	}
	c.Flags().StringVar(&since, "since", "", "replay from a time (RFC 3339) or for a while back (2h, 7d)")
	c.Flags().BoolVar(&noFollow, "no-follow", false, "end with the newest event; without --since from the start")
	c.Flags().BoolVar(&asJSON, "json", false, "one CloudEvents document a line")
	c.AddCommand(alertsCheckCommand())
	return c
}

// alertsCheckCommand finds out whether a rules file can be used.
func alertsCheckCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "check", Short: "Check a file of rules", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configured(cmd)
			if err != nil {
				return err
			}
			if file != "" {
				cfg.AlertsFile = file
			}
			if cfg.AlertsFile == "" {
				return usageError("no rules file: give --file or set GUESTFLOW_ALERTS_FILE")
			}
			if err := cfg.needAlerts(); err != nil {
				return usageError(err.Error())
			}
			rules, err := alert.Load(cfg.AlertsFile, groupsAsTheyAre(cfg))
			if err != nil {
				return err
			}
			for _, r := range rules.Rules {
				fmt.Fprintln(cmd.OutOrStdout(), printable(r.String()))
			}
			if len(rules.Rules) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no rules: nothing is raised, and what is raised will be cleared")
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "rules file (default GUESTFLOW_ALERTS_FILE)")
	return c
}

// alertText is an event in one line.
func alertText(e alerts.Event) string {
	a := &e.Data.Alert
	text := fmt.Sprintf("%s  %-7s  %s  %s: %d %s (%d to %d), %s %.4g", e.Time.Format(time.RFC3339), e.Kind, orDash(a.LocationName), a.Rule,
		a.Value, a.Figure, a.Low, a.High, a.What, a.Threshold)
	if a.Usual != nil {
		text += fmt.Sprintf(", usual %.1f", *a.Usual)
	}
	if e.Kind == alerts.Cleared {
		text += ", " + string(a.Reason) + " after " + a.ClearedAt.Sub(a.RaisedAt).Round(time.Second).String()
	}
	return text
}

func describeAlerts(into map[string]*prometheus.Desc, constant prometheus.Labels) {
	describeGauges(into, constant, map[string]gaugeText{
		"alerts_raised": {"Alerts that are raised and not cleared.", nil},
		"alerts_rules":  {"Rules that alerts are raised by.", nil},
	})
}

func collectAlerts(s alert.Status, gauge func(name string, v float64, labels ...string)) {
	gauge("alerts_raised", float64(len(s.Raised)))
	gauge("alerts_rules", float64(s.Rules))
}
