//go:build trial

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// cluster starts three NATS servers, and returns their URLs.
func cluster(t *testing.T) string {
	t.Helper()
	var urls []string
	for _, s := range natstest.Cluster(t) {
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ",")
}

// trial is three processes with the same twelve accounts on a cluster of three servers.
type trial struct {
	t         *testing.T
	began     time.Time
	lease     time.Duration
	platforms map[string]*simulated
	environ   []string
	dirs      [3]string
	processes [3]*child
	logs      strings.Builder
	// faults are the times in which what was served may have been told of by nobody.
	faults []simulator.Interval
}

func newTrial(t *testing.T) *trial {
	tr := &trial{t: t, began: time.Now(), lease: 6 * time.Second, platforms: map[string]*simulated{}}
	file := "accounts:\n"
	for i := range 12 {
		name := fmt.Sprintf("account-%02d", i)
		tr.platforms[name] = simulate(t, simulator.Config{Token: "right-" + name, RateLimit: 120, Speed: 4, Locations: simulator.Venues("venue-%d", 3, 40)})
		file += fmt.Sprintf("  - {account: %s, api_url: %s, api_token: right-%s, api_rate_limit: 120}\n", name, tr.platforms[name].url, name)
	}
	tr.environ = []string{
		actAs + "=guestflow", "GUESTFLOW_ACCOUNTS_FILE=" + accountsFile(t, file), "GUESTFLOW_NATS_URL=" + cluster(t), "GUESTFLOW_LEASE=" + tr.lease.String(),
		"GUESTFLOW_STREAM_REPLICAS=3", "GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_TRAFFIC_MIN_BYTES=100000",
	}
	for i := range tr.processes {
		tr.start(i, true)
	}
	return tr
}

// start begins a process, with a new data directory or its own.
func (tr *trial) start(i int, fresh bool) {
	if fresh {
		tr.dirs[i] = filepath.Join(tr.t.TempDir(), "data")
	}
	var output bytes.Buffer
	tr.processes[i] = startWith(tr.t, &output, append([]string{"GUESTFLOW_DATA_DIR=" + tr.dirs[i]}, tr.environ...), "run")
	tr.processes[i].output = &output
}

func (tr *trial) signal(i int, s syscall.Signal) {
	if err := tr.processes[i].cmd.Process.Signal(s); err != nil {
		tr.t.Fatal(err)
	}
}

// stop ends a process in good order.
func (tr *trial) stop(i int) {
	tr.signal(i, syscall.SIGTERM)
	if err := <-tr.processes[i].ended; err != nil {
		tr.t.Errorf("process %d ended with %v", i, err)
	}
	tr.logs.Write(tr.processes[i].output.Bytes())
}

// during does something to the processes, and lets the others get over it.
func (tr *trial) during(what string, do func()) {
	tr.t.Log(time.Since(tr.began).Round(time.Second), what)
	from := time.Now().Add(-4 * time.Second)
	do()
	tr.faults = append(tr.faults, simulator.Interval{From: from, To: time.Now().Add(tr.lease + 4*time.Second)})
	pause(tr.lease + 10*time.Second)
}

// verify holds the stream against the truth up to a time, and returns all events.
func (tr *trial) verify(until time.Time) {
	conn, err := nats.Connect(strings.TrimPrefix(tr.environ[2], "GUESTFLOW_NATS_URL="))
	if err != nil {
		tr.t.Fatal(err)
	}
	defer conn.Close()
	all := kept(tr.t, conn)
	revisionsGoOn(tr.t, all)
	by := map[string][]events.Event{}
	for _, e := range all {
		by[e.Account] = append(by[e.Account], e)
	}
	for name, p := range tr.platforms {
		report := simulator.Checker{Until: until, Kills: tr.faults}.Check(p.truth.All(), by[name])
		tr.t.Log(name, report)
		if !report.OK() {
			tr.t.Error(name, "is not as it happened")
		}
		for _, truth := range p.truth.All() {
			if truth.Kind == simulator.TruthLimited {
				tr.t.Errorf("%s: the platform refused a request at %v", name, truth.Time)
				break
			}
		}
		for i, e := range by[name] {
			if e.Kind == events.Discovered && e.Data.Observed.At.Sub(by[name][0].Data.Observed.At) > tr.lease*5 {
				tr.t.Errorf("%s: event %d discovers session %s, long after tracking began", name, i, e.Data.Session.ID)
				break
			}
		}
	}
	text := tr.logs.String()
	tr.t.Logf("%d events; leases taken %d times, lost %d times; states rebuilt %d times", len(all),
		strings.Count(text, "lease taken"), strings.Count(text, "lease lost"), strings.Count(text, "state rebuilt"))
}

// TestSharedAccountsOutliveFaults: processes are killed and lose their disk, are paused for
// longer than the lease, and stopped; the stream is as if nothing had happened.
func TestSharedAccountsOutliveFaults(t *testing.T) {
	tr := newTrial(t)
	pause(30 * time.Second)
	for round := range 2 {
		a, b, c := round%3, (round+1)%3, (round+2)%3
		tr.during("kill one, start it with a new data directory", func() {
			tr.processes[a].kill()
			tr.logs.Write(tr.processes[a].output.Bytes())
			pause(tr.lease)
			tr.start(a, true)
		})
		tr.during("pause one for longer than the lease", func() {
			tr.signal(b, syscall.SIGSTOP)
			pause(2*tr.lease + time.Second)
			tr.signal(b, syscall.SIGCONT)
		})
		tr.during("stop one, start it again", func() {
			tr.stop(c)
			tr.start(c, false)
		})
	}
	pause(45 * time.Second)
	until := time.Now().Add(-5 * time.Second)
	for i := range tr.processes {
		tr.stop(i)
	}
	tr.verify(until)
}
