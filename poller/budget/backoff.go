package budget

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/guestflow/guestflow/poller/platform"
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Backoff is how an endpoint recovers from errors: exponentially longer pauses
// with jitter, until an answer is good.
type Backoff struct {
	// Refused says that the platform refuses the token, so that a person has to act.
	Refused bool
	// Err is the last error, At when it came, on the local clock.
	Err error
	At  time.Time

	policy *backoff.ExponentialBackOff
}

// Pauses after errors. Refusals of the token are asked about rarely: a person
// has to act.
const (
	firstPause        = time.Second
	longestPause      = time.Minute
	firstRefusedPause = 30 * time.Second
	longestRefused    = 15 * time.Minute
)

// NewBackoff begins with the first error, which is a refusal of the token or not.
func NewBackoff(clock Clock, refused bool) *Backoff {
	first, longest := firstPause, longestPause
	if refused {
		first, longest = firstRefusedPause, longestRefused
	}
	return &Backoff{Refused: refused, policy: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), backoff.WithClockProvider(clock))}
}

// Pause returns how long to wait after an error, and whether it is a 429, which
// tells that the budget is smaller than it seems.
func (b *Backoff) Pause(err error) (pause time.Duration, limited bool) {
	b.Err = err
	pause = b.policy.NextBackOff()
	var fault *platform.Error
	if !errors.As(err, &fault) {
		return pause, false
	}
	switch {
	case fault.Kind == platform.RateLimited && fault.RetryAfter > 0:
		// The platform says how long; a little more spares the edge of its
		// whole-second window.
		return fault.RetryAfter + Margin, true
	case fault.Kind == platform.Server:
		pause = max(pause, fault.RetryAfter)
	}
	return pause, fault.Kind == platform.RateLimited
}

// Refuses reports whether an error is a refusal of the token.
func Refuses(err error) bool {
	var fault *platform.Error
	return errors.As(err, &fault) && (fault.Kind == platform.Unauthorised || fault.Kind == platform.Forbidden)
}
