package webhook

import "time"

// Backoff spaces the tries of one event. After try n the nominal wait is
// Min × 2^(n-1), at most Max. It is a function of n alone, so that the schedule
// goes on after a restart where it was.
type Backoff struct {
	Min, Max time.Duration
	// Jitter is the largest part of the nominal wait that chance adds or takes
	// away, 0 to 1, so that events that failed together do not return together.
	Jitter float64
}

// DefaultBackoff reaches its Max of one hour after ten failures.
var DefaultBackoff = Backoff{Min: 5 * time.Second, Max: time.Hour, Jitter: 0.2}

func (b Backoff) nominal(n int) time.Duration {
	d := b.Min
	for ; n > 1 && d < b.Max; n-- {
		d *= 2
	}
	return min(d, b.Max)
}

// delay is the wait after the n-th failed try; chance is in [0, 1).
func (b Backoff) delay(n int, chance float64) time.Duration {
	return time.Duration(float64(b.nominal(n)) * (1 + b.Jitter*(2*chance-1)))
}

// spent reports whether the nominal waits of n tries add up to budget, so that
// no further try is due.
func (b Backoff) spent(n int, budget time.Duration) bool {
	var sum time.Duration
	for i := 1; i <= n && sum < budget; i++ {
		sum += b.nominal(i)
	}
	return sum >= budget
}
