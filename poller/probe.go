package poller

import (
	"context"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// direction is how the list stands to the start of its sessions.
type direction string

const (
	undirected  direction = ""
	newestFirst direction = "newest first"
	oldestFirst direction = "oldest first"
)

// directionOf returns how a page's sessions are sorted by start, and whether
// they are at all. Too few different starts tell nothing.
func directionOf(sessions []events.Session) (d direction, sorted bool) {
	rises, falls := 0, 0
	for i := 1; i < len(sessions); i++ {
		a, b := sessions[i-1].StartedAt, sessions[i].StartedAt
		switch {
		case a.IsZero() || b.IsZero() || a.Equal(b):
		case a.Before(b):
			rises++
		default:
			falls++
		}
	}
	switch {
	case rises > 0 && falls > 0:
		return undirected, false
	case falls >= 3:
		return newestFirst, true
	case rises >= 3:
		return oldestFirst, true
	}
	return undirected, true
}

// Order says how a page's sessions are sorted: newest first, oldest first, or not
// by start. Empty where too few different starts tell.
func Order(sessions []events.Session) string {
	switch d, sorted := directionOf(sessions); {
	case !sorted:
		return "not by start"
	default:
		return string(d)
	}
}

// probe reads arrivals where the newest sessions stand in the account's history.
// Asked without online=true, that shows sessions as well that began and ended
// between two looks.
//
// Newest first: page 1, and the pages behind it until one reaches back to the
// frontier, the start up to which every arrival is known. Oldest first: the list
// filtered by a day in the past only ever grows at its end, so its last page is
// kept as a cursor.
type probe struct {
	Direction direction
	// Frontier is the start up to which every arrival is known; platform's clock.
	Frontier time.Time
	// Date and Page are the cursor of oldest first.
	Date string
	Page int
	// Gaps are the parts of the history that were missed; the newest is the last.
	Gaps []gap `json:",omitempty"`

	at         time.Time // local clock: when the last complete probe was sent
	began      time.Time // local clock: when the one under way was
	walking    bool      // one of several pages is under way
	covered    int       // of newest first: positions read by the one under way
	newest     time.Time
	ahead      int       // of oldest first: pages behind the cursor that the one under way has reached
	full, void int       // of oldest first, while the last page is sought: a page known to be full, one known to be empty
	sought     bool      // the last page was found
	resumed    bool      // the cursor is that of a former process
	faultyTill time.Time // local clock: a page contradicted the direction
	savedAt    time.Time // local clock
	dirty      bool
}

// probeKey names what is remembered of the probe. An old one is safe: more is
// read again.
const (
	probeKey      = "account.arrivals"
	probeSaving   = time.Minute
	frontierSlack = 2 * time.Second // starts may be listed a little late
)

func (b *probe) possible(now time.Time) bool {
	return b.Direction != undirected && !now.Before(b.faultyTill)
}

// age is how long ago the last complete probe was sent.
func (b *probe) age(now time.Time) time.Duration {
	if b.at.IsZero() {
		return time.Hour
	}
	return now.Sub(b.at)
}

// learnDirection takes a page of the account's list into account.
func (p *Poller) learnDirection(sessions []events.Session) {
	d, sorted := directionOf(sessions)
	b := &p.probe
	switch {
	case !sorted:
		if b.Direction != undirected {
			p.Logger.Warn("the list is no longer sorted by start: arrivals are found by sweeps alone")
		}
		p.probe = probe{faultyTill: p.Clock.Now().Add(recheck), Frontier: b.Frontier, Gaps: reorder(b.Gaps)}
	case d != undirected && d != b.Direction && !p.Clock.Now().Before(b.faultyTill):
		p.Logger.Info("the list's order is known: arrivals are read at its end", "order", string(d))
		p.probe = probe{Direction: d, Frontier: b.Frontier, Gaps: reorder(b.Gaps)}
	}
}

// probeOn asks for the next page of a probe.
func (p *Poller) probeOn(ctx context.Context) error {
	if p.probe.Direction == oldestFirst {
		return p.probeTail(ctx)
	}
	return p.probeHead(ctx)
}

// probeHead reads the newest page, or goes on towards the frontier.
func (p *Poller) probeHead(ctx context.Context) error {
	w := windowFrom(p.probe.covered, overlap)
	return p.askHistory(ctx, platform.Query{Page: w.number, PerPage: w.size}, func(answer platform.Page, m moment) error {
		return p.headRead(ctx, w, answer, m)
	})
}

// askHistory asks for a page of the account's history. Its answer is dropped where
// the list's order was learned anew in the meantime, or the page contradicts it:
// the cursors mean nothing then.
func (p *Poller) askHistory(ctx context.Context, q platform.Query, then func(platform.Page, moment) error) error {
	direction := p.probe.Direction
	return p.askSessions(ctx, q, func(answer platform.Page, m moment, err error) error {
		if err != nil || p.probe.Direction != direction || !p.inDirection(answer.Sessions) {
			return nil
		}
		return then(answer, m)
	})
}

// headRead works in a page of a probe for the newest sessions.
func (p *Poller) headRead(ctx context.Context, w window, answer platform.Page, m moment) error {
	b := &p.probe
	if !b.walking {
		b.began, b.walking, b.newest = m.sent, true, time.Time{}
	}
	pg := page{moment: m, sessions: answer.Sessions, first: w.start() == 0, last: !answer.More}
	if err := p.workIn(ctx, pg, len(answer.Skipped) == 0, true); err != nil {
		return err
	}
	oldest, newest := startsOf(answer.Sessions)
	if newest.After(b.newest) {
		b.newest = newest
	}
	b.covered = w.start() + positions(answer, w)
	back := b.Frontier
	if back.IsZero() {
		// Nothing before the tracking of the account began is of interest.
		back = p.wide.Since
	}
	if answer.More && answer.Records > 0 && !back.IsZero() && !oldest.Before(back.Add(-frontierSlack)) {
		if b.covered < deepProbe*MaxPerPage {
			return nil
		}
		p.missed(gap{From: back, Covered: b.covered})
	}
	b.covered = 0
	return p.probed(b.newest)
}

// probeTail reads the page at the end of the history, or seeks it.
func (p *Poller) probeTail(ctx context.Context) error {
	b := &p.probe
	if (b.resumed || !b.at.IsZero()) && !b.walking && b.age(p.Clock.Now()) > longAway && p.platformNow().Sub(b.Frontier) > longAway {
		// What came since is read from the old cursor on, beside a new one at the
		// list's end.
		if !b.Frontier.IsZero() {
			p.missed(gap{From: b.Frontier, Date: b.Date, Page: b.Page})
		}
		b.Date, b.resumed, b.at = "", false, time.Time{}
	}
	if b.Date == "" {
		b.Date = p.platformNow().Add(-24 * time.Hour).Format(time.DateOnly)
		b.Page, b.ahead, b.full, b.void, b.sought = 1, 0, 0, 0, false
	}
	return p.askHistory(ctx, platform.Query{StartDate: b.Date, Page: b.Page + b.ahead, PerPage: MaxPerPage}, func(answer platform.Page, m moment) error {
		if !b.sought && p.seek(answer) {
			return nil
		}
		return p.tailRead(ctx, answer, m)
	})
}

// tailRead works in the page at the end of the history.
func (p *Poller) tailRead(ctx context.Context, answer platform.Page, m moment) error {
	b := &p.probe
	pg := page{moment: m, sessions: answer.Sessions, last: !answer.More && answer.Records > 0}
	if err := p.workIn(ctx, pg, len(answer.Skipped) == 0, true); err != nil {
		return err
	}
	if !b.walking {
		b.began, b.walking = m.sent, true
	}
	_, newest := startsOf(answer.Sessions)
	switch {
	case answer.More && b.ahead == 0 && newest.Before(m.from.Add(-frontierSlack)):
		b.Page++
		b.dirty = true
		return nil
	case answer.More:
		// Starts are listed in whole seconds: who comes within the last one may
		// still be sorted in on this page, and push others to the next.
		b.ahead++
		return nil
	case answer.Records == 0 && b.Page > 1:
		// The history was cut at its beginning, so its pages moved.
		b.Date, b.Page = "", 0
		return nil
	}
	b.ahead = 0
	if b.Frontier.IsZero() && !p.wide.Since.IsZero() {
		// Since tracking began, sessions may have come and gone on the pages before.
		p.missed(gap{From: p.wide.Since, Date: b.Date, Page: b.Page, Back: true})
		b.Frontier = p.wide.Since
	}
	return p.probed(newest)
}

// seek takes a step towards the last page of the history: doubling until a page
// is empty, then halving. It reports false when the page read is the one from
// which to go on.
func (p *Poller) seek(answer platform.Page) (again bool) {
	b := &p.probe
	switch {
	case answer.Records > 0 && !answer.More && b.Page == 1:
		b.sought = true
		return false
	case answer.Records > 0 && !answer.More:
		// One page back: sessions may have arrived while the end was sought.
		b.Page, b.sought = b.Page-1, true
		return true
	case answer.Records > 0:
		b.full = b.Page
	default:
		b.void = b.Page
	}
	switch {
	case b.void == 0:
		b.Page = 2 * b.full
	case b.void-b.full > 1:
		b.Page = (b.full + b.void) / 2
	default:
		// The page behind the full one is just being filled.
		b.Page, b.sought = max(1, b.full), true
	}
	return true
}

// inDirection reports whether a page is sorted as the list was learned to be. A
// page that is not ends probing for a while.
func (p *Poller) inDirection(sessions []events.Session) bool {
	d, sorted := directionOf(sessions)
	if sorted && (d == undirected || d == p.probe.Direction) {
		return true
	}
	p.Logger.Warn("the account's history is not sorted as its list of online sessions: arrivals are found by sweeps alone", "again_in", recheck)
	p.probe = probe{faultyTill: p.Clock.Now().Add(recheck), Frontier: p.probe.Frontier, Gaps: reorder(p.probe.Gaps)}
	return false
}

// probed ends a complete probe.
func (p *Poller) probed(newest time.Time) error {
	b := &p.probe
	b.at, b.walking = b.began, false
	if newest.After(b.Frontier) && !p.wide.Since.IsZero() {
		b.Frontier, b.dirty = newest, true
	}
	return p.saveProbe()
}

// saveProbe remembers the cursors, now and then: old ones are safe.
func (p *Poller) saveProbe() error {
	b := &p.probe
	now := p.Clock.Now()
	if !b.dirty || now.Sub(b.savedAt) < probeSaving {
		return nil
	}
	b.dirty, b.savedAt = false, now
	return p.remember(probeKey, b)
}

// platformNow is the platform's time, as far as known.
func (p *Poller) platformNow() time.Time {
	now := p.Clock.Now()
	if p.Time == nil {
		return now.UTC()
	}
	earliest, _ := p.Time.Bounds(now)
	return earliest.UTC()
}
