package poller

import (
	"context"
	"slices"
	"time"

	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Count is the platform's own count of the sessions online, beside what was known
// when it came: two ways to one figure.
type Count struct {
	At             time.Time // local clock; zero where the platform does not count
	Counted, Known int
}

// counting has the platform count from time to time. It takes nothing from the list
// of sessions where the endpoints have limits of their own, and nothing depends on
// it.
type counting struct {
	Count
	dueAt time.Time // local clock
	told  bool      // that the limit is not its own
}

const (
	countEvery = 5 * time.Minute
	// othersMost is how many requests of others on the count's own limit are
	// nothing strange: few use it.
	othersMost = 10
)

// countDue reports whether the sessions are to be counted now: once every location
// was seen. The platform counts the whole account, so there is nothing to compare
// with where locations are configured.
func (p *Poller) countDue(now time.Time) bool {
	budget := p.Budgets[platform.Count]
	return budget != nil && len(p.Locations) == 0 && len(p.watched.all) > 0 && !now.Before(p.counting.dueAt) &&
		!budget.Next(now).After(now) && p.requests.beside(plan.Look{Kind: plan.Count}) &&
		!slices.ContainsFunc(p.watched.all, func(location *location) bool { return location.SeenAt.IsZero() })
}

// count asks how many sessions are online.
func (p *Poller) count(ctx context.Context) error {
	var n int
	var meta platform.Meta
	online := true
	request := func() (m platform.Meta, err error) {
		n, meta, err = p.Platform.Count(ctx, platform.Query{Online: &online})
		return meta, err
	}
	p.counting.dueAt = p.Clock.Now().Add(countEvery)
	return p.requests.ask(ctx, platform.Count, request, func(m timing, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case lacks(err):
			p.counting = counting{dueAt: m.came.Add(recheck)}
		case err == nil:
			p.counting.Count = Count{At: m.came, Counted: n, Known: p.roster.len() - len(p.pending.ends)}
			p.suspect(meta, m)
		}
		return nil
	})
}

// suspect tells once when the count's limit is spent by others: most likely it is
// that of the list of sessions as well.
func (p *Poller) suspect(meta platform.Meta, m timing) {
	budget := p.Budgets[platform.Count]
	own, _ := budget.Used(m.came)
	if p.counting.told || budget == p.Budgets[platform.Sessions] || meta.Limit <= 0 || meta.Remaining < 0 || meta.Limit-meta.Remaining <= own+othersMost {
		return
	}
	p.counting.told = true
	p.Logger.Warn("others spend this endpoint's limit as well: if all endpoints share one, set GUESTFLOW_API_SHARED_LIMIT=true",
		"endpoint", platform.Count, "limit", meta.Limit, "remaining", meta.Remaining, "own", own)
}
