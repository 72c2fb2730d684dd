package webhook

import "time"

// recent remembers sequences for at least keep and less than twice as long.
type recent struct {
	keep        time.Duration
	now, before map[uint64]bool
	began       time.Time // of now
}

func newRecent(keep time.Duration) *recent {
	return &recent{keep: keep, now: map[uint64]bool{}}
}

func (r *recent) add(seq uint64, at time.Time) {
	if at.Sub(r.began) >= r.keep {
		r.now, r.before, r.began = map[uint64]bool{}, r.now, at
	}
	r.now[seq] = true
}

func (r *recent) has(seq uint64) bool { return r.now[seq] || r.before[seq] }
