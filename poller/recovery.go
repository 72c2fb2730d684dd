package poller

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/guestflow/guestflow/poller/platform"
)

// rest is how an endpoint recovers from errors: exponentially longer pauses with
// jitter, until an answer is good.
type rest struct {
	policy  *backoff.ExponentialBackOff
	refused bool // by 401 or 403
	err     error
	at      time.Time // local clock: when err came
}

// Pauses after errors. Refusals of the token are asked about rarely: a person
// has to act.
const (
	firstPause        = time.Second
	longestPause      = time.Minute
	firstRefusedPause = 30 * time.Second
	longestRefused    = 15 * time.Minute
)

func newRest(clock Clock, refused bool) *rest {
	first, longest := firstPause, longestPause
	if refused {
		first, longest = firstRefusedPause, longestRefused
	}
	return &rest{refused: refused, policy: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), backoff.WithClockProvider(clock))}
}

// pause returns how long to wait after an error, and whether it is a 429, which
// tells that the budget is smaller than it seems.
func (r *rest) pause(err error) (pause time.Duration, limited bool) {
	r.err = err
	pause = r.policy.NextBackOff()
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

// refuses reports whether an error is a refusal of the token.
func refuses(err error) bool {
	var fault *platform.Error
	return errors.As(err, &fault) && (fault.Kind == platform.Unauthorised || fault.Kind == platform.Forbidden)
}

// lacks reports an error that says that the platform, or this token, does not have
// an endpoint. All but the list of sessions can be done without.
func lacks(err error) bool {
	var fault *platform.Error
	return errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden)
}

// settle takes an answer's error, or its absence, into account: the endpoint's
// budget pauses after an error, and goes on after a good answer.
func (p *Poller) settle(ctx context.Context, endpoint platform.Endpoint, m moment, err error) {
	if ctx.Err() != nil {
		return
	}
	r := p.rests[endpoint]
	if r != nil && m.sent.Before(r.at) {
		return // What was sent before the last error came tells nothing new.
	}
	if endpoint != platform.Sessions && lacks(err) {
		delete(p.rests, endpoint)
		return
	}
	if err == nil {
		if r != nil {
			p.Logger.Info("the platform answers again", "endpoint", endpoint)
			delete(p.rests, endpoint)
		}
		return
	}
	refused := refuses(err)
	if r == nil || r.refused != refused {
		r = newRest(p.Clock, refused)
		p.rests[endpoint] = r
	}
	pause, limited := r.pause(err)
	if r.at = m.came; limited {
		p.Budgets[endpoint].Refused(r.at, pause)
	} else {
		p.Budgets[endpoint].Pause(r.at, pause)
	}
	if refused {
		p.Logger.Error("the platform refuses the token: polling stopped; it is tried again from time to time",
			"endpoint", endpoint, "error", err, "again_in", pause.Round(time.Millisecond))
		return
	}
	p.Logger.Warn("a request failed", "endpoint", endpoint, "error", err, "again_in", pause.Round(time.Millisecond))
}
