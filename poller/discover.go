package poller

import (
	"context"
	"time"

	"github.com/guestflow/guestflow/poller/platform"
)

// discovery finds the account's locations: from /locations where the platform
// has it, else from the sessions that are online anywhere. A location once known
// stays known, since its sessions have to be seen to end.
type discovery struct {
	dueAt     time.Time       // zero: never, the list is configured
	page      int             // of /locations, last read
	listed    map[string]bool // locations on the pages read so far
	surveying bool            // /locations does not answer
	again     bool            // they were discovered before
	survey    *reading
}

func (d *discovery) due(now time.Time) bool { return !d.dueAt.IsZero() && !now.Before(d.dueAt) }

// maxLocationPages bounds a discovery whatever the platform answers.
const maxLocationPages = 1000

// discover reads the next page of /locations.
func (p *Poller) discover(ctx context.Context) error {
	var page platform.LocationPage
	number := p.discovery.page + 1
	request := func() (m platform.Meta, err error) {
		page, err = p.Platform.Locations(ctx, number)
		return page.Meta, err
	}
	return p.requests.ask(ctx, platform.Locations, request, func(_ timing, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case lacks(err):
			p.Logger.Info("the platform lists no locations; they are learned from the sessions online", "error", err)
			p.discovery.surveying = true
		case err != nil:
			p.discovery.page, p.discovery.listed = 0, nil
		default:
			p.listedLocations(page)
		}
		return nil
	})
}

// listedLocations takes a page of /locations.
func (p *Poller) listedLocations(page platform.LocationPage) {
	d, before, news := &p.discovery, len(p.watched.all), false
	if d.listed == nil {
		d.listed = make(map[string]bool)
	}
	for _, l := range page.Locations {
		if !l.Trashed {
			p.location(l.ID, l.Name)
		}
		news = news || !d.listed[l.ID]
		d.listed[l.ID] = true
	}
	d.page++
	more := page.More && len(page.Locations) > 0
	if more && news && d.page < maxLocationPages {
		return
	}
	if more && !news {
		p.Logger.Warn("the list of locations repeats itself, so it is not read any further; set GUESTFLOW_LOCATIONS if some are missing",
			"page", d.page, "locations", len(d.listed))
	}
	p.discovered(before)
}

// survey reads the next page of all online sessions.
func (p *Poller) survey(ctx context.Context) error {
	d := &p.discovery
	if d.survey == nil {
		d.survey = newReading(p.Clock.Now(), 0)
	}
	r, online := d.survey, true
	w := r.next()
	return p.askSessions(ctx, platform.Query{Online: &online, Page: w.Number, PerPage: w.Size}, func(page platform.Page, m timing, err error) error {
		if err != nil {
			d.survey = nil
			return nil
		}
		done := r.add(page, m)
		before := len(p.watched.all)
		for _, s := range page.Sessions {
			p.location(s.LocationID, s.LocationName)
		}
		// The request was spent, so nobody waits for their location's own turn.
		ev := evidence{timing: m, sessions: page.Sessions, skipped: page.Skipped, scope: ofAccount, first: w.Number == 1, last: ends(page, w)}
		if err := p.take(ctx, ev); err != nil {
			return err
		}
		if done {
			d.survey = nil
			p.discovered(before)
		}
		return nil
	})
}

func (p *Poller) discovered(before int) {
	now := p.Clock.Now()
	p.discovery.page, p.discovery.listed, p.discovery.again = 0, nil, true
	p.discovery.dueAt = now.Add(p.Rediscovery)
	if n := len(p.watched.all); n == 0 {
		p.Logger.Warn("the account has no locations; set GUESTFLOW_LOCATIONS, or check the token's rights", "again_in", p.Rediscovery)
	} else if n != before {
		p.Logger.Info("locations discovered", "locations", n, "new", n-before)
	}
}
