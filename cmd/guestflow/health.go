package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/guestflow/guestflow/consumers/occupancy"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/platform"
)

// newServer returns a server that no client can hold for ever by sending or
// reading slowly. Streams of events set their own times for writing.
func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
}

// routes are everything on the HTTP address.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", a.forOperators(promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{Registry: a.metrics.registry}).ServeHTTP))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		faults, told := a.unready(time.Now()), a.operator(r)
		switch {
		case len(faults) > 0 && !told:
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		case len(faults) > 0:
			http.Error(w, strings.Join(faults, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
		if !told {
			return
		}
		for _, text := range append(a.degraded(time.Now()), degraded(a.hooks, time.Now())...) { // polling and publishing go on
			fmt.Fprintln(w, "degraded: "+printable(text))
		}
	})
	mux.HandleFunc("GET /plan", a.forOperators(a.servePlan))
	mux.HandleFunc("GET "+stateCopyPath, a.serveState)
	mux.HandleFunc("GET "+backfillPath, a.forOperators(a.serveBackfill))
	mux.HandleFunc("PUT "+backfillPath, a.serveBackfill)
	if a.level != nil {
		mux.HandleFunc("GET "+logLevelPath, a.level.serve)
		mux.HandleFunc("PUT "+logLevelPath, a.level.serve)
	}
	serveSchemas(mux)
	mux.Handle("/", a.web.Handler())
	return mux
}

// heldUp is how long publishing may fail before it counts: a new leader of the
// stream takes some seconds.
const heldUp = 10 * time.Second

// unready says why the process does not do its job at the moment: what keeps the only
// account from being polled and published, or every one of an accounts file.
func (a *app) unready(now time.Time) []string {
	if fault := a.unreached(); fault != "" {
		return append(a.unpolled(now), fault)
	}
	return a.unpolled(now)
}

// unreached says why the stream cannot be written to; empty where it can.
func (a *app) unreached() string {
	switch fault := a.nats.fault(); {
	case fault != nil:
		return "NATS: not connected; events wait in the outbox: " + fault.Error()
	case !a.nats.conn.IsConnected():
		return "NATS: not connected; events wait in the outbox"
	case !a.streamReady():
		text := "NATS: stream " + a.cfg.Stream + " is not set up yet; events wait in the outbox"
		if err := a.streamFault.Load(); err != nil {
			text += ": " + (*err).Error()
		}
		return text
	}
	return ""
}

// unpolled are the faults of the only account, or of all where none is well: one
// account's fault is no reason to take the others' process out of service.
func (a *app) unpolled(now time.Time) []string {
	var faults []string
	if err := a.fleet.unshared(); err != nil {
		return []string{"leases: " + err.Error()}
	}
	for _, m := range a.fleet.all() {
		if m.elsewhere() {
			continue // another process, or none yet
		}
		own := m.faults(now)
		if len(own) == 0 {
			return nil
		}
		faults = append(faults, own...)
	}
	return faults
}

// faults says why the account is not polled and published at the moment.
func (m *member) faults(now time.Time) (faults []string) {
	name := ""
	if !m.app.fleet.lone {
		name = "account " + m.cfg.Account + ": "
	}
	if m.elsewhere() {
		return nil
	}
	opened := m.open()
	if opened == nil {
		text := "does not run yet"
		if err := m.why(); err != nil {
			text = "cannot go on: " + err.Error()
		}
		return []string{name + text}
	}
	status := opened.Status(now)
	if !status.Ready() {
		text := fmt.Sprintf("polling: %s", status.State)
		if status.Error != "" {
			text += ": " + status.Error
		} else if status.State == poller.Polling {
			text += ": not every location was read yet"
		}
		faults = append(faults, name+text)
	}
	published := opened.Publisher.State()
	if m.app.unreached() == "" && published.Err != nil && (published.Lasting || now.Sub(published.ErrAt) > heldUp) {
		faults = append(faults, name+"publishing: "+published.Err.Error())
	}
	return faults
}

// degraded says what the process does less well than it could, and why.
func (a *app) degraded(now time.Time) []string {
	var lacks []string
	if err := a.fleet.unusable(); err != nil {
		lacks = append(lacks, "the changed accounts file is not usable, and the accounts are as they were: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if a.groups != nil && a.groups.Fault() != nil {
		lacks = append(lacks, "the changed groups file is not usable, and the groups and tokens are as they were: "+oneLine(a.groups.Fault()))
	}
	for _, m := range a.fleet.all() {
		if !a.fleet.lone {
			lacks = append(lacks, m.faults(now)...)
		}
		lacks = append(lacks, m.lacks(now)...)
	}
	if a.visits != nil {
		if err := a.visits.Status().Error; err != "" {
			lacks = append(lacks, "visits: "+err)
		}
	}
	if a.keeper != nil {
		for _, s := range a.keeper.Status() {
			if s.Error != "" {
				lacks = append(lacks, "retention: "+s.Error)
			}
		}
	}
	if a.alerts != nil {
		if err := a.alerts.Status().Error; err != "" {
			lacks = append(lacks, "alerts: "+err)
		}
		if err := a.alerts.Status().File; err != "" {
			lacks = append(lacks, "the changed alerts file is not usable, and the rules are as they were: "+strings.ReplaceAll(err, "\n", "; "))
		}
	}
	return lacks
}

// lacks says what of an account is seen less well than it could be, and why.
func (m *member) lacks(now time.Time) (lacks []string) {
	opened := m.open()
	if opened == nil {
		return nil
	}
	name := ""
	if !m.app.fleet.lone {
		name = "account " + m.cfg.Account + ": "
	}
	if n := opened.Client.Skipped(); n > 0 {
		lacks = append(lacks, name+fmt.Sprintf("%d records without an id or location were left out; `guestflow check` names the field", n))
	}
	for _, u := range opened.Client.Unreadable() {
		if u.Blank() {
			continue
		}
		lacks = append(lacks, name+fmt.Sprintf("%s cannot be read, as in %q: %s", u.Field, u.Sample, u.Remedy()))
	}
	if plan := opened.Poller.Status(now).Plan; plan.Order == "none" {
		lacks = append(lacks, name+fmt.Sprintf("the platform's list is not sorted by start, so ends need whole lists: %d sessions wait for proof", plan.Missing))
	}
	return lacks
}

// Pipelines tells the page how polling fares.
func (a *app) Pipelines() []occupancy.Pipeline {
	now := time.Now()
	pipelines := []occupancy.Pipeline{}
	for _, m := range a.fleet.all() {
		if m.elsewhere() {
			continue
		}
		pipelines = append(pipelines, m.pipeline(now))
	}
	return pipelines
}

func (m *member) pipeline(now time.Time) occupancy.Pipeline {
	opened := m.open()
	if opened == nil {
		p := occupancy.Pipeline{Account: m.cfg.Account, State: string(poller.Stopped)}
		if err := m.why(); err != nil {
			p.LastError = err.Error()
		}
		return p
	}
	status, outbox := opened.Status(now), opened.Store.Outbox()
	p := occupancy.Pipeline{
		Account: m.cfg.Account, State: string(status.State), LastError: status.Error,
		StalenessSeconds: status.Staleness().Seconds(),
		OutboxEvents:     int(outbox.Depth), OutboxBytes: outbox.Bytes, OutboxAgeSeconds: age(now, outbox.Oldest).Seconds(),
	}
	for _, b := range status.Budgets {
		if b.Endpoint == platform.Sessions {
			p.BudgetUsed, p.BudgetPerMinute = float64(b.Used)/float64(max(1, b.Limit)), b.Limit
		}
	}
	var oldest time.Duration
	for _, l := range status.Locations {
		if l.Age > oldest {
			oldest, p.StalestLocation = l.Age, l.ID
		}
	}
	p.DelayP50Seconds, p.DelayP95Seconds, _ = m.metrics.recent.quantiles(events.Started, events.Ended)
	return p
}
