package poller

import (
	"context"
	"fmt"

	"github.com/guestflow/guestflow/poller/platform"
)

// askSessions sends one request for sessions.
func (p *Poller) askSessions(ctx context.Context, q platform.Query, then func(platform.Page, timing, error) error) error {
	var answer platform.Page
	request := func() (m platform.Meta, err error) {
		answer, err = p.Platform.Sessions(ctx, q)
		return answer.Meta, err
	}
	return p.requests.ask(ctx, platform.Sessions, request, func(m timing, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			p.note(q.LocationID, answer)
		}
		return then(answer, m, err)
	})
}

// note logs what was odd about a page, each oddity once: it tends to come with
// every page, and the metrics count it.
func (p *Poller) note(location string, page platform.Page) {
	for _, s := range page.Skipped {
		p.odd("a record cannot be read; whoever it may be does not count as gone", "location", location, "record", s.ID, "reason", s.Reason)
	}
	if page.Suspicious != "" {
		p.odd("the list's links point elsewhere; they are not followed", "link", page.Suspicious)
	}
}

// odd logs an oddity once.
func (p *Poller) odd(text string, args ...any) {
	key := text + fmt.Sprint(args...)
	if p.oddities[key] || len(p.oddities) >= mostOddities {
		return
	}
	p.oddities[key] = true
	p.Logger.Warn(text, args...)
}

// mostOddities bounds what is remembered of oddities.
const mostOddities = 1000
