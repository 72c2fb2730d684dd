package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is what became of one seed.
type outcome struct {
	Seed   uint64         `json:"seed"`
	Events int            `json:"events"`
	Struck map[string]int `json:"struck"` // faults, by boundary
	Broken map[Fault]int  `json:"broken"`
	Story  string         `json:"story"` // of the first violation
	// Digest is of the stream and when each event came into it: two runs of a seed that
	// went the same way have the same.
	Digest uint64   `json:"digest"`
	Levels []levels `json:"levels,omitempty"` // of a day; see soak
}

func (o *outcome) ok() bool { return len(o.Broken) == 0 }

func failed(seed uint64, why string) outcome {
	return outcome{Seed: seed, Broken: map[Fault]int{Stopped: 1}, Story: why}
}

// simulate runs one seed's life in a bubble of virtual time, which passes whenever all
// that runs in it waits. The bubble is the testing package's, hence t; what is wrong is
// reported and does not fail it.
func simulate(t *testing.T, seed uint64, m *mutant) (o outcome) {
	dir, err := os.MkdirTemp("", "robustness-")
	if err != nil {
		return failed(seed, err.Error())
	}
	defer os.RemoveAll(dir)
	o = failed(seed, "the life did not come to its end")
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { o = lived(seed, m, filepath.Join(dir, "0")) })
	})
	// The NATS client keeps timers for its next connection, which must not be of a
	// bubble that has ended: two collections empty its pool.
	runtime.GC()
	runtime.GC()
	return o
}

// lived is a life, within its bubble.
func lived(seed uint64, m *mutant, dir string) outcome {
	s := scriptOf(seed)
	m.shape(&s)
	if err := s.platform.Validate(); err != nil {
		return failed(seed, err.Error())
	}
	rand.Seed(int64(seed)) // what backs off in the product's libraries draws its jitter there
	// A bubble begins in 2000, which is no time for sessions.
	time.Sleep(time.Until(s.begin))
	l := newLife(s, m, dir)
	stream, ended := l.live()
	truth := l.truth.All()
	for _, t := range truth {
		if t.Fault != "" {
			l.faults["API"]++
		}
	}
	r := l.checker().Check(truth, stream, l.way.asks, ended)
	story := r.First
	if !r.OK() {
		story = fmt.Sprintf("%v\n%s\n%v", r, cmp.Or(r.First, "nothing more is known"), r.Report)
		if ended != nil {
			story += "\nit stopped: " + ended.Error()
		}
	}
	digest := fnv.New64a()
	for _, e := range stream {
		fmt.Fprintln(digest, e.ID, e.at)
	}
	return outcome{Seed: seed, Events: len(stream), Struck: l.faults, Broken: r.Faults, Story: story, Digest: digest.Sum64()}
}
