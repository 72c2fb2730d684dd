package poller

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Executor runs requests beside each other, so that a late answer holds up no
// other request. Its methods are for one goroutine.
type Executor interface {
	// Send calls request on a goroutine of its own.
	Go(request func())
	// Wait returns after d, or as soon as a request has returned of which it has
	// not told yet. It returns ctx's error if that ends first.
	Wait(ctx context.Context, d time.Duration) error
}

// NewExecutor returns the Executor for real time.
func NewExecutor() Executor { return executor{make(chan struct{}, 2*mostAtOnce)} }

type executor struct{ back chan struct{} }

func (c executor) Go(request func()) {
	go func() {
		request()
		c.back <- struct{}{}
	}()
}

func (c executor) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-c.back:
	}
	return nil
}

// mostAtOnce is how many requests are under way at once at most, and as many about
// addresses: at the documented limit, answers may take four seconds before requests wait
// for them.
const mostAtOnce = 4

// timing is when an answer was so: at some time after its request was sent and
// before the answer came. Where two such spans overlap, nobody knows which of the
// answers is the newer one.
type timing struct {
	sent, came time.Time // local clock
	from, at   time.Time // platform's clock
}

// request is one that is under way.
type request struct {
	look   plan.Look
	sent   time.Time
	finish func() error // takes the answer
}

// requests are those under way, and how each endpoint recovers from errors.
type requests struct {
	*Settings
	looking  plan.Look // what the next request is for
	underWay []*request
	rests    map[platform.Endpoint]*budget.Backoff

	mu       sync.Mutex
	returned []*request // returned, not taken yet
}

func newRequests(s *Settings) *requests {
	return &requests{Settings: s, rests: make(map[platform.Endpoint]*budget.Backoff)}
}

// EndpointOf is the endpoint whose budget a look of a kind spends.
func EndpointOf(k plan.Kind) platform.Endpoint {
	switch k {
	case plan.Discover:
		return platform.Locations
	case plan.Count:
		return platform.Count
	case plan.Identify, plan.Addresses:
		return platform.Guests
	}
	return platform.Sessions
}

// pagesAsked are the pages of the account's list that are under way.
func (q *requests) pagesAsked(pages []plan.Window) []plan.Window {
	for _, f := range q.underWay {
		if f.look.Kind == plan.Sweep {
			pages = append(pages, f.look.Page)
		}
	}
	return pages
}

// ask sends one request on an endpoint's budget, and calls then with its answer:
// at once without an Executor, else from a later pause. A nil error is a good
// answer; otherwise the budget rests as the error demands.
func (q *requests) ask(ctx context.Context, endpoint platform.Endpoint, send func() (platform.Meta, error), then func(timing, error) error) error {
	limit := q.Budgets[endpoint]
	m := timing{sent: q.Clock.Now()}
	ended, free := limit.Take(m.sent)
	for ended == nil {
		if err := q.Clock.Sleep(ctx, free.Sub(m.sent)); err != nil {
			return err
		}
		m.sent = q.Clock.Now()
		ended, free = limit.Take(m.sent)
	}
	var meta platform.Meta
	var err error
	carry := func() {
		meta, err = send()
		m.came = q.Clock.Now()
		ended(m.came, meta.Answered(err))
	}
	f := &request{look: q.looking, sent: m.sent}
	f.finish = func() error {
		if q.Observer != nil {
			q.Observer.Requested(f.look.Kind, m.came.Sub(m.sent), err)
		}
		limit.Allowed(m.came, meta.Limit)
		q.backOff(ctx, endpoint, m, err)
		m.from, m.at = m.sent.UTC(), m.came.UTC()
		if q.Time != nil {
			m.from, _ = q.Time.Bounds(m.sent)
			_, m.at = q.Time.Bounds(m.came)
		}
		return then(m, err)
	}
	if q.Executor == nil {
		carry()
		return f.finish()
	}
	q.underWay = append(q.underWay, f)
	q.Executor.Go(func() {
		carry()
		q.mu.Lock()
		defer q.mu.Unlock()
		q.returned = append(q.returned, f)
	})
	return nil
}

// pause waits for d, or until an answer comes; answers are taken.
func (q *requests) pause(ctx context.Context, d time.Duration) error {
	if q.Executor == nil {
		return q.Clock.Sleep(ctx, d)
	}
	if err := q.Executor.Wait(ctx, d); err != nil {
		return err
	}
	var err error
	for _, f := range q.arrived() {
		q.remove(f)
		if err == nil {
			err = f.finish()
		}
	}
	return err
}

// arrived returns the requests that have returned since the last call.
func (q *requests) arrived() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	returned := q.returned
	q.returned = nil
	return returned
}

func (q *requests) remove(f *request) {
	q.underWay = slices.DeleteFunc(q.underWay, func(o *request) bool { return o == f })
}

// drain waits for the requests under way, whose context has ended, and drops
// their answers.
func (q *requests) drain() {
	for len(q.underWay) > 0 {
		_ = q.Executor.Wait(context.Background(), time.Second) // its context does not end
		for _, f := range q.arrived() {
			q.remove(f)
		}
	}
}

// asking reports whether a look of a kind is under way; of an empty subject, any.
func (q *requests) asking(kind plan.Kind, of string) bool {
	return slices.ContainsFunc(q.underWay, func(f *request) bool {
		return f.look.Kind == kind && (of == "" || subject(f.look) == of)
	})
}

func subject(l plan.Look) string { return l.Location + l.Session }

// beside reports whether a look may go out beside those under way. One whose
// request depends on another's answer waits for that, and a platform that failed
// is asked one thing at a time.
func (q *requests) beside(look plan.Look) bool {
	if len(q.underWay) == 0 {
		return true
	}
	beside := 0
	for _, f := range q.underWay {
		if (f.look.Kind == plan.Addresses) == (look.Kind == plan.Addresses) {
			beside++
		}
	}
	if beside == mostAtOnce || q.rests[EndpointOf(look.Kind)] != nil {
		return false
	}
	switch look.Kind {
	case plan.Probe, plan.Backfill:
		return !q.asking(plan.Probe, "") && !q.asking(plan.Backfill, "")
	case plan.Addresses:
		return true
	case plan.Past:
		return !q.asking(plan.Past, "")
	case plan.Discover, plan.Survey:
		return !q.asking(plan.Discover, "") && !q.asking(plan.Survey, "")
	case plan.Sweep:
		return !slices.ContainsFunc(q.underWay, func(f *request) bool {
			return f.look.Kind == plan.Sweep && (f.look.InTurn || look.InTurn)
		})
	}
	return !q.asking(look.Kind, subject(look))
}
