package main

import (
	"cmp"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/tracing"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/guest"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
)

// metrics are those that a process has once: what all accounts share.
type metrics struct {
	registry   *prometheus.Registry
	app        *app
	webhooks   *prometheus.CounterVec
	accounts   *prometheus.Desc
	descriptor map[string]*prometheus.Desc
}

// accountMetrics observe polling and publishing of one account for Prometheus. What
// can be asked for is asked at each scrape (Collect); the rest is counted, also over
// restarts of the account within the process.
type accountMetrics struct {
	app      *app
	name     string // the account's
	registry *prometheus.Registry
	// account is asked at each scrape; see show.
	account    atomic.Pointer[member]
	recent     *recent
	looked     atomic.Int64 // when a look ended last, or this process began; Unix nanoseconds
	requests   *prometheus.CounterVec
	requestS   *prometheus.HistogramVec
	events     *prometheus.CounterVec
	delay      *prometheus.HistogramVec
	records    prometheus.Histogram
	commit     prometheus.Histogram
	publish    prometheus.Histogram
	retries    prometheus.Counter
	lost       prometheus.Counter
	guests     *prometheus.CounterVec
	ends       *prometheus.CounterVec
	descriptor map[string]*prometheus.Desc
}

// gaugeText describes what is asked for at each scrape.
type gaugeText struct {
	help   string
	labels []string
}

// newMetrics makes the registry. Where the process polls one account, all that it
// tells bears its name.
func newMetrics(a *app) *metrics {
	var labels prometheus.Labels
	if a.cfg.AccountsFile == "" {
		labels = prometheus.Labels{"account": a.cfg.Account}
	}
	m := &metrics{
		registry: prometheus.NewRegistry(), app: a,
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "guestflow_webhook_tries_total", Help: "Webhook requests, by endpoint and what they came to.", ConstLabels: labels,
		}, []string{"endpoint", "result"}),
		descriptor: make(map[string]*prometheus.Desc),
	}
	describeGauges(m.descriptor, labels, map[string]gaugeText{
		"occupancy_missing_events_total": {"Messages that had left the stream before the page's counts read them.", nil},
		"occupancy_settled_total":        {"Sessions that the page's counts took for gone, since their end may have been among these.", nil},
		"occupancy_uncertain_sessions":   {"Sessions that count as online on the page and whose end may have been among these.", nil},
		"nats_connected":                 {"1 while there is a connection to NATS.", nil},
	})
	describeWebhooks(m.descriptor, labels)
	describeVisits(m.descriptor, labels)
	describeAlerts(m.descriptor, labels)
	describeRetention(m.descriptor, labels)
	m.accounts = prometheus.NewDesc("guestflow_account_running", "1 while this process polls the account, 0 while it does not.", []string{"account"}, nil)
	m.registry.MustRegister(m, buildInfo(), m.webhooks,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func describeGauges(into map[string]*prometheus.Desc, labels prometheus.Labels, gauges map[string]gaugeText) {
	for name, g := range gauges {
		into[name] = prometheus.NewDesc("guestflow_"+name, g.help, g.labels, labels)
	}
}

func newAccountMetrics(of *member) *accountMetrics {
	account := prometheus.Labels{"account": of.cfg.Account}
	seconds := []float64{.25, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}
	fast := prometheus.ExponentialBuckets(.0005, 2, 14)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "guestflow_" + name, Help: help, ConstLabels: account}
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: "guestflow_" + name, Help: help, ConstLabels: account, Buckets: buckets}
	}
	m := &accountMetrics{
		app: of.app, name: of.cfg.Account, registry: of.app.metrics.registry, recent: &recent{},
		requests:   prometheus.NewCounterVec(counter("requests_total", "Requests to the platform, by endpoint, kind of look and outcome."), []string{"endpoint", "look", "status"}),
		requestS:   prometheus.NewHistogramVec(histogram("request_seconds", "Time from a request to the platform to its answer.", prometheus.DefBuckets), []string{"endpoint"}),
		events:     prometheus.NewCounterVec(counter("events_total", "Events committed, by kind."), []string{"kind"}),
		delay:      prometheus.NewHistogramVec(histogram("detection_delay_seconds", "From a start, or the middle of the time in which an end must lie, to its detection; on the platform's clock.", seconds), []string{"kind"}),
		records:    prometheus.NewHistogram(histogram("snapshot_records", "Records of a look.", prometheus.ExponentialBuckets(1, 3, 10))),
		commit:     prometheus.NewHistogram(histogram("commit_seconds", "Time to compare and commit what a look showed.", fast)),
		publish:    prometheus.NewHistogram(histogram("publish_seconds", "Time from sending a batch of events to its acknowledgement.", fast)),
		retries:    prometheus.NewCounter(counter("publish_retries_total", "Failed attempts to publish.")),
		lost:       prometheus.NewCounter(counter("publish_lost_total", "Acknowledged events that the stream lost and the outbox no longer keeps.")),
		guests:     prometheus.NewCounterVec(counter("guest_lookups_total", "Arrivals whose guest was looked up, by outcome."), []string{"outcome"}),
		ends:       prometheus.NewCounterVec(counter("ends_total", "Ends committed, by what proves them: record, list, address, or none of these where they are presumed."), []string{"proof"}),
		descriptor: make(map[string]*prometheus.Desc),
	}
	describeGauges(m.descriptor, account, map[string]gaugeText{
		"budget_used":                   {"Requests of the last minute.", []string{"endpoint"}},
		"budget_limit":                  {"Requests a minute that are allowed now.", []string{"endpoint"}},
		"staleness_seconds":             {"How long ago a location's state was last certain.", []string{"location"}},
		"online_sessions":               {"Sessions online.", []string{"location"}},
		"census_sessions":               {"Sessions online at the last count, by who counted: the platform or guestflow.", []string{"by"}},
		"outbox_entries":                {"Events that wait to be published.", nil},
		"outbox_bytes":                  {"Bytes of the events that wait to be published.", nil},
		"outbox_oldest_seconds":         {"Age of the oldest event that waits to be published.", nil},
		"platform_clock_offset_seconds": {"How far the platform's clock is ahead of the local one.", nil},
		"poller_state":                  {"1 for the state that polling is in.", []string{"state"}},
		"expected_delay_seconds":        {"Mean detection delay that the estate permits, by kind of event.", []string{"kind"}},
		"changes_per_hour":              {"Learned rate of starts and ends.", []string{"kind"}},
		"staleness_kept":                {"1 while the budget permits the maximum staleness.", nil},
		"records_skipped_total":         {"Records without a usable id or location.", nil},
		"fields_unreadable_total":       {"Values of the platform's records that could not be read, by field.", []string{"field"}},
		"missing_sessions":              {"Sessions that no list shows any more and that wait for proof that they are gone.", nil},
		"list_ordered":                  {"1 while the platform's list is sorted by start, so that one page proves who is gone.", nil},
		"history_gaps":                  {"Parts of the history that were missed and are still being read.", nil},
		"address_checks":                {"1 for the state that checks by address are in: off, learning, established or useless.", []string{"state"}},
		"address_contradictions_total":  {"Answers about addresses that were wrong by what lists show.", nil},
	})
	m.looked.Store(time.Now().UnixNano()) // what was looked at before is long ago
	return m
}

// parts are the collectors that count.
func (m *accountMetrics) parts() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.requestS, m.events, m.delay, m.records, m.commit, m.publish, m.retries, m.lost, m.guests, m.ends}
}

// show has scrapes tell of the account from now on.
func (m *accountMetrics) show(of *member) {
	m.account.Store(of)
	m.registry.MustRegister(m)
}

// hide ends that: an account that is not polled here is another process's business.
func (m *accountMetrics) hide() { m.registry.Unregister(m) }

// buildInfo is 1, and says what runs.
func buildInfo() prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "guestflow_build_info", Help: "1, with the version that runs and the Go that it was built with.",
		ConstLabels: prometheus.Labels{"version": version(), "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

// Requested counts a request.
func (m *accountMetrics) Requested(kind plan.Kind, took time.Duration, err error) {
	status := "ok"
	var fault *platform.Error
	if errors.As(err, &fault) {
		status = fault.Kind.String()
	} else if err != nil {
		status = "cancelled"
	}
	endpoint := string(poller.EndpointOf(kind))
	m.requests.WithLabelValues(endpoint, kind.String(), status).Inc()
	m.recent.looked(kind, time.Now())
	m.requestS.WithLabelValues(endpoint).Observe(took.Seconds())
}

// LookedUp counts a request of the guest look-ups.
func (m *accountMetrics) LookedUp(took time.Duration, err error) {
	m.Requested(plan.Identify, took, err)
}

// Identified counts what became of the look-up for an arrival.
func (m *accountMetrics) Identified(outcome guest.Outcome) {
	m.guests.WithLabelValues(string(outcome)).Inc()
}

// Tried counts a webhook request.
func (m *metrics) Tried(o webhook.Observation) {
	m.webhooks.WithLabelValues(o.Endpoint, string(o.Result)).Inc()
}

// Looked counts what a look brought.
func (m *accountMetrics) Looked(r poller.Report) {
	m.looked.Store(time.Now().UnixNano())
	m.records.Observe(float64(r.Records))
	m.commit.Observe(r.Committing.Seconds())
	for i := range r.Changes {
		e := &r.Changes[i]
		m.events.WithLabelValues(string(e.Kind)).Inc()
		if e.Kind == events.Ended {
			m.ends.WithLabelValues(cmp.Or(string(e.Data.Observed.Proof), "none")).Inc()
		}
		if d, ok := detectionDelay(e); ok {
			m.delay.WithLabelValues(string(e.Kind)).Observe(d.Seconds())
			m.recent.delay(e.Kind, d)
		}
	}
	if t := m.app.tracer; t != nil {
		of := tracing.Look{Account: m.name, Location: r.Location, Records: r.Records, Sent: r.At.Add(-r.Took), Answered: r.At.Add(-r.Committing), Compared: r.At.Add(r.Comparing - r.Committing), Committed: r.At}
		for i := range r.Changes {
			t.Looked(of, tracing.Event{ID: r.Changes[i].ID, Type: r.Changes[i].Kind.Type()})
		}
	}
}

// detectionDelay is how long a start or an end went unseen, as far as known: an
// inferred end happened at some time between two looks, on average in the
// middle.
func detectionDelay(e *events.Event) (time.Duration, bool) {
	o := &e.Data.Observed
	switch {
	case o.Backfilled:
		return 0, false
	case e.Kind == events.Started && !e.Data.Session.StartedAt.IsZero():
		return max(0, o.At.Sub(e.Data.Session.StartedAt)), true
	case e.Kind == events.Ended && o.End == events.EndReported && !e.Data.Session.EndedAt.IsZero():
		return max(0, o.At.Sub(e.Data.Session.EndedAt)), true
	case e.Kind == events.Ended && !o.NotYetAt.IsZero():
		return max(0, o.At.Sub(o.NotYetAt)/2), true
	}
	return 0, false
}

// Published counts a batch.
func (m *accountMetrics) Published(b publisher.Batch) {
	if b.Took > 0 {
		m.publish.Observe(b.Took.Seconds())
	}
	if t := m.app.tracer; t != nil {
		for i := range b.Entries {
			e := &b.Entries[i]
			t.Published(m.name, m.app.cfg.Stream, e.Subject(m.app.subjects), e.ID, b.Took)
		}
	}
}

// Retrying counts a failed attempt.
func (m *accountMetrics) Retrying(error, time.Duration) { m.retries.Inc() }

// Lost counts events that cannot be healed.
func (m *accountMetrics) Lost(from, to uint64) { m.lost.Add(float64(to - from + 1)) }

// Describe is part of prometheus.Collector.
func (m *accountMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descriptor {
		ch <- d
	}
	for _, p := range m.parts() {
		p.Describe(ch)
	}
}

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descriptor {
		ch <- d
	}
	ch <- m.accounts
}

// sample tells a scrape one value.
type sample func(name string, v float64, labels ...string)

func samples(ch chan<- prometheus.Metric, descriptor map[string]*prometheus.Desc, kind prometheus.ValueType) sample {
	return func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(descriptor[name], kind, v, labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Collect is part of prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge, total := samples(ch, m.descriptor, prometheus.GaugeValue), samples(ch, m.descriptor, prometheus.CounterValue)
	gaps, uncertain := m.app.web.Gaps()
	total("occupancy_missing_events_total", float64(gaps.Missing))
	total("occupancy_settled_total", float64(gaps.Settled))
	gauge("occupancy_uncertain_sessions", float64(uncertain))
	gauge("nats_connected", truth(m.app.nats.conn.IsConnected()))
	if m.app.hooks != nil {
		collectWebhooks(m.app.hooks, time.Now(), gauge)
	}
	if m.app.visits != nil {
		collectVisits(m.app.visits.Status(), gauge)
	}
	if m.app.alerts != nil {
		collectAlerts(m.app.alerts.Status(), gauge)
	}
	if m.app.keeper != nil {
		collectRetention(m.app.keeper, gauge)
	}
	for _, of := range m.app.fleet.all() {
		ch <- prometheus.MustNewConstMetric(m.accounts, prometheus.GaugeValue, truth(of.open() != nil), of.cfg.Account)
	}
}

// Collect is part of prometheus.Collector.
func (m *accountMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, p := range m.parts() {
		p.Collect(ch)
	}
	of := m.account.Load().open()
	if of == nil {
		return // it ends just now
	}
	gauge, total := samples(ch, m.descriptor, prometheus.GaugeValue), samples(ch, m.descriptor, prometheus.CounterValue)
	// What the client counts of every page, whichever look asked for it.
	total("records_skipped_total", float64(of.Client.Skipped()))
	for _, u := range of.Client.Unreadable() {
		total("fields_unreadable_total", float64(u.Count), u.Field)
	}
	now := time.Now()
	status := of.Status(now)
	for _, b := range status.Budgets {
		gauge("budget_used", float64(b.Used), string(b.Endpoint))
		gauge("budget_limit", float64(b.Limit), string(b.Endpoint))
	}
	for _, l := range status.Locations {
		gauge("staleness_seconds", l.Age.Seconds(), l.ID)
		gauge("online_sessions", float64(l.Online), l.ID)
	}
	for _, s := range []poller.State{poller.Starting, poller.Polling, poller.Waiting, poller.Paused, poller.Stopped} {
		gauge("poller_state", truth(s == status.State), string(s))
	}
	collectPlan(&status.Plan, gauge, total)
	outbox := of.Store.Outbox()
	gauge("outbox_entries", float64(outbox.Depth))
	gauge("outbox_bytes", float64(outbox.Bytes))
	gauge("outbox_oldest_seconds", age(now, outbox.Oldest).Seconds())
	offset, _ := of.Client.Clock().Offset()
	gauge("platform_clock_offset_seconds", offset.Seconds())
}

// collectPlan tells what the planner makes of the account.
func collectPlan(plan *poller.Plan, gauge, total sample) {
	gauge("expected_delay_seconds", plan.Forecast.StartMean, string(events.Started))
	gauge("expected_delay_seconds", plan.Forecast.EndMean, string(events.Ended))
	gauge("changes_per_hour", plan.Starts, string(events.Started))
	gauge("changes_per_hour", plan.Ends, string(events.Ended))
	gauge("staleness_kept", truth(!plan.Late))
	if !plan.Count.At.IsZero() {
		gauge("census_sessions", float64(plan.Count.Counted), "platform")
		gauge("census_sessions", float64(plan.Count.Known), "guestflow")
	}
	checks := addressPlanOf(plan.Addresses, plan.Forecast)
	for _, s := range []string{"off", "learning", "established", "useless"} {
		gauge("address_checks", truth(s == checks.State), s)
	}
	total("address_contradictions_total", float64(checks.Contradictions))
	gauge("history_gaps", float64(plan.Gaps))
	gauge("missing_sessions", float64(plan.Missing))
	gauge("list_ordered", truth(plan.Order == string(order.NewestFirst) || plan.Order == string(order.OldestFirst)))
}

func age(now, since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since))
}
