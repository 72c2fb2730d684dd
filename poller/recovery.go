package poller

import (
	"context"
	"errors"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
)

// lacks reports an error that says that the platform, or this token, does not have
// an endpoint. All but the list of sessions can be done without.
func lacks(err error) bool {
	var fault *platform.Error
	return errors.As(err, &fault) && (fault.Kind == platform.NotFound || fault.Kind == platform.Forbidden)
}

// settle takes an answer's error, or its absence, into account: the endpoint's
// budget pauses after an error, and goes on after a good answer.
func (q *requests) backOff(ctx context.Context, endpoint platform.Endpoint, m timing, err error) {
	if ctx.Err() != nil {
		return
	}
	r := q.rests[endpoint]
	if r != nil && m.sent.Before(r.At) {
		return // What was sent before the last error came tells nothing new.
	}
	if endpoint != platform.Sessions && lacks(err) {
		delete(q.rests, endpoint)
		return
	}
	if err == nil {
		if r != nil {
			q.Logger.Info("the platform answers again", "endpoint", endpoint)
			delete(q.rests, endpoint)
		}
		return
	}
	refused := budget.Refuses(err)
	if r == nil || r.Refused != refused {
		r = budget.NewBackoff(q.Clock, refused)
		q.rests[endpoint] = r
	}
	pause, limited := r.Pause(err)
	if r.At = m.came; limited {
		q.Budgets[endpoint].Refused(r.At, pause)
	} else {
		q.Budgets[endpoint].Pause(r.At, pause)
	}
	if refused {
		q.Logger.Error("the platform refuses the token: polling stopped; it is tried again from time to time",
			"endpoint", endpoint, "error", err, "again_in", pause.Round(time.Millisecond))
		return
	}
	q.Logger.Warn("a request failed", "endpoint", endpoint, "error", err, "again_in", pause.Round(time.Millisecond))
}
