package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/guestflow/guestflow/internal/simulator"
)

// machine is the real thing: the guestflow binary and a nats-server, processes of their
// own, with a proxy on the way to each side that can be poisoned, and a data directory
// on a small disk where one can be mounted. Life is speed times faster than real.
type machine struct {
	dir, binary, data string
	mounted           bool
	haste             time.Duration // divides the time that faults last
	truth             *simulator.Recorder
	sim               *simulator.Simulator
	platform          *httptest.Server
	api, broker       *toxiproxy.Proxy
	natsAddr, web     string
	hostile           atomic.Pointer[http.HandlerFunc] // answers in the platform's place while it is set
	nats              *exec.Cmd
	conn              *nats.Conn
	js                jetstream.JetStream
	recorder          *recorder

	clock string // the file that holds how far guestflow's clock is ahead; empty is the machine's

	guestflow *exec.Cmd
	ended     chan struct{} // closed when it has
	exit      error         // how, then
	said      *tail
	kills     []simulator.Interval
	tried     []string // what was done to them, and when it began
	// How often kill -9 ended them.
	killed, natsKilled int
	troubles           []string // violations that the checker does not see
}

const speed = 20

// newMachine builds the binary and starts everything but guestflow. With a settable clock
// all of it is compiled anew once, which takes minutes.
func newMachine(seed uint64, settable bool) (m *machine, err error) {
	m = &machine{truth: &simulator.Recorder{}, haste: 1}
	if m.dir, err = os.MkdirTemp("", "robustness-"); err != nil {
		return nil, err
	}
	made := m // the result is nil beside an error
	defer func() {
		if err != nil {
			made.close()
		}
	}()
	m.binary = filepath.Join(m.dir, "guestflow")
	if err = m.build(settable); err != nil {
		return nil, err
	}
	m.data = filepath.Join(m.dir, "data")
	if err = os.Mkdir(m.data, 0o700); err != nil {
		return nil, err
	}
	m.mounted = mountSmall(m.data) == nil
	cfg := simulator.Config{
		Seed: seed, Speed: speed, RateLimit: 60 * speed, Token: "secret", HasLocations: true, HasCount: true,
		ChangeProbability: 0.1, RoamProbability: 0.05, ResumeProbability: 0.05, Truth: m.truth.Record,
	}
	cfg.Locations = simulator.Venues("venue.%d", 8, 25)
	if err = cfg.Validate(); err != nil {
		return nil, err
	}
	m.sim = simulator.New(cfg, time.Now)
	m.platform = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := m.hostile.Load(); h != nil {
			(*h)(w, r)
			return
		}
		m.sim.ServeHTTP(w, r)
	}))
	m.natsAddr, m.web = freeAddress(), freeAddress()
	if err = m.startNATS(); err != nil {
		return nil, err
	}
	if m.conn, err = nats.Connect("nats://"+m.natsAddr, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		return nil, err
	}
	if m.js, err = jetstream.New(m.conn); err != nil {
		return nil, err
	}
	m.recorder = record(m.js)
	if m.api, err = proxied("api", strings.TrimPrefix(m.platform.URL, "http://")); err != nil {
		return nil, err
	}
	m.broker, err = proxied("nats", m.natsAddr)
	return m, err
}

func (m *machine) build(settable bool) (err error) {
	build := []string{"build", "-o", m.binary}
	if settable {
		var overlay string
		if m.clock, overlay, err = settableClock(m.dir); err != nil {
			return err
		}
		build = append(build, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(build, "github.com/guestflow/guestflow/cmd/guestflow")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building guestflow: %w: %s; run it within the repository", err, out)
	}
	return nil
}

// proxied returns a proxy to an address.
func proxied(name, to string) (*toxiproxy.Proxy, error) {
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), name, freeAddress(), to)
	return p, p.Start()
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}

func mountSmall(dir string) error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128m") }

// serveNATS is what the command does when it is started as a nats-server.
func serveNATS(dir, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	o := &server.Options{Host: host, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true}
	if _, err := fmt.Sscan(port, &o.Port); err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

func (m *machine) natsDir() string { return filepath.Join(m.dir, "nats") }

func (m *machine) startNATS() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m.nats = exec.Command(self, "--nats", m.natsAddr, "--nats-dir", m.natsDir())
	if err := m.nats.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := nats.Connect("nats://" + m.natsAddr)
		if err == nil {
			conn.Close()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("NATS does not start: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (m *machine) killNATS() {
	m.natsKilled++
	_ = m.nats.Process.Kill()
	_ = m.nats.Wait()
}

// start runs guestflow, which lives until it is told otherwise.
func (m *machine) start() error {
	m.said = &tail{}
	m.guestflow = exec.Command(m.binary, "run")
	m.guestflow.Env = append(os.Environ(),
		"GUESTFLOW_API_URL=http://"+m.api.Listen, "GUESTFLOW_API_TOKEN=secret", fmt.Sprintf("GUESTFLOW_API_RATE_LIMIT=%d", 60*speed),
		"GUESTFLOW_DATA_DIR="+m.data, "GUESTFLOW_NATS_URL=nats://"+m.broker.Listen, "GUESTFLOW_HTTP_ADDR="+m.web,
		"GUESTFLOW_TRAFFIC_MIN_BYTES=100000", "GUESTFLOW_LOG_LEVEL=warn", "GUESTFLOW_API_TIMEOUT=5s")
	if m.clock != "" {
		m.guestflow.Env = append(m.guestflow.Env, clockVariable+"="+m.clock)
	}
	m.guestflow.Stdout, m.guestflow.Stderr = m.said, m.said
	if err := m.guestflow.Start(); err != nil {
		return err
	}
	ended, of := make(chan struct{}), m.guestflow
	m.ended = ended
	go func() {
		defer close(ended)
		m.exit = of.Wait() // read after ended alone
	}()
	return nil
}

// kill ends guestflow at once.
func (m *machine) kill() {
	m.killed++
	_ = m.guestflow.Process.Kill()
	<-m.ended
}

// stop ends it as a service manager does.
func (m *machine) stop() error {
	_ = m.guestflow.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
		if m.exit != nil {
			return fmt.Errorf("guestflow ended with %w: %s", m.exit, m.said)
		}
		return nil
	case <-time.After(40 * time.Second):
		m.kill()
		return errors.New("guestflow did not end within 40 s of SIGTERM")
	}
}

// lives reports an end that nobody asked for.
func (m *machine) lives() error {
	select {
	case <-m.ended:
		return fmt.Errorf("guestflow ended by itself: %w: %s", exitOf(m.exit), m.said)
	default:
		return nil
	}
}

// exitOf has a word for an end without an error, too.
func exitOf(err error) error {
	if err == nil {
		return errors.New("with exit code 0")
	}
	return err
}

// goesOn waits for an event that was seen after now.
func (m *machine) goesOn(within time.Duration) error {
	since := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		if m.recorder.news(since) {
			return nil
		}
		if err := m.lives(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no new event came within %v: %s", within, m.said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// excuse takes what was served around a fault for not delivered.
func (m *machine) excuse(from time.Time) {
	m.kills = append(m.kills, simulator.Interval{From: from.Add(-6 * time.Second), To: m.sim.Now().Add(time.Second)})
}

func (m *machine) close() {
	if m.guestflow != nil {
		_ = m.guestflow.Process.Kill()
	}
	if m.recorder != nil {
		m.recorder.stop()
	}
	if m.conn != nil {
		m.conn.Close()
	}
	for _, p := range []*toxiproxy.Proxy{m.api, m.broker} {
		if p != nil {
			p.Stop()
		}
	}
	if m.nats != nil {
		m.killNATS()
	}
	if m.platform != nil {
		m.platform.CloseClientConnections()
		m.platform.Close()
	}
	if m.mounted {
		_ = syscall.Unmount(m.data, syscall.MNT_DETACH)
	}
	_ = os.RemoveAll(m.dir)
}

// tail keeps the end of what a process says.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b.Len() > 8192 {
		t.b.Next(t.b.Len() - 4096)
	}
	return t.b.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
