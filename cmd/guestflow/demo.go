package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/simulator"
)

func demoCommand() *cobra.Command {
	var (
		f       simulationFlags
		run     time.Duration
		traffic bool
	)
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run everything against a simulated platform, and show the events",
		Long: `Runs a simulated platform, an embedded NATS server and the very same poller as
guestflow run, and shows the events as they are published. Nothing is left behind:
the data directory is temporary. People come and go faster than in life. Visits are
made, alerts raised, and webhooks sent to a receiver within, which refuses some; or, like
run, to the endpoints of GUESTFLOW_WEBHOOKS_FILE.`,
		Example: `  guestflow demo --for 60s
  GUESTFLOW_WEBHOOKS_FILE=endpoints.yaml guestflow demo
  nats sub 'guest.sessions.>'          # in a second terminal`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if run < 0 {
				return usageError(fmt.Sprintf("--for %v: use a positive duration such as 60s", run))
			}
			if run > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, run)
				defer cancel()
			}
			return demo(ctx, cmd, f, traffic)
		},
	}
	f.register(c, "demo")
	c.Flags().BoolVar(&traffic, "traffic", false, "show traffic events too, which are most of all")
	c.Flags().DurationVar(&run, "for", 0, "end after this time (default: at Ctrl-C)")
	return c
}

// demo runs until ctx ends.
func demo(ctx context.Context, cmd *cobra.Command, f simulationFlags, traffic bool) error {
	cfg, err := configured(cmd, (*Config).needEndpoints, (*Config).needAlerts, (*Config).needGroups)
	if err != nil {
		return err
	}
	simCfg, err := f.config()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "guestflow-demo-")
	if err != nil {
		return fmt.Errorf("temporary data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	sim, err := openSimulation(simCfg, "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer sim.Close()
	cfg.APIURL, cfg.APIToken, cfg.DataDir, cfg.NATSURL, cfg.AccountsFile = sim.URL(), "demo", dir, "", ""
	if os.Getenv("GUESTFLOW_GUESTS") == "" {
		cfg.Guests = true // they are made up
	}
	if cfg.PrivacyKey == "" {
		cfg.PrivacyKey = demoKey
	}
	demoVisits(&cfg)
	demoHistory(&cfg)
	if err := demoAlerts(&cfg, dir); err != nil {
		return err
	}
	if err := demoGroups(&cfg, dir, sim.sim.Locations()); err != nil {
		return err
	}
	closeReceiver, err := demoWebhooks(&cfg, dir)
	if err != nil {
		return err
	}
	defer closeReceiver()
	if os.Getenv("GUESTFLOW_LOG_LEVEL") == "" {
		cfg.LogLevel = "error" // the events are what is to be seen
	}
	cfg.NATSListen = freeAddress(cfg.NATSListen)
	if cfg.HTTPAddr != "-" {
		cfg.HTTPAddr = freeAddress(cfg.HTTPAddr)
	}
	a, err := newApp(ctx, cfg, newLogger(cmd.ErrOrStderr(), cfg))
	if err != nil {
		return err
	}
	out := newScreen(cmd.OutOrStdout())
	sub := "nats sub '" + cfg.SubjectPrefix + ".>'"
	if a.nats.URL() != nats.DefaultURL {
		sub = "nats sub -s " + a.nats.URL() + " '" + cfg.SubjectPrefix + ".>'"
	}
	out.line(fmt.Sprintf("simulated platform  %s, %d locations\npage                %s\nthe same events     %s\n%s",
		sim.URL(), len(sim.sim.Locations()), a.pageURL(), sub, trafficNote(traffic)))

	d := &demonstration{app: a, out: out, traffic: traffic, began: time.Now(), kinds: make(map[events.Kind]int)}
	var wg sync.WaitGroup
	var simErr error
	wg.Go(func() { simErr = sim.Run(context.WithoutCancel(ctx)) })
	shown, stopShowing := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { d.watch(shown) })
	watching.Go(func() { d.status(shown) })
	watching.Go(func() { d.lookBack(shown) })
	err = a.Run(ctx)
	stopShowing()
	watching.Wait()
	out.noStatus()
	sim.listener.Close()
	wg.Wait()
	out.line(d.summary())
	if simErr != nil && !errors.Is(simErr, net.ErrClosed) {
		err = errors.Join(err, simErr)
	}
	return errors.Join(err, a.Close())
}

// demoKey is the demo's where none is set, so that `guestflow subject forget` can be tried.
const demoKey = "guestflow-demo-key"

// demoVisits makes visits unless told otherwise, of a length that suits a demonstration, and
// keeps names for a day.
func demoVisits(cfg *Config) {
	for name, set := range map[string]func(){
		"VISITS":         func() { cfg.Visits = true },
		"RETENTION":      func() { cfg.Retention = "email,name=24h" },
		"VISIT_GAP":      func() { cfg.VisitGap = 20 * time.Second },
		"VISIT_LATENESS": func() { cfg.VisitLateness = 10 * time.Second },
		"VISIT_LAPSED":   func() { cfg.VisitLapsed = min(time.Minute, cfg.VisitMemory) },
		"VISIT_HISTORY":  func() { cfg.VisitHistory = "whole" }, // the simulated platform forgets nobody so soon
		"VISIT_STAYS":    func() { cfg.VisitStays = []time.Duration{30 * time.Second, 2 * time.Minute} },
	} {
		if os.Getenv(envPrefix+"_"+name) == "" {
			set()
		}
	}
}

// demoHistory has what is usual known soon: of the weeks before the demo the counts tell
// the days of the week, and the latest day, which lookBack asks for, the hours.
func demoHistory(cfg *Config) {
	if os.Getenv(envPrefix+"_BASELINE_DAYS") == "" {
		cfg.BaselineDays = 28
	}
	if os.Getenv(envPrefix+"_BACKFILL_TURN") == "" {
		cfg.BackfillTurn = 2
	}
}

// demoAlerts gives the demo rules of its own unless it has others: guests come and go
// faster than in life, so nothing is held for long.
func demoAlerts(cfg *Config, dir string) error {
	if cfg.AlertsFile != "" {
		return nil
	}
	cfg.AlertsFile = filepath.Join(dir, "alerts.yaml")
	rules := "alerts:\n  - {name: full, above: 30, clear: 26, hold: 10s}\n  - {name: empty, below: 3, clear: 5, hold: 20s}\n"
	if err := os.WriteFile(cfg.AlertsFile, []byte(rules), 0o600); err != nil {
		return fmt.Errorf("the demo's rules for alerts: %w", err)
	}
	return nil
}

// demoGroups groups the simulated locations by country and city unless there is a file.
func demoGroups(cfg *Config, dir string, locations []simulator.Location) error {
	if cfg.GroupsFile != "" {
		return nil
	}
	cities := map[string]map[string][]string{}
	for _, l := range locations {
		if cities[l.Country] == nil {
			cities[l.Country] = map[string][]string{}
		}
		cities[l.Country][l.City] = append(cities[l.Country][l.City], fmt.Sprintf("{account: %q, location: %q}", cfg.Account, l.ID))
	}
	text, named := "groups:\n", map[string]bool{}
	id := func(name string) string { // a city may be called like one elsewhere, and have other letters
		id := strings.Trim(notOfIDs.ReplaceAllString(cmp.Or(name, "other"), "-"), "-_")
		if id == "" || named[id] {
			id += fmt.Sprintf("g%d", len(named))
		}
		named[id] = true
		return id
	}
	for _, country := range slices.Sorted(maps.Keys(cities)) {
		text += fmt.Sprintf("  - id: %q\n    name: %q\n    groups:\n", id(country), country)
		for _, city := range slices.Sorted(maps.Keys(cities[country])) {
			text += fmt.Sprintf("      - {id: %q, name: %q, locations: [%s]}\n", id(city), city, strings.Join(cities[country][city], ", "))
		}
	}
	cfg.GroupsFile = filepath.Join(dir, "groups.yaml")
	if err := os.WriteFile(cfg.GroupsFile, []byte(text), 0o600); err != nil {
		return fmt.Errorf("the demo's groups: %w", err)
	}
	return nil
}

// notOfIDs are characters that ids of groups have not.
var notOfIDs = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func trafficNote(shown bool) string {
	if shown {
		return ""
	}
	return "traffic             counted, not shown; --traffic shows it\n"
}

// freeAddress returns addr, or the same host with a port that the system picks
// where addr is taken.
func freeAddress(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return addr
		}
		return net.JoinHostPort(host, "0")
	}
	l.Close()
	return addr
}

// demonstration is what a person sees of a demo.
type demonstration struct {
	app     *app
	out     *screen
	traffic bool // shown too
	began   time.Time

	mu    sync.Mutex
	kinds map[events.Kind]int
	times []time.Time // of the events of the last minute
}

// watch shows the stream's events.
func (d *demonstration) watch(ctx context.Context) {
	consumer := consume.Consumer{Stream: d.app.cfg.Stream, Prefix: d.app.cfg.SubjectPrefix, From: consume.FromStart()}
	discovered := 0
	for ctx.Err() == nil {
		err := consumer.Run(ctx, d.app.nats.js, func(_ context.Context, v consume.Delivery) error {
			d.count(v.Kind)
			if v.Kind == events.Discovered {
				// Hundreds at once: who was there already is told as a number.
				discovered++
				return nil
			}
			if discovered > 0 {
				d.out.line(fmt.Sprintf("%d sessions were online already", discovered))
				discovered = 0
			}
			if v.Kind == events.Traffic && !d.traffic || v.Event.Data.Observed.Backfilled {
				return nil
			}
			return d.out.event(v.Event)
		})
		if err != nil {
			// The stream is being set up.
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// lookBack has the platform's history of the last day published, so that curves and what
// is usual need not begin with the demo. The hours more are for locations where nobody came
// a day ago exactly.
func (d *demonstration) lookBack(ctx context.Context) {
	since := time.Now().Add(-30 * time.Hour)
	for {
		if opened := d.app.fleet.all()[0].open(); opened != nil {
			_ = opened.Poller.Backfill(since) // which lies in the past
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (d *demonstration) count(k events.Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kinds[k]++
	now := time.Now()
	d.times = append(d.times, now)
	for len(d.times) > 0 && now.Sub(d.times[0]) > time.Minute {
		d.times = d.times[1:]
	}
}

// status shows how it goes: on a terminal as a line that is drawn anew, else now
// and then.
func (d *demonstration) status(ctx context.Context) {
	every := 10 * time.Second
	if d.out.live() {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			d.out.status(d.statusParts(now)...)
		}
	}
}

// statusParts tell how it goes, the most important first.
func (d *demonstration) statusParts(now time.Time) []string {
	only := d.app.fleet.all()[0]
	s := only.open().Status(now)
	used, limit := 0, 0
	for _, b := range s.Budgets {
		if b.Endpoint == "sessions" {
			used, limit = b.Used, b.Limit
		}
	}
	d.mu.Lock()
	perMinute := len(d.times)
	d.mu.Unlock()
	p50, p95, _ := only.metrics.recent.quantiles(events.Started, events.Ended)
	return []string{
		string(s.State), fmt.Sprintf("%d online", s.Online()), fmt.Sprintf("seen after %.1f s", p50), fmt.Sprintf("%d events/min", perMinute),
		fmt.Sprintf("budget %d/%d", used, limit), fmt.Sprintf("%d locations", len(s.Locations)),
		fmt.Sprintf("staleness %.0f s", s.Staleness().Seconds()), fmt.Sprintf("95 %% within %.1f s", p95),
	}
}

func (d *demonstration) summary() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := 0
	var kinds []string
	for _, k := range events.Kinds() {
		total += d.kinds[k]
		kinds = append(kinds, fmt.Sprintf("%s %d", k, d.kinds[k]))
	}
	return fmt.Sprintf("\n%d events in %v\n%s", total, time.Since(d.began).Round(time.Second), wrapped(kinds, d.out.columns()))
}
