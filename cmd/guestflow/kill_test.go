package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// child is this test binary acting as something else.
type child struct {
	cmd    *exec.Cmd
	output *journal
	ended  chan error
}

func start(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	var output journal
	p := startWith(t, &output, environ, args...)
	p.output = &output
	return p
}

func startWith(t *testing.T, output io.Writer, environ []string, args ...string) *child {
	t.Helper()
	p := &child{cmd: exec.Command(os.Args[0], args...), output: &journal{}, ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), environ...)
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p
}

func (p *child) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// world is a simulated platform, a NATS server in a process of its own, and what
// a guestflow needs to know of them.
type world struct {
	t *testing.T
	*simulated
	environ  []string
	natsDir  string
	natsAddr string
	nats     *child
}

// newWorld has 20 locations and 1,000 sessions; life is speed times faster than
// real, and the platform permits as many more requests.
func newWorld(t *testing.T, speed float64) *world {
	t.Helper()
	limit := int(60 * speed)
	w := &world{t: t, natsDir: t.TempDir(), natsAddr: free(t), simulated: simulate(t, simulator.Config{
		Speed: speed, RateLimit: limit, Token: "secret", ChangeProbability: 0.1, RoamProbability: 0.05, ResumeProbability: 0.05,
		Locations: simulator.Venues("venue-%02d", 20, 50), Stay: simulator.Stay{Mean: 45 * time.Minute, Sigma: 1},
	})}
	w.environ = []string{
		actAs + "=guestflow",
		"GUESTFLOW_API_URL=" + w.url, "GUESTFLOW_API_TOKEN=secret", fmt.Sprintf("GUESTFLOW_API_RATE_LIMIT=%d", limit),
		"GUESTFLOW_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "GUESTFLOW_NATS_URL=nats://" + w.natsAddr,
		"GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_TRAFFIC_MIN_BYTES=100000", "GUESTFLOW_LOG_LEVEL=warn",
		"GUESTFLOW_GUESTS=true",
	}
	w.startNATS()
	t.Cleanup(func() { w.nats.kill() })
	return w
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) startNATS() {
	w.t.Helper()
	w.nats = start(w.t, []string{actAs + "=nats", natsDir + "=" + w.natsDir, natsAddr + "=" + w.natsAddr})
	deadline := time.Now().Add(2 * time.Minute)
	for {
		// A port that takes connections is no server yet, and may be another's.
		conn, err := nats.Connect("nats://" + w.natsAddr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("NATS does not start: %v\n%s", err, w.nats.output)
		}
		pause(20 * time.Millisecond)
	}
}

// pause lets real processes run for a while.
func pause(d time.Duration) { <-time.After(d) }

// stream reads every event.
func (w *world) stream() []events.Event {
	w.t.Helper()
	conn := natstest.Connect(w.t, "nats://"+w.natsAddr)
	return kept(w.t, conn)
}

// check compares the stream with what really happened.
func (w *world) check(c simulator.Checker) {
	w.t.Helper()
	all := w.stream()
	kinds := make(map[events.Kind]int)
	named := 0
	for _, e := range all {
		kinds[e.Kind]++
		if e.Data.Guest != nil {
			named++
		}
	}
	limited := 0
	for _, t := range w.truth.All() {
		if t.Kind == simulator.TruthLimited {
			limited++
		}
	}
	w.t.Logf("%d events: %v, %d with a guest; %d × 429", len(all), kinds, named, limited)
	if named == 0 {
		w.t.Error("no arrival names a guest")
	}
	if limited > 0 {
		w.t.Errorf("the platform refused %d requests", limited)
	}
	if kinds[events.Started] == 0 || kinds[events.Ended] == 0 || kinds[events.Traffic] == 0 {
		w.t.Errorf("too little happened: %v", kinds)
	}
	if report := c.Check(w.truth.All(), all); !report.OK() {
		w.t.Error(report)
	}
}

// stop ends a guestflow as a service manager does.
func stop(t *testing.T, p *child) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("guestflow ended with %v:\n%s", err, p.output)
		}
	case <-time.After(time.Minute):
		p.kill()
		t.Errorf("guestflow did not end within a minute of SIGTERM:\n%s", p.output)
	}
}

// TestStreamEqualsTruth: over real HTTP and TCP, ten minutes of life at twenty times
// the pace.
func TestStreamEqualsTruth(t *testing.T) {
	t.Parallel()
	for _, planner := range []string{"adaptive", "round-robin"} {
		t.Run(planner, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 20)
			p := start(t, append(w.environ, "GUESTFLOW_PLANNER="+planner), "run")
			pause(30 * time.Second)
			until := w.sim.Now().Add(-5 * time.Second)
			stop(t, p)
			w.check(simulator.Checker{Until: until})
		})
	}
}

// TestKillsLoseNothing kills guestflow 30 times and NATS 10 times at random
// moments; one of NATS's outages is longer than the stream's dedupe window.
func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	smallWindow(t, w)
	random := rand.New(rand.NewPCG(1, 2))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }

	var natsDown sync.WaitGroup
	natsDown.Go(func() {
		for i := range 10 {
			pause(time.Second + time.Duration(i%3)*time.Second)
			w.nats.kill()
			if i == 4 {
				pause(5 * time.Second)
			}
			w.startNATS()
		}
	})
	var kills []simulator.Interval
	for range 30 {
		p := start(t, w.environ, "run")
		pause(200*time.Millisecond + upTo(2*time.Second))
		p.kill()
		at := w.sim.Now()
		kills = append(kills, simulator.Interval{From: at.Add(-3 * time.Second), To: at.Add(time.Second)})
	}
	natsDown.Wait()
	p := start(t, w.environ, "run")
	pause(20 * time.Second)
	until := w.sim.Now().Add(-5 * time.Second)
	stop(t, p)
	w.check(simulator.Checker{Kills: kills, Until: until})
}

// jetStreamAt connects to a server for the time of the test.
func jetStreamAt(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(natstest.Connect(t, url), jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// smallWindow makes the stream with a dedupe window of a second.
func smallWindow(t *testing.T, w *world) {
	t.Helper()
	js := jetStreamAt(t, "nats://"+w.natsAddr)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{"guest.sessions.*.*.*"}, Storage: jetstream.FileStorage,
		MaxAge: 720 * time.Hour, Duplicates: time.Second, AllowDirect: true, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
}
