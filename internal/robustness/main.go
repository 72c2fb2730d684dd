// A life's jitter comes from math/rand, which each life seeds: see lived.
//
//go:debug randseednop=0

// Command robustness tries to break every promise of the README, and says how often it
// tried and how often it did: see the table that it prints. It exits with 1 where a
// promise was broken, or where a mistake that it puts in on purpose goes unnoticed.
//
//	go run ./internal/robustness            # the long form, an hour or two
//	go run ./internal/robustness --short    # the short form, within .ci/run
//	go run ./internal/robustness --seed 42  # one simulated life again, with its story
//	go run ./internal/robustness --only processes --trial "stream deleted" --lives 5
//
// It has parts. Real processes (process.go, machine.go, trials.go, hostile.go) are the
// guestflow binary and a nats-server: killed, stopped, cut off, robbed of their files and
// streams, and among those who mean harm. The simulation (life.go) runs the product's own
// poller, diff, store and publisher in virtual time against the simulated platform and a
// broker in memory, with faults at the boundaries of API, disk, NATS and process,
// thousands of lives, each decided by a seed (script.go). Mutants (mutants.go) are mistakes put in at the seams,
// which show that the checker (verdict.go) sees what it is there for.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// options are what the command line asks for.
type options struct {
	short, json bool
	seeds       []uint64
	mutant      string
	parts       string
	lives       int
	from        uint64
	trial       string
	of          int // portions of the long form's trials
	worker      bool
	nats, store string
}

func (o *options) has(part string) bool {
	return o.parts == "" || strings.Contains(","+o.parts+",", ","+part+",")
}

// share is how many of n trials this portion has: over all portions, n in sum.
func (o *options) share(n int) int {
	of := max(1, o.of)
	return (n + int(o.from%uint64(of))) / of
}

// needsClock reports whether trials will set the clock.
func (o *options) needsClock() bool {
	return o.trial == "" || slices.ContainsFunc(clockTrials, func(t trial) bool { return t.name == o.trial })
}

func read(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("robustness", flag.ContinueOnError)
	f.BoolVar(&o.short, "short", false, "the short form: every kind of trial, few of each")
	f.BoolVar(&o.json, "json", false, "print one JSON object a row")
	f.StringVar(&o.parts, "only", "", "comma list of the parts to run: "+strings.Join(partNames(), ", "))
	f.StringVar(&o.mutant, "mutant", "", "with --seed: the mistake to put in, by its name")
	f.IntVar(&o.lives, "lives", 0, "number of simulated lives")
	f.Uint64Var(&o.from, "from", 1, "seed of the first simulated life")
	f.StringVar(&o.trial, "trial", "", "the one trial of the real processes to run, --lives times")
	f.StringVar(&o.nats, "nats", "", "be a nats-server at this address (what the command starts itself with)")
	f.StringVar(&o.store, "nats-dir", "", "its directory")
	f.IntVar(&o.of, "of", 1, "run but one part in so many of the processes' trials, decided by --from: so the long form can be had in portions")
	f.BoolVar(&o.worker, "worker", false, "run the lives that standard input asks for (what the command starts itself with)")
	f.Func("seed", "run this simulated life alone, and tell its story; may be given several times", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		o.seeds = append(o.seeds, n)
		return err
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(o.parts, ",") {
		if part != "" && !strings.Contains(","+strings.Join(partNames(), ",")+",", ","+part+",") {
			return nil, fmt.Errorf("there is no part %q: use %s", part, strings.Join(partNames(), ", "))
		}
	}
	return o, nil
}

func main() {
	o, err := read(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if o.nats != "" {
		if err := serveNATS(o.store, o.nats); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	out := os.Stdout
	// Bubbles of virtual time belong to the testing package, so all runs as a test of
	// its, the output of which goes nowhere.
	os.Args = os.Args[:1]
	if os.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	all := testing.InternalTest{Name: "robustness", F: func(t *testing.T) {
		code := run(t, o, out)
		if code != 0 {
			t.Fail()
		}
	}}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{all}, nil, nil)
}
