package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// simulated is a simulated platform on real HTTP.
type simulated struct {
	sim   *simulator.Simulator
	truth *simulator.Recorder
	url   string
}

// simulate serves cfg, with three venues of 60 sessions where it has none. Stays are short
// and figures move seldom where cfg does not say: what tests wait for are arrivals and ends,
// and thousands of traffic events keep a busy machine from publishing these. Nobody stays
// so short as to have left when the next process begins.
func simulate(t *testing.T, cfg simulator.Config) *simulated {
	t.Helper()
	p := &simulated{truth: &simulator.Recorder{}}
	cfg.Seed, cfg.HasLocations, cfg.HasCount, cfg.Truth = 11, true, true, p.truth.Record
	if len(cfg.Locations) == 0 {
		cfg.Locations = simulator.Venues("venue-%d", 3, 60)
	}
	cfg.AccountingInterval = cmp.Or(cfg.AccountingInterval, 10*time.Minute)
	cfg.Stay = cmp.Or(cfg.Stay, simulator.Stay{Mean: 10 * time.Minute, Sigma: 0.3})
	p.sim = simulator.New(cfg, time.Now)
	server := httptest.NewServer(p.sim)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// listen takes an address for the length of the test.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// running is an app in this process.
type running struct {
	*app
	t     *testing.T
	began time.Time
	stop  context.CancelFunc
	ended chan error
}

// settings are those of an app that tests run, on addresses of its own.
func settings(t *testing.T, p *simulated, variables ...string) Config {
	t.Helper()
	return loaded(t, environ(t, p, variables...))
}

// exported are settings that commands find in the environment, too. Such tests
// cannot run beside others.
func exported(t *testing.T, p *simulated, variables ...string) Config {
	t.Helper()
	all := environ(t, p, variables...)
	environment(t, all...)
	return loaded(t, all)
}

// environ gives each variable once.
func environ(t *testing.T, p *simulated, variables ...string) []string {
	t.Helper()
	for _, usual := range []string{
		"GUESTFLOW_API_URL=" + p.url, "GUESTFLOW_API_TOKEN=right", "GUESTFLOW_DATA_DIR=" + t.TempDir(),
		"GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_HTTP_ADDR=127.0.0.1:0", "GUESTFLOW_TRAFFIC_MIN_BYTES=100000",
	} {
		name, _, _ := strings.Cut(usual, "=")
		if !slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			variables = append(variables, usual)
		}
	}
	return variables
}

func loaded(t *testing.T, environ []string) Config {
	t.Helper()
	cfg, _, err := loadConfig(environ)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func launch(t *testing.T, cfg Config) *running {
	t.Helper()
	return launchLogging(t, cfg, t.Output())
}

// launchLogging has everything logged, to a writer.
func launchLogging(t *testing.T, cfg Config, log io.Writer) *running {
	t.Helper()
	a, err := newApp(t.Context(), cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{app: a, t: t, began: time.Now(), stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		if r.ended != nil {
			stop()
			<-r.ended
		}
		a.Close()
	})
	return r
}

// only is the account of an app that has but one.
func (r *running) only() *account.Account { return r.fleet.all()[0].open() }

// end stops it as a signal does, and waits.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		r.ended = nil
		if err != nil {
			r.t.Errorf("asked to end, it ended with %v", err)
		}
	case <-time.After(account.DrainTime + time.Minute):
		r.t.Fatal("it does not end")
	}
}

// endPublished is end after all that was committed by now has been published: what is
// left at its end is given but DrainTime, in which a busy machine does not get far.
func (r *running) endPublished() {
	r.t.Helper()
	for _, m := range r.fleet.all() {
		a := m.open()
		if a == nil {
			continue
		}
		last := a.Store.Outbox().Last
		eventually(r.t, func() string {
			if n := a.Store.Cursor().OutboxSeq; n < last {
				return fmt.Sprintf("%d events are not published yet", last-n)
			}
			return ""
		})
	}
	r.end()
}

func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Get("http://" + r.listener.Addr().String() + path)
	if err != nil {
		select {
		case why := <-r.ended:
			r.ended <- why
			return 0, fmt.Sprintf("it has ended: %v", why)
		default:
			return 0, err.Error()
		}
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(b)
}

// eventually waits until holds returns an empty text, which says what is missing.
func eventually(t *testing.T, holds func() string) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(4 * time.Minute)
	missing := ""
	for {
		if missing = holds(); missing == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal(missing)
		}
	}
}

func (r *running) eventuallyReady(want int, part string) {
	r.t.Helper()
	r.eventuallyGets("/readyz", want, part)
}

// eventuallyGets waits for an answer.
func (r *running) eventuallyGets(path string, want int, part string) {
	r.t.Helper()
	eventually(r.t, func() string {
		if status, body := r.get(path); status != want || !strings.Contains(body, part) {
			return fmt.Sprintf("%s answers %d %q, want %d with %q", path, status, body, want, part)
		}
		return ""
	})
}

// kept reads the whole stream.
func kept(t *testing.T, conn *nats.Conn) []events.Event {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return keptBy(t, js)
}

func keptBy(t *testing.T, js jetstream.JetStream) (all []events.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := consume.Consumer{From: consume.FromStart()}.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		all = append(all, d.Event)
		if d.Pending == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func verify(t *testing.T, p *simulated, c simulator.Checker, all []events.Event) {
	t.Helper()
	report := c.Check(p.truth.All(), all)
	if !report.OK() {
		t.Error(report)
	}
	if report.Served < 100 {
		t.Errorf("too little was looked at to mean anything: %v", report)
	}
}

// eventuallyTold waits until the stream has what the platform showed until then. Where
// nobody polled for a while, who came and went is read from the platform's history.
func eventuallyTold(t *testing.T, p *simulated, until time.Time, read func() []events.Event) {
	t.Helper()
	eventually(t, func() string {
		if report := (simulator.Checker{Until: until}).Check(p.truth.All(), read()); !report.OK() {
			return report.String()
		}
		return ""
	})
}

// TestAppPublishesWhatHappens: the very app that run and demo use, over real HTTP
// and TCP, and all that it serves.
func TestAppPublishesWhatHappens(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200, ChangeProbability: 0.5, ResumeProbability: 0.1})
	r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200"))
	r.eventuallyReady(http.StatusOK, "ready")
	eventually(t, func() string {
		_, body := r.get("/metrics")
		for _, sample := range []string{
			`guestflow_events_total{account="default",kind="started"}`, `guestflow_events_total{account="default",kind="ended"}`,
			`guestflow_events_total{account="default",kind="traffic"}`, `guestflow_events_total{account="default",kind="updated"}`,
		} {
			if v := value(body, sample); !(v >= 20) {
				return fmt.Sprintf("%s is %v, want 20 or more", sample, v)
			}
		}
		return ""
	})

	eventually(t, func() string {
		var plan livePlan
		_, body := r.get("/plan")
		if err := json.Unmarshal([]byte(body), &plan); err != nil {
			return fmt.Sprintf("/plan answers %q: %v", body, err)
		}
		if plan.Online == 0 || plan.Limit != 1200 || len(plan.LocationsByDelay) == 0 || plan.Starts.Measured == 0 || plan.Census == nil || plan.Census.Counted == 0 {
			return fmt.Sprintf("/plan: %+v", plan)
		}
		var printed strings.Builder
		if err := plan.write(&printed, 2); err != nil || !strings.Contains(printed.String(), "expected mean") || !strings.Contains(printed.String(), "and 1 more") || !strings.Contains(printed.String(), reasons["sweep"]) || !strings.Contains(printed.String(), "census: ") {
			return fmt.Sprintf("the plan reads: %v\n%s", err, &printed)
		}
		return ""
	})
	samples := []struct {
		sample      string
		least, most float64
	}{
		{`guestflow_requests_total{account="default",endpoint="sessions",look="sweep",status="ok"}`, 5, 1e6},
		{`guestflow_request_seconds_count{account="default",endpoint="sessions"}`, 5, 1e6},
		{`guestflow_budget_used{account="default",endpoint="sessions"}`, 5, 1200},
		{`guestflow_budget_limit{account="default",endpoint="sessions"}`, 1200, 1200},
		{`guestflow_staleness_seconds{account="default",location="venue-1"}`, 0, 30},
		{`guestflow_online_sessions{account="default",location="venue-1"}`, 20, 150},
		{`guestflow_detection_delay_seconds_count{account="default",kind="started"}`, 20, 1e6},
		{`guestflow_detection_delay_seconds_count{account="default",kind="ended"}`, 10, 1e6},
		{`guestflow_detection_delay_seconds_sum{account="default",kind="started"}`, 0.001, 1e6},
		{`guestflow_outbox_entries{account="default"}`, 0, 1e5},
		{`guestflow_outbox_bytes{account="default"}`, 0, 1e9},
		{`guestflow_outbox_oldest_seconds{account="default"}`, 0, 10},
		{`guestflow_snapshot_records_count{account="default"}`, 5, 1e6},
		{`guestflow_commit_seconds_count{account="default"}`, 5, 1e6},
		{`guestflow_publish_seconds_count{account="default"}`, 1, 1e6},
		{`guestflow_platform_clock_offset_seconds{account="default"}`, -1.5, 1.5},
		{`guestflow_poller_state{account="default",state="polling"}`, 1, 1},
		{`guestflow_poller_state{account="default",state="stopped"}`, 0, 0},
		{`guestflow_nats_connected{account="default"}`, 1, 1},
		{`guestflow_publish_lost_total{account="default"}`, 0, 0},
	}
	eventually(t, func() string {
		status, body := r.get("/metrics")
		if status != http.StatusOK {
			return fmt.Sprintf("/metrics answers %d", status)
		}
		for _, c := range samples {
			if v := value(body, c.sample); !(v >= c.least && v <= c.most) {
				return fmt.Sprintf("%s is %v, want %v to %v", c.sample, v, c.least, c.most)
			}
		}
		return ""
	})
	for path, part := range map[string]string{"/": "<html", "/healthz": "ok", "/v1/locations": "Venue 1"} {
		if status, body := r.get(path); status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%s answers %d, without %q", path, status, part)
		}
	}
	// Other clients reach the embedded server, as `nats sub` would.
	conn := natstest.Connect(t, r.nats.URL())

	until := p.sim.Now().Add(-3 * time.Second)
	r.endPublished()
	if left := r.only().Store.Outbox().Depth; left != 0 {
		t.Errorf("%d events were not published before the end", left)
	}
	verify(t, p, simulator.Checker{Until: until}, kept(t, conn))
	for _, truth := range p.truth.All() {
		if truth.Kind == simulator.TruthLimited {
			t.Fatal("the platform refused a request")
		}
	}
}

// value is a sample of the Prometheus text format; NaN where it is missing.
func value(body, sample string) float64 {
	for line := range strings.SplitSeq(body, "\n") {
		if text, ok := strings.CutPrefix(line, sample+" "); ok {
			var v float64
			if _, err := fmt.Sscan(text, &v); err == nil {
				return v
			}
		}
	}
	return math.NaN()
}

// TestReadinessFailsWhenTheTokenIsRefused: the process lives, but does not do its
// job, and says why.
func TestReadinessFailsWhenTheTokenIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("from the start", func(t *testing.T) {
		r := launch(t, settings(t, simulate(t, simulator.Config{Token: "another"})))
		r.eventuallyReady(http.StatusServiceUnavailable, "GUESTFLOW_API_TOKEN")
		if status, _ := r.get("/healthz"); status != http.StatusOK {
			t.Errorf("/healthz answers %d", status)
		}
		if _, body := r.get("/readyz"); strings.Contains(body, "right") {
			t.Errorf("/readyz tells the token: %q", body)
		}
		r.eventuallyGets("/v1/health", http.StatusOK, `"last_error":"`)
		if _, body := r.get("/v1/health"); strings.Contains(body, "last_error_at") {
			t.Errorf("the page's health shows a time that nobody noted: %s", body)
		}
		r.end()
	})
	t.Run("revoked", func(t *testing.T) {
		p := simulate(t, simulator.Config{Token: "right", RateLimit: 1200})
		var revoked atomic.Bool
		door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if revoked.Load() {
				r.Header.Set("Authorization", "Bearer another")
			}
			p.sim.ServeHTTP(w, r)
		}))
		t.Cleanup(door.Close)
		p.url = door.URL
		r := launch(t, settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200"))
		r.eventuallyReady(http.StatusOK, "ready")
		revoked.Store(true)
		r.eventuallyReady(http.StatusServiceUnavailable, "polling: stopped: sessions: ")
		r.eventuallySees(`guestflow_poller_state{account="default",state="stopped"}`, 1)
		r.end()
	})
}
