package account

import (
	"context"
	"errors"
	"time"

	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
)

// ErrShared says that no request is to spare: all endpoints share one limit, and each
// request of it is the list's.
var ErrShared = errors.New("all endpoints share one limit")

const (
	// sparePart of a limit is left to others, who ask when they need to.
	sparePart = 12
	// spareWait is how long a request has been free before it counts as to spare: whoever
	// needs it takes it before.
	spareWait = 100 * time.Millisecond
	// Every spareTurn-th request waits for sparePause more, for those who look for room
	// now and then.
	spareTurn  = 15
	sparePause = time.Second
)

// SpareCount asks how many sessions a query selects, once the count's own limit has a
// request that nobody else wants. Errors of the platform let the endpoint rest as those of
// others do. It returns ErrShared where the list of sessions would pay for it.
func (a *Account) SpareCount(ctx context.Context, q platform.Query) (int, error) {
	if a.settings.SharedLimit {
		return 0, ErrShared
	}
	ended, err := takeSpare(ctx, poller.SystemClock{}, a.Poller.Budgets[platform.Count], a.spared.Add(1))
	if err != nil {
		return 0, err
	}
	n, meta, err := a.Client.Count(ctx, q)
	now := time.Now()
	ended(now, meta.Answered(err))
	limit := a.Poller.Budgets[platform.Count]
	limit.Allowed(now, meta.Limit)
	if err != nil && ctx.Err() == nil {
		pause, limited := budget.NewBackoff(poller.SystemClock{}, budget.Refuses(err)).Pause(err)
		if limited {
			limit.Refused(now, pause)
		} else {
			limit.Pause(now, pause)
		}
	}
	return n, err
}

// takeSpare takes the nth spare request, once it was free for a while and others have
// theirs.
func takeSpare(ctx context.Context, clock poller.Clock, b *budget.Budget, nth int64) (ended budget.Ended, err error) {
	for {
		now := clock.Now()
		next := b.Next(now)
		used, limit := b.Used(now)
		wait := max(next.Sub(now), 0) + spareWait
		if nth%spareTurn == 0 {
			wait += sparePause
		}
		if used >= limit-max(1, limit/sparePart) {
			wait = max(wait, time.Second)
		}
		if err := clock.Sleep(ctx, wait); err != nil {
			return nil, err
		}
		now = clock.Now()
		if used, limit = b.Used(now); used >= limit-max(1, limit/sparePart) || b.Next(now).After(now) {
			continue
		}
		if ended, _ = b.Take(now); ended != nil {
			return ended, nil
		}
	}
}
