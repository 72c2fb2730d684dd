package freshness

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
)

// With -hashes, TestRunsAreDeterministic prints a line for each run. Those of two
// versions are equal where requests, decisions and event ids are, byte by byte: so
// a move within the poller shows that it moved nothing else.
//
//	go test ./internal/freshness -run Deterministic -v -args -hashes -seeds 20
var (
	hashes = flag.Bool("hashes", false, "print the hash of each run's trace")
	seeds  = flag.Int("seeds", 1, "seeds of each estate to trace, and of each burst")
	traces = flag.String("traces", "", "a directory to write the traces to")
)

// traceRuns are every estate in every order, and the other policies where they
// take another way through the poller.
func traceRuns() []Run {
	var runs []Run
	add := func(r Run) {
		r.Warmup, r.Horizon = time.Minute, 3*time.Minute
		runs = append(runs, r)
	}
	orders := []simulator.Order{simulator.NewestFirst, simulator.OldestFirst, simulator.Unordered}
	for i, estate := range simulator.Estates() {
		few := orders[i%len(orders):][:1]
		if *hashes {
			few = orders
		}
		for _, order := range long.Of(few, orders) {
			add(Run{Estate: estate, Policy: "adaptive", Order: order})
		}
	}
	for _, policy := range Policies() {
		add(Run{Estate: "E2", Policy: policy, Order: simulator.NewestFirst, SharedBudget: true})
	}
	add(Run{Estate: "E1", Policy: "adaptive", Order: simulator.Shuffled, SharedBudget: true, Bare: true})
	for _, policy := range []string{"adaptive", Checked} {
		add(Run{Estate: "E1", Policy: policy, Order: simulator.NewestFirst, Restart: true})
	}
	add(Run{Estate: "small", Config: small(), Policy: "adaptive", Order: simulator.NewestFirst})
	return runs
}

// small is an estate whose list is one page: its ends wait for final figures.
func small() *simulator.Config {
	return &simulator.Config{Locations: []simulator.Location{
		{ID: "bar", MeanOnline: 20, Stay: simulator.Stay{Mean: 10 * time.Minute, Sigma: 1}},
		{ID: "inn", MeanOnline: 30, Stay: simulator.Stay{Mean: 20 * time.Minute, Sigma: 1}},
	}}
}

// TestRunsAreDeterministic: the same code makes the same run, byte by byte. Where
// the order of a map decides anything, that shows here.
func TestRunsAreDeterministic(t *testing.T) {
	for _, run := range traceRuns() {
		for seed := range uint64(*seeds) {
			run := run // each seed's own: the tests run after the loop
			run.Seed = seed + 1
			name := fmt.Sprintf("%s %s %s shared=%t restart=%t seed=%d", run.Estate, run.Policy, run.Order, run.SharedBudget, run.Restart, run.Seed)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				first, lines := traceOf(t, run, name)
				if *hashes {
					fmt.Printf("%x %s\n", first[:12], name)
					return // Compared with another version's, they need no second run.
				}
				if second, _ := traceOf(t, run, ""); first != second {
					t.Error("two runs differ; -traces DIR writes what they did")
				}
				if lines < 500 {
					t.Errorf("only %d lines were traced", lines)
				}
			})
		}
	}
}

// traceOf hashes the trace of a run, and counts its lines.
func traceOf(t *testing.T, run Run, name string) (sum [sha256.Size]byte, lines int) {
	t.Helper()
	var text bytes.Buffer
	run.Trace = &text
	if *traces != "" && name != "" {
		f, err := os.Create(filepath.Join(*traces, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		run.Trace = io.MultiWriter(&text, f)
	}
	if _, err := run.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(text.Bytes()), bytes.Count(text.Bytes(), []byte("\n"))
}
