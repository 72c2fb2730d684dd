package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	Guarantee  string `json:"guarantee"`
	Faults     string `json:"faults"`
	Trials     int    `json:"trials"`
	Violations int    `json:"violations"`
}

// table collects rows, and what is told beside them.
type table struct {
	options *options
	out     io.Writer
	mu      sync.Mutex
	rows    []row
	stories []string
}

// tell keeps what there is to say of a violation, of the first ones.
func (t *table) tell(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.stories) < 10 {
		t.stories = append(t.stories, fmt.Sprintf(format, args...))
	}
}

// fail is a row of trials that could not be made.
func (t *table) fail(what string, err error) {
	t.tell("%s: %v", what, err)
	t.add(row{Guarantee: "the trials can be made", Faults: what, Trials: 1, Violations: 1})
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
	if t.options.json {
		line, _ := json.Marshal(r) // Texts and numbers.
		fmt.Fprintf(t.out, "%s\n", line)
	}
}

// part is one level of trials.
type part struct {
	name string
	run  func(*testing.T, *table)
}

var parts = []part{{"simulation", simulation}, {"mutants", mutantHunt}, {"processes", processes}, {"hostile", hostility}, {"soak", soak}, {"packages", packages}}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// run runs what is asked for and prints the table. It returns the exit code.
func run(t *testing.T, o *options, out io.Writer) int {
	if o.worker {
		work(t, os.Stdin, out)
		return 0
	}
	if len(o.seeds) > 0 {
		return replay(t, o, out)
	}
	all := &table{options: o, out: out}
	began := time.Now()
	// Beside each other: real processes mostly wait, lives compute.
	var running sync.WaitGroup
	for _, p := range parts {
		if o.has(p.name) {
			running.Go(func() { p.run(t, all) })
		}
	}
	running.Wait()
	broken := 0
	for _, r := range all.rows {
		broken += r.Violations
	}
	if !o.json {
		all.print()
		fmt.Fprintf(out, "\n%d violations, %v\n", broken, time.Since(began).Round(time.Second))
	}
	for _, s := range all.stories {
		fmt.Fprintf(os.Stderr, "\n%s\n", s)
	}
	return min(broken, 1)
}

func (t *table) print() {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "guarantee\tfaults injected\ttrials\tviolations")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", r.Guarantee, r.Faults, r.Trials, r.Violations)
	}
	w.Flush()
}

// promises are the README's, with the faults that break them.
var promises = []struct {
	promise string
	broken  []Fault
}{
	{"nothing is lost", []Fault{Lost}},
	{"nothing comes twice", []Fault{Duplicate}},
	{"a session's events are in order", []Fault{Reordered}},
	{"nobody ends or returns who did not", []Fault{Premature}},
	{"what is said is so", []Fault{Phantom, Wrong}},
	{"nothing waits that nothing hinders", []Fault{Late}},
	{"never over the limit", []Fault{OverLimit}},
	{"it goes on by itself", []Fault{Stopped}},
}

// simulation runs lives and adds a row for each promise.
func simulation(_ *testing.T, all *table) {
	lives := 10_000
	if all.options.short {
		lives = 24
	}
	lives = cmp.Or(all.options.lives, lives)
	c, dismiss := hire(runtime.NumCPU())
	defer dismiss()
	outcomes := make(chan outcome)
	go func() {
		defer close(outcomes)
		var waiting sync.WaitGroup
		defer waiting.Wait()
		for seed := range uint64(lives) {
			done := make(chan outcome, 1)
			c.jobs <- assignment{job{Seed: all.options.from + seed}, done}
			waiting.Go(func() { outcomes <- <-done })
		}
	}()
	struck, broken := make(map[string]int), make(map[Fault]int)
	for o := range outcomes {
		for at, n := range o.Struck {
			struck[at] += n
		}
		for f, n := range o.Broken {
			broken[f] += n
		}
		if !o.ok() {
			all.tell("seed %d: go run ./internal/robustness --seed %d\n%s", o.Seed, o.Seed, o.Story)
		}
	}
	var faults []string
	for _, at := range slices.Sorted(maps.Keys(struck)) {
		faults = append(faults, fmt.Sprintf("%s %d", at, struck[at]))
	}
	for _, p := range promises {
		r := row{Guarantee: p.promise, Faults: "simulated: " + strings.Join(faults, ", "), Trials: lives}
		for _, f := range p.broken {
			r.Violations += broken[f]
		}
		all.add(r)
	}
}

// mutantHunt puts every mistake in, and counts those that go unnoticed within some lives.
func mutantHunt(_ *testing.T, all *table) {
	const lives = 6
	c, dismiss := hire(runtime.NumCPU())
	defer dismiss()
	var hunts sync.WaitGroup
	var mu sync.Mutex
	r := row{Guarantee: "each mistake is noticed", Faults: "mutants", Trials: len(mutants)}
	for i := range mutants {
		hunts.Go(func() {
			m := &mutants[i]
			for seed := uint64(1); seed <= lives; seed++ {
				o := c.do(job{Seed: seed, Mutant: m.name})
				if slices.ContainsFunc(m.caught, func(f Fault) bool { return o.Broken[f] > 0 }) {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			r.Violations++
			all.tell("not noticed within %d lives: %s", lives, m.name)
		})
	}
	hunts.Wait()
	all.add(r)
}

// replay runs single lives again, and tells of each.
func replay(t *testing.T, o *options, out io.Writer) (code int) {
	m, found := mutantNamed(o.mutant)
	if !found {
		fmt.Fprintf(out, "there is no mutant %q; they are:\n", o.mutant)
		for _, m := range mutants {
			fmt.Fprintf(out, "  %s\n", m.name)
		}
		return 2
	}
	runtime.GOMAXPROCS(1) // as a worker
	for _, seed := range o.seeds {
		began := time.Now()
		got := simulate(t, seed, m)
		fmt.Fprintf(out, "seed %d: %d events, faults %v, digest %x, %v\n", seed, got.Events, got.Struck, got.Digest, time.Since(began).Round(time.Millisecond))
		if !got.ok() {
			code = 1
			fmt.Fprintln(out, got.Story)
			s := scriptOf(seed)
			m.shape(&s)
			s.platform.Latency = nil
			fmt.Fprintf(out, "the script: %+v\n", s)
		}
	}
	return code
}
