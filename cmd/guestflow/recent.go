package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
)

// recent keeps the newest detection delays and the looks of the last minutes, for
// a person's eye.
type recent struct {
	mu     sync.Mutex
	delays map[events.Kind]*delays
	looks  [recentMinutes]map[plan.Kind]int // by minute
	minute int64
}

const (
	delaysKept    = 500
	recentMinutes = 10
)

type delays struct {
	newest []time.Duration
	next   int
}

func (d *delays) add(v time.Duration) {
	if len(d.newest) < delaysKept {
		d.newest = append(d.newest, v)
		return
	}
	d.newest[d.next%delaysKept] = v
	d.next++
}

func (r *recent) delay(kind events.Kind, v time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.delays == nil {
		r.delays = make(map[events.Kind]*delays)
	}
	if r.delays[kind] == nil {
		r.delays[kind] = &delays{}
	}
	r.delays[kind].add(v)
}

// quantiles returns the median and the 95th percentile of the newest delays of
// some kinds, in seconds, and of how many.
func (r *recent) quantiles(kinds ...events.Kind) (p50, p95 float64, n int) {
	r.mu.Lock()
	var sorted []time.Duration
	for _, k := range kinds {
		if d := r.delays[k]; d != nil {
			sorted = append(sorted, d.newest...)
		}
	}
	r.mu.Unlock()
	if n = len(sorted); n == 0 {
		return 0, 0, 0
	}
	slices.Sort(sorted)
	return sorted[n/2].Seconds(), sorted[n*95/100].Seconds(), n
}

func (r *recent) looked(kind plan.Kind, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.looks[r.minute%recentMinutes][kind]++
}

// turn forgets what is older than the kept minutes.
func (r *recent) turn(now time.Time) {
	minute := now.Unix() / 60
	for m := max(r.minute+1, minute-recentMinutes+1); m <= minute; m++ {
		r.looks[m%recentMinutes] = make(map[plan.Kind]int)
	}
	r.minute = max(r.minute, minute)
}

// perMinute returns the looks a minute by kind: of whole minutes, or of the first
// one so far.
func (r *recent) perMinute(now time.Time) map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	sum, minutes := make(map[string]float64), 0
	for m := r.minute - recentMinutes + 1; m < r.minute; m++ { // but for the one under way
		looks := r.looks[m%recentMinutes]
		if len(looks) > 0 {
			minutes++
		}
		for kind, n := range looks {
			sum[kind.String()] += float64(n)
		}
	}
	if minutes == 0 {
		for kind, n := range r.looks[r.minute%recentMinutes] {
			sum[kind.String()] = float64(n)
		}
		return sum
	}
	for kind := range maps.Keys(sum) {
		sum[kind] /= float64(minutes)
	}
	return sum
}
