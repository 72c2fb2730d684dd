package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// job is one life to be run by a worker.
type job struct {
	Seed   uint64 `json:"seed"`
	Mutant string `json:"mutant"` // its name; empty is none
	// Soak is how long a day is to be, in place of a life; see soak.
	Soak time.Duration `json:"soak"`
}

func mutantNamed(name string) (*mutant, bool) {
	i := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == name })
	if i < 0 {
		return &mutant{}, name == ""
	}
	return &mutants[i], true
}

// work is a worker: a process that runs one life after the other, on one processor.
// So what a life does hardly depends on how its goroutines meet, and what would end the
// process ends one life.
func work(t *testing.T, in io.Reader, out io.Writer) {
	runtime.GOMAXPROCS(1)
	jobs, outcomes := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j job
		if jobs.Decode(&j) != nil {
			return
		}
		m, _ := mutantNamed(j.Mutant)
		if j.Soak > 0 {
			if outcomes.Encode(soakOnce(t, j.Soak)) != nil {
				return
			}
			continue
		}
		if outcomes.Encode(simulate(t, j.Seed, m)) != nil {
			return
		}
	}
}

// crew is some workers.
type crew struct{ jobs chan assignment }

type assignment struct {
	job
	done chan<- outcome
}

// hire starts a crew. The function that it returns lets it go.
func hire(n int) (*crew, func()) {
	c := &crew{jobs: make(chan assignment)}
	var working sync.WaitGroup
	for range n {
		working.Go(c.run)
	}
	return c, func() { close(c.jobs); working.Wait() }
}

func (c *crew) run() {
	var w *worker
	for a := range c.jobs {
		if w == nil {
			var err error
			if w, err = newWorker(); err != nil {
				a.done <- failed(a.Seed, err.Error())
				continue
			}
		}
		o, err := w.do(a.job)
		if err != nil {
			o = failed(a.Seed, w.end())
			w = nil
		}
		a.done <- o
	}
	if w != nil {
		w.end()
	}
}

// do has a worker run a life.
func (c *crew) do(j job) outcome {
	done := make(chan outcome, 1)
	c.jobs <- assignment{j, done}
	return <-done
}

type worker struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	jobs     *json.Encoder
	outcomes *json.Decoder
	said     bytes.Buffer
}

func newWorker() (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(self, "--worker")}
	w.cmd.Stderr = &w.said
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.jobs, w.outcomes = json.NewEncoder(w.stdin), json.NewDecoder(out)
	return w, w.cmd.Start()
}

func (w *worker) do(j job) (o outcome, err error) {
	if err = w.jobs.Encode(j); err == nil {
		err = w.outcomes.Decode(&o)
	}
	return o, err
}

// end lets the worker go, and returns the beginning of what it said.
func (w *worker) end() string {
	_ = w.stdin.Close()
	_ = w.cmd.Wait() // How it ended, it has said.
	return string(w.said.Bytes()[:min(w.said.Len(), 2000)])
}
