//go:build trial && linux

package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

var (
	scaleMost   = flag.Int("most", 500, "accounts of the largest process of TestManyAccountsInOneProcess")
	scaleMinute = flag.Duration("measured", time.Minute, "how long each size is measured")
)

// TestManyAccountsInOneProcess prints what an account costs where a process has 1, 10, 100
// and 500 of them, of 20 locations and 1,000 sessions online at 60 requests a minute: the
// share of the limit that is used, processor time, memory and what goes to the disk. NATS is a
// process of its own, and the platform this one.
func TestManyAccountsInOneProcess(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| accounts | of the limit used: mean, least | of a core, an account | memory, an account | written to disk, an account and minute |\n|---|---|---|---|---|\n")
	for _, n := range []int{1, 10, 100, 500} {
		if n <= *scaleMost {
			fmt.Fprintln(&b, costOf(t, n))
		}
	}
	t.Log(b.String())
}

// metered is a simulated platform that counts requests for lists.
type metered struct {
	asked atomic.Int64
	sim   http.Handler
}

func (m *metered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/sessions") {
		m.asked.Add(1)
	}
	m.sim.ServeHTTP(w, r)
}

// costOf measures a process with so many accounts, and returns a row of the table.
func costOf(t *testing.T, accounts int) string {
	t.Helper()
	file := "accounts:\n"
	platforms := make([]*metered, accounts)
	for i := range platforms {
		platforms[i] = &metered{sim: simulator.New(simulator.Config{
			Seed: uint64(i), HasLocations: true, HasCount: true, Token: "right", RateLimit: 60, Locations: simulator.Venues("venue-%02d", 20, 50),
		}, time.Now)}
		server := httptest.NewServer(platforms[i])
		defer server.Close()
		file += fmt.Sprintf("  - {account: account-%03d, api_url: %s, api_token: right}\n", i, server.URL)
	}
	addr, dir := free(t), t.TempDir()
	nats := start(t, []string{actAs + "=nats", natsDir + "=" + dir, natsAddr + "=" + addr})
	defer nats.kill()
	p := start(t, []string{
		actAs + "=guestflow", "GUESTFLOW_ACCOUNTS_FILE=" + accountsFile(t, file), "GUESTFLOW_NATS_URL=nats://" + addr,
		"GUESTFLOW_DATA_DIR=" + t.TempDir(), "GUESTFLOW_HTTP_ADDR=-", "GUESTFLOW_LOG_LEVEL=warn",
	}, "run")
	defer p.kill()
	// Everybody is read and published once, and what was learned of the lists is in use.
	for slices.ContainsFunc(platforms, func(m *metered) bool { return m.asked.Load() < 60 }) {
		pause(time.Second)
	}
	asked := make([]int64, accounts)
	for i, m := range platforms {
		asked[i] = m.asked.Load()
	}
	before, began := usedBy(t, p), time.Now()
	pause(*scaleMinute)
	after, took := usedBy(t, p), time.Since(began)
	mean, least := 0.0, 1.0
	for i, m := range platforms {
		share := float64(m.asked.Load()-asked[i]) / took.Minutes() / 60
		mean += share / float64(accounts)
		least = min(least, share)
	}
	each := float64(accounts)
	return fmt.Sprintf("| %d | %.1f %%, %.1f %% | %.2f %% | %.1f MB | %.0f kB |", accounts, 100*mean, 100*least,
		100*(after.processor-before.processor).Seconds()/took.Seconds()/each, float64(after.memory)/1e6/each, float64(after.written-before.written)/1e3/each/took.Minutes())
}

// used is what a process has used.
type used struct {
	processor       time.Duration
	memory, written int64 // bytes resident; bytes handed to the disk
}

// usedBy reads /proc. Processor time is told in hundredths of a second.
func usedBy(t *testing.T, c *child) (u used) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", c.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		t.Fatalf("%v: %s", err, c.output)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, ticks := range fields[11:13] { // user and system
		n, err := strconv.ParseInt(ticks, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		u.processor += time.Duration(n) * 10 * time.Millisecond
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	u.memory = pages * int64(os.Getpagesize())
	io, err := os.ReadFile(dir + "io")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(io)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			if u.written, err = strconv.ParseInt(strings.TrimSpace(n), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return u
}
