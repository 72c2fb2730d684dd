package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// soak lets a day pass, with its rhythm, and looks at what has grown by its end.
func soak(_ *testing.T, all *table) {
	length := 24 * time.Hour
	if all.options.short {
		length = 90 * time.Minute
	}
	r := row{Guarantee: "nothing grows in a day", Faults: fmt.Sprintf("%v of life with its rhythm", length), Trials: 1}
	c, dismiss := hire(1)
	defer dismiss()
	o := c.do(job{Soak: length})
	figures := o.Levels
	if !o.ok() || len(figures) < 3 {
		all.fail("a day", fmt.Errorf("it did not come to its end: %s", o.Story))
		return
	}
	// The first third is for caches, pools and rates to fill, and the file to find its
	// size.
	early, late := figures[len(figures)/3], figures[len(figures)-1]
	for _, g := range late.grown(early) {
		r.Violations++
		all.tell("in a day: %s", g)
	}
	r.Faults += fmt.Sprintf(": heap %d to %d kB, %d to %d goroutines, %d to %d files open, state file %d to %d kB, stream %d to %d messages",
		early.Heap>>10, late.Heap>>10, early.Goroutines, late.Goroutines, early.Files, late.Files, early.State>>10, late.State>>10, early.Stream, late.Stream)
	all.add(r)
}

// levels are what may not grow.
type levels struct {
	Heap       int64 `json:"heap"`  // bytes
	State      int64 `json:"state"` // bytes
	Goroutines int   `json:"goroutines"`
	Files      int   `json:"files"`
	Stream     int   `json:"stream"`
}

// grown names what is more than it was, by more than the time of day explains.
func (l levels) grown(since levels) (what []string) {
	for _, g := range []struct {
		name     string
		was, is  int64
		slack    int64
		multiple float64
	}{
		{"heap", since.Heap, l.Heap, 4 << 20, 1.5},
		{"goroutines", int64(since.Goroutines), int64(l.Goroutines), 8, 1},
		{"open files", int64(since.Files), int64(l.Files), 4, 1},
		{"state file", since.State, l.State, 256 << 10, 2},
		{"messages in the stream", int64(since.Stream), int64(l.Stream), 1000, 2},
	} {
		if float64(g.is) > float64(g.was)*g.multiple+float64(g.slack) {
			what = append(what, fmt.Sprintf("%s grew from %d to %d", g.name, g.was, g.is))
		}
	}
	return what
}

// soakOnce is the worker's part.
func soakOnce(t *testing.T, length time.Duration) (o outcome) {
	o = failed(0, "the day did not come to its end")
	dir, err := os.MkdirTemp("", "robustness-")
	if err != nil {
		return failed(0, err.Error())
	}
	defer os.RemoveAll(dir)
	t.Run("soak", func(t *testing.T) {
		synctest.Test(t, func(*testing.T) {
			figures, err := soaked(length, filepath.Join(dir, "0"))
			if o = (outcome{Levels: figures}); err != nil {
				o = failed(0, err.Error())
			}
		})
	})
	return o
}

// soakScript has nothing go wrong, at five venues over a day that has a night. The
// stream keeps half an hour, as an operator's limit would have it.
func soakScript(length time.Duration) script {
	s := scriptOf(1)
	rhythm := []float64{.3, .2, .1, .1, .1, .2, .5, .8, 1, 1.2, 1.3, 1.5, 1.8, 1.7, 1.5, 1.4, 1.4, 1.5, 1.8, 1.9, 1.7, 1.2, .8, .5}
	cfg := simulator.Config{Seed: 1, Token: "secret", HasLocations: true, HasCount: true, Rhythm: rhythm, ByteBase: 1000, ChangeProbability: 0.1, ResumeProbability: 0.1, LivesOnly: true}
	cfg.Locations = simulator.Venues("venue.%d", 5, 30)
	return script{seed: 1, begin: s.begin, length: length, calm: length, beside: true, window: 2 * time.Minute, maxBatch: 1000, atomic: true, platform: cfg}
}

// soaked lives, and reads the levels 24 times.
func soaked(length time.Duration, dir string) (figures []levels, err error) {
	s := soakScript(length)
	time.Sleep(time.Until(s.begin))
	l := newLife(s, &mutant{}, dir)
	l.way.forget = true
	stop := make(chan struct{})
	go func() {
		for range 24 {
			select {
			case <-time.After(length / 25):
				l.broker.Keep(30 * time.Minute)
				figures = append(figures, l.levels())
			case <-stop:
				return
			}
		}
	}()
	_, err = l.live()
	close(stop)
	return figures, err
}

func (l *life) levels() (now levels) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	// What the simulator tells is the trial's own, and grows.
	now.Heap, now.Goroutines, now.Stream = int64(m.HeapAlloc), runtime.NumGoroutine(), len(l.broker.Stored())
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		now.Files = len(files)
	}
	if info, err := os.Stat(filepath.Join(l.dir, "state.db")); err == nil {
		now.State = info.Size()
	}
	return now
}
