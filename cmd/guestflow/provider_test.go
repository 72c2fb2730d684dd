package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/internal/simulator"
)

// provider is a service provider's installation, of real processes: three NATS servers
// that are a cluster, each behind a proxy that can be cut, and three guestflows with the
// same accounts file.
type provider struct {
	t         *testing.T
	lease     time.Duration
	platforms map[string]*simulated
	environ   []string
	servers   [3]*node
	processes [3]*guestflow

	mu     sync.Mutex
	faults []simulator.Interval // in which what was served may have been told of by nobody
	logs   bytes.Buffer         // of processes that have ended
}

// TestAccountsOutliveTheirProcesses: one process is killed, another one paused for longer
// than its lease, and the third cut off from a NATS server, all at once. It takes the
// accounts over, shares them again with the others when these are back, and the stream is as
// if nothing had happened. TestProviderOutlivesFaults is the long form.
func TestAccountsOutliveTheirProcesses(t *testing.T) {
	t.Parallel()
	p := newProvider(t, shape{accounts: 6, venues: 3, online: 20, speed: 40, limit: 300, lease: 4 * time.Second})
	js := p.connect()
	p.settled(js)
	p.told(js)
	p.during("guestflow 0: kill -9; guestflow 1: paused; nats 1: the way to it is cut", 0, func() {
		mend := p.cut(1)
		p.kill(0)
		sendTo(t, p.processes[1].child, syscall.SIGSTOP)
		p.heldBy(js, 1)
		mend()
		p.told(js)
	})
	p.told(js)
	p.during("guestflow 0: started with a new data directory; guestflow 1: goes on", 0, func() {
		sendTo(t, p.processes[1].child, syscall.SIGCONT)
		p.start(0, true)
		p.settled(js)
	})
	p.told(js)
	p.told(js)
	until := time.Now().Add(-settling)
	for i := range p.processes {
		p.stop(i)
	}
	p.verify(until)
}

// shape is what a provider looks like.
type shape struct {
	accounts, venues, online int
	speed                    float64 // of life
	limit                    int     // requests a minute that the platform permits; 0 is speed times 60
	lease                    time.Duration
}

// node is one server of the cluster, a process of its own.
type node struct {
	environ []string
	child   *child
	proxy   *toxiproxy.Proxy
}

// guestflow is one of the processes that share the accounts.
type guestflow struct {
	dir    string
	child  *child
	output *journal
}

func newProvider(t *testing.T, s shape) *provider {
	t.Helper()
	p := &provider{t: t, lease: s.lease, platforms: map[string]*simulated{}}
	limit := cmp.Or(s.limit, int(60*s.speed))
	file := "accounts:\n"
	for i := range s.accounts {
		name := fmt.Sprintf("account-%02d", i)
		cfg := simulator.Config{Token: "right-" + name, RateLimit: limit, Speed: s.speed}
		for v := range max(3, s.venues) {
			cfg.Locations = append(cfg.Locations, simulator.Location{ID: fmt.Sprintf("venue-%d", v), MeanOnline: float64(s.online)})
		}
		p.platforms[name] = simulate(t, cfg)
		file += fmt.Sprintf("  - {account: %s, api_url: %s, api_token: right-%s, api_rate_limit: %d}\n", name, p.platforms[name].url, name, limit)
	}
	p.startCluster()
	p.environ = []string{
		actAs + "=guestflow", "GUESTFLOW_ACCOUNTS_FILE=" + accountsFile(t, file), "GUESTFLOW_NATS_URL=" + p.url(), "GUESTFLOW_LEASE=" + s.lease.String(),
		"GUESTFLOW_STREAM_REPLICAS=3", "GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_TRAFFIC_MIN_BYTES=10000000",
	}
	for i := range p.processes {
		p.processes[i] = &guestflow{}
		p.start(i, true)
	}
	t.Cleanup(p.close)
	return p
}

// startCluster starts three servers that know each other, and a proxy before each.
func (p *provider) startCluster() {
	p.t.Helper()
	var listen, routes []string
	for range p.servers {
		listen, routes = append(listen, free(p.t)), append(routes, free(p.t))
	}
	for i := range p.servers {
		dir := p.t.TempDir()
		conf := filepath.Join(dir, "nats.conf")
		// Clients are to know the proxies alone.
		text := fmt.Sprintf("server_name: n%d\nlisten: %q\njetstream {store_dir: %q}\ncluster {name: c, listen: %q, no_advertise: true, routes: [%s]}\n",
			i, listen[i], dir, routes[i], `"nats://`+strings.Join(routes, `", "nats://`)+`"`)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
		s := &node{environ: []string{actAs + "=nats", natsConf + "=" + conf}}
		s.proxy = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "nats", free(p.t), listen[i])
		if err := s.proxy.Start(); err != nil {
			p.t.Fatal(err)
		}
		p.servers[i] = s
		s.child = start(p.t, s.environ)
	}
}

func (p *provider) url() string {
	var all []string
	for _, s := range p.servers {
		all = append(all, "nats://"+s.proxy.Listen)
	}
	return strings.Join(all, ",")
}

// connect waits until the cluster answers.
func (p *provider) connect() jetstream.JetStream {
	p.t.Helper()
	conn, err := nats.Connect(p.url(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	return js
}

// start begins a process, with a new data directory or its own.
func (p *provider) start(i int, fresh bool) {
	g := p.processes[i]
	if fresh {
		g.dir = filepath.Join(p.t.TempDir(), "data")
	}
	g.output = &journal{}
	g.child = startWith(p.t, g.output, append([]string{"GUESTFLOW_DATA_DIR=" + g.dir}, p.environ...), "run")
}

// kill ends a process as a power cut does.
func (p *provider) kill(i int) {
	p.processes[i].child.kill()
	p.collect(i)
}

// stop ends a process in good order.
func (p *provider) stop(i int) {
	g := p.processes[i]
	sendTo(p.t, g.child, syscall.SIGTERM)
	if err := <-g.child.ended; err != nil {
		p.t.Errorf("process %d ended with %v", i, err)
	}
	p.collect(i)
}

func (p *provider) collect(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logs.WriteString(p.processes[i].output.String())
}

func sendTo(t *testing.T, c *child, s syscall.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Error(err)
	}
}

func (p *provider) close() {
	for i, g := range p.processes {
		_ = g.child.cmd.Process.Kill() // it may have ended
		if p.t.Failed() {
			lines := strings.SplitAfter(g.output.String(), "\n")
			p.t.Logf("process %d in the end:\n%s", i, strings.Join(lines[max(0, len(lines)-60):], ""))
		}
	}
	for _, s := range p.servers {
		_ = s.child.cmd.Process.Kill()
		s.proxy.Stop()
	}
}

// during does something, and notes when it was, and some time after. What is served at such
// times may be told of by nobody: a process that loses its accounts leaves that to the next one.
func (p *provider) during(what string, after time.Duration, do func()) {
	p.t.Log(time.Now().Format(time.TimeOnly), what)
	from := time.Now().Add(-settling)
	do()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, simulator.Interval{From: from, To: time.Now().Add(after + settling)})
}

// calm is when some of what was served after the last fault counts.
func (p *provider) calm() (at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.faults); n > 0 {
		at = p.faults[n-1].To.Add(2 * settling)
	}
	return at
}

// settling is how long it may take until what was served is in the stream.
const settling = 3 * time.Second

// cut lets nobody through to a server until what is returned is called.
func (p *provider) cut(i int) (mend func()) {
	proxy := p.servers[i].proxy
	proxy.Stop()
	return func() {
		if err := proxy.Start(); err != nil {
			p.t.Error(err)
		}
	}
}

// heldBy waits until a number of processes hold all accounts.
func (p *provider) heldBy(js jetstream.JetStream, processes int) {
	p.t.Helper()
	eventually(p.t, func() string {
		holders, has := p.holders(js), map[string]bool{}
		for _, owner := range holders {
			has[owner] = true
		}
		if len(holders) < len(p.platforms) || len(has) != processes {
			return fmt.Sprintf("%d of %d accounts are held, by %d processes", len(holders), len(p.platforms), len(has))
		}
		return ""
	})
}

// verify holds the stream against the truth up to a time.
func (p *provider) verify(until time.Time) {
	p.t.Helper()
	all := keptBy(p.t, p.connect())
	revisionsGoOn(p.t, all)
	by := map[string][]events.Event{}
	for _, e := range all {
		by[e.Account] = append(by[e.Account], e)
	}
	served := 0
	for name, platform := range p.platforms {
		report := simulator.Checker{Until: until, Kills: p.faults}.Check(platform.truth.All(), by[name])
		served += report.Served
		if !report.OK() {
			p.t.Error(name, report)
		}
		var refused []string
		for _, truth := range platform.truth.All() {
			if truth.Kind == simulator.TruthLimited {
				refused = append(refused, truth.Time.UTC().Format("15:04:05.000"))
			}
		}
		if len(refused) > 0 {
			p.t.Errorf("%s: the platform refused requests at %v; who ran the account:\n%s", name, refused, p.logged(name))
		}
		for _, e := range by[name] {
			if began := by[name][0].Data.Observed.At; e.Kind == events.Discovered && e.Data.Session.StartedAt.After(began.Add(5*p.lease)) {
				p.t.Errorf("%s: session %s is discovered at %v, and came long after tracking began; who ran the account:\n%s", name, e.Data.Session.ID, e.Data.Observed.At, p.logged(name))
				break
			}
		}
	}
	text := p.logs.String()
	p.t.Logf("%d accounts, %d events, %d sessions served, %d faults; leases taken %d times, lost %d times; states rebuilt %d times", len(p.platforms), len(all), served, len(p.faults),
		strings.Count(text, "lease taken"), strings.Count(text, "lease lost"), strings.Count(text, "state rebuilt"))
	if served < 10*len(p.platforms) {
		p.t.Error("too little was served to mean anything")
	}
}

// told waits until more of each account has been told of, starts and ends among it.
func (p *provider) told(js jetstream.JetStream) {
	p.t.Helper()
	count := func() map[string]uint64 {
		ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, events.DefaultStream)
		if err != nil {
			return nil // it has no leader at the moment
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.DefaultPrefix+".>"))
		if err != nil {
			return nil
		}
		all := map[string]uint64{}
		for subject, n := range info.State.Subjects {
			parts := strings.Split(subject, ".")
			all[parts[2]+" "+parts[4]] += n
		}
		return all
	}
	before, calm := count(), p.calm()
	eventually(p.t, func() string {
		if time.Now().Before(calm) {
			return "what is served counts again from " + calm.Format(time.TimeOnly)
		}
		now := count()
		for name := range p.platforms {
			for _, kind := range []events.Kind{events.Started, events.Ended} {
				if of := name + " " + string(kind); now[of] < before[of]+2 {
					return fmt.Sprintf("%s: %d, before %d", of, now[of], before[of])
				}
			}
		}
		return ""
	})
}

// logged is what the processes logged of an account.
func (p *provider) logged(account string) string {
	var lines []string
	for line := range strings.Lines(p.logs.String()) {
		if strings.Contains(line, "="+account+" ") || strings.HasSuffix(line, "="+account+"\n") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines) // by time
	return strings.Join(lines, "")
}

// holders says which process has each account's lease.
func (p *provider) holders(js jetstream.JetStream) map[string]string {
	all := map[string]string{}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	kv, err := js.KeyValue(ctx, lease.DefaultBucket)
	if err != nil {
		return all // not made yet
	}
	for name := range p.platforms {
		e, err := kv.Get(ctx, "lease."+lease.Plain(name))
		if err != nil {
			continue
		}
		var r struct {
			Owner    string
			Released bool
		}
		if json.Unmarshal(e.Value(), &r) == nil && !r.Released {
			all[name] = r.Owner
		}
	}
	return all
}

// settled waits until three processes share all accounts.
func (p *provider) settled(js jetstream.JetStream) (holders map[string]string) {
	p.t.Helper()
	eventually(p.t, func() string {
		holders = p.holders(js)
		has := map[string]int{}
		for _, owner := range holders {
			has[owner]++
		}
		for _, n := range has {
			if n > (len(p.platforms)+2)/3 {
				return fmt.Sprintf("accounts by process: %v", has)
			}
		}
		if len(holders) < len(p.platforms) || len(has) != 3 {
			return fmt.Sprintf("%d of %d accounts are held, by %d processes", len(holders), len(p.platforms), len(has))
		}
		return ""
	})
	return holders
}
