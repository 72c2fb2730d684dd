package poller

import (
	"context"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Order says how a page's sessions are sorted: newest first, oldest first, or not
// by start. Empty where too few different starts tell.
func Order(sessions []events.Session) string {
	records := make([]order.Record, len(sessions))
	for i := range sessions {
		records[i].Start = sessions[i].StartedAt
	}
	switch d, sorted := order.Of(records); {
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
	Direction order.Direction
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
	turned     bool      // of oldest first: a page is full, and what stands across its end is to be read
	resumed    bool      // the cursor is that of a former process
	faultyTill time.Time // local clock: a page contradicted the direction
	savedAt    time.Time // local clock
	dirty      bool
}

// historyReader reads the account's history: who arrived, what was missed, and what was
// before tracking began.
type historyReader struct {
	*account
	list     order.List // what is known of its order
	probe    probe
	backfill past
	savedAt  time.Time // local clock: of the backfill
}

// probeKey names what is remembered of the probe. An old one is safe: more is
// read again.
const (
	probeKey      = "account.arrivals"
	probeSaving   = time.Minute
	frontierSlack = 2 * time.Second // starts may be listed a little late
)

func (b *probe) possible(now time.Time) bool {
	return b.Direction != "" && !now.Before(b.faultyTill)
}

// age is how long ago the last complete probe was sent.
func (b *probe) age(now time.Time) time.Duration {
	if b.at.IsZero() {
		return time.Hour
	}
	return now.Sub(b.at)
}

// probeOn asks for the next page of a probe.
func (p *Poller) probeOn(ctx context.Context) error {
	if p.history.probe.Direction == order.OldestFirst {
		return p.probeTail(ctx)
	}
	return p.probeHead(ctx)
}

// probeHead reads the newest page, or goes on towards the frontier.
func (p *Poller) probeHead(ctx context.Context) error {
	w := p.windowFrom(p.history.probe.covered, overlap)
	return p.askHistory(ctx, platform.Query{Page: w.Number, PerPage: w.Size}, func(answer platform.Page, m timing) error {
		return p.history.headRead(w, answer, m)
	})
}

// askHistory asks for a page of the account's history, and takes it. Then is not
// called where the list's order was learned anew in the meantime, or the page shows
// that the history is not to be trusted: the cursors mean nothing then.
func (p *Poller) askHistory(ctx context.Context, q platform.Query, then func(platform.Page, timing) error) error {
	return p.askPast(ctx, q, diff.Span{}, then)
}

// askPast does the same, and tells of sessions of a span that ended before tracking
// began.
func (p *Poller) askPast(ctx context.Context, q platform.Query, past diff.Span, then func(platform.Page, timing) error) error {
	direction := p.history.probe.Direction
	return p.askSessions(ctx, q, func(answer platform.Page, m timing, err error) error {
		if err != nil || p.history.probe.Direction != direction {
			return nil
		}
		ev := evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped, scope: ofHistory, past: past}
		ev.first, ev.last = q.Page == 1 && q.StartDate == "", ends(answer, plan.Window{Number: q.Page, Size: q.PerPage})
		if err := p.weigh(&ev); err != nil {
			return err
		}
		reading := p.history.list.Read(p.roster.page(&ev))
		if ev.first && direction == order.NewestFirst || ev.last && direction == order.OldestFirst {
			p.roster.track.Edge(m.sent)
		}
		trusted := p.history.trusts(&ev, &reading, q)
		if err := p.take(ctx, ev); err != nil || !trusted {
			return err
		}
		for i := range answer.Sessions {
			// The same key sorts the sessions online.
			if e := p.roster.find(answer.Sessions[i].ID); e != nil && !slices.Contains(reading.Displaced, e.ID) && !slices.Contains(reading.Doubtful, e.ID) {
				e.in[ofAccount].placed = e.in[ofAccount].placed || !e.in[ofAccount].displaced && p.startsSettle()
			}
		}
		return then(answer, m)
	})
}

// trusts reports whether a page of the history is sorted as the list of online
// sessions and leaves out nobody who is known to have begun within it: who ended
// stands in it still. If not, probing ends for a while.
func (r *historyReader) trusts(ev *evidence, reading *order.Reading, q platform.Query) bool {
	reason := ""
	switch {
	case reading.Contradicted || r.list.Established() && r.list.Direction != r.probe.Direction:
		reason = "it is not sorted as the list of online sessions"
	case r.leavesOut(ev, reading, q):
		reason = "it leaves out sessions that are online"
	default:
		return true
	}
	r.Logger.Warn("the account's history cannot be used: arrivals are read from the list of who is online alone", "reason", reason, "again_in", recheck)
	r.list = order.List{}
	r.probe = probe{faultyTill: r.Clock.Now().Add(recheck), Frontier: r.probe.Frontier, Gaps: reorder(r.probe.Gaps)}
	return false
}

// leavesOut reports whether a page of the history lacks a session that was online
// and stands within it, or is empty where one should be.
func (r *historyReader) leavesOut(ev *evidence, reading *order.Reading, q platform.Query) bool {
	on, sent := make(map[string]bool, len(ev.sessions)), r.roster.rows.Seconds(ev.sent)
	for i := range ev.sessions {
		on[ev.sessions[i].ID] = true
	}
	for i := range ev.skipped {
		if on[ev.skipped[i].ID] = true; ev.skipped[i].ID == "" {
			return false
		}
	}
	if len(ev.sessions) > 0 && !ev.anchored {
		return false
	}
	within := r.expected(ofAccount, "", *reading)
	if len(ev.sessions) == 0 && q.Page <= 1 && q.StartDate != "" {
		day, err := time.Parse(time.DateOnly, q.StartDate)
		if err != nil {
			return false
		}
		within = r.roster.within(day.Add(widestDay), ev.from.Add(-frontierSlack))
	}
	for e := range within {
		if !on[e.ID] && e.shown <= sent && !e.young(ev.since) {
			return true
		}
	}
	return false
}

// A filter by day may be read in any zone, and exclude the day itself: what began
// widestDay after its beginning in UTC is in the list whatever the platform makes
// of it.
const widestDay = 36 * time.Hour

// dayBefore is the day to filter by, to have everything that began at start or
// later.
func dayBefore(start time.Time) string {
	return start.UTC().Add(-widestDay).Format(time.DateOnly)
}

// headRead goes on from a page of a probe for the newest sessions.
func (r *historyReader) headRead(w plan.Window, answer platform.Page, m timing) error {
	b := &r.probe
	if !b.walking {
		b.began, b.walking, b.newest = m.sent, true, time.Time{}
	}
	oldest, newest := startsOf(answer.Sessions)
	if newest.After(b.newest) {
		b.newest = newest
	}
	b.covered = w.Start() + positions(answer, w)
	back := b.Frontier
	if back.IsZero() {
		// Nothing before the tracking of the account began is of interest.
		back = r.wide.Since
	}
	if answer.More && answer.Records > 0 && !back.IsZero() && !oldest.Before(back.Add(-frontierSlack)) {
		if b.covered < deepProbe*r.roster.track.Size {
			return nil
		}
		r.missed(gap{From: back, Covered: b.covered})
	}
	b.covered = 0
	return r.probed(b.newest)
}

// probeTail reads the page at the end of the history, or seeks it.
func (p *Poller) probeTail(ctx context.Context) error {
	b := &p.history.probe
	if (b.resumed || !b.at.IsZero()) && !b.walking && b.age(p.Clock.Now()) > longAway && p.platformNow().Sub(b.Frontier) > longAway {
		// What came since is read from the old cursor on, beside a new one at the
		// list's end.
		if !b.Frontier.IsZero() {
			p.history.missed(gap{From: b.Frontier, Date: b.Date, Page: b.Page})
		}
		b.Date, b.resumed, b.at = "", false, time.Time{}
	}
	if b.Date == "" {
		b.Date = dayBefore(p.platformNow())
		b.Page, b.ahead, b.full, b.void, b.sought = 1, 0, 0, 0, false
	}
	w := plan.Window{Number: b.Page + b.ahead, Size: plan.MaxPerPage}
	if b.turned = b.turned && !p.roster.track.Fixed; b.turned {
		w = windowFrom((b.Page-1)*plan.MaxPerPage, acrossTurn)
	}
	return p.askHistory(ctx, platform.Query{StartDate: b.Date, Page: w.Number, PerPage: w.Size}, func(answer platform.Page, m timing) error {
		if !b.sought && p.history.seek(answer) {
			return nil
		}
		return p.history.tailRead(answer, m)
	})
}

// tailRead goes on from the page at the end of the history.
func (r *historyReader) tailRead(answer platform.Page, m timing) error {
	b := &r.probe
	if !b.walking {
		b.began, b.walking = m.sent, true
	}
	_, newest := startsOf(answer.Sessions)
	across := b.turned
	b.turned = false
	switch {
	case across && answer.More:
		return nil
	case answer.More && b.ahead == 0 && newest.Before(m.from.Add(-frontierSlack)):
		b.Page++
		b.dirty, b.turned = true, true
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
	if b.Frontier.IsZero() && !r.wide.Since.IsZero() {
		// Since tracking began, sessions may have come and gone on the pages before.
		r.missed(gap{From: r.wide.Since, Date: b.Date, Page: b.Page, Back: true})
		b.Frontier = r.wide.Since
	}
	return r.probed(newest)
}

// acrossTurn is how many records before the end of a full page are read again together
// with those behind it: of equal starts each page shows some, and who has none of both
// pages may have ended before anything else shows them.
const acrossTurn = 60

// seek takes a step towards the last page of the history: doubling until a page
// is empty, then halving. It reports false when the page read is the one from
// which to go on.
func (r *historyReader) seek(answer platform.Page) (again bool) {
	b := &r.probe
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

// probed ends a complete probe.
func (r *historyReader) probed(newest time.Time) error {
	b := &r.probe
	b.at, b.walking = b.began, false
	if newest.After(b.Frontier) && !r.wide.Since.IsZero() {
		b.Frontier, b.dirty = newest, true
	}
	return r.save()
}

// save remembers the cursors, now and then: old ones are safe.
func (r *historyReader) save() error {
	b := &r.probe
	now := r.Clock.Now()
	if !b.dirty || now.Sub(b.savedAt) < probeSaving {
		return nil
	}
	b.dirty, b.savedAt = false, now
	return r.remember(probeKey, b)
}

// platformNow is the platform's time, as far as known.
func (s *Settings) platformNow() time.Time {
	earliest, _ := s.platformTime(s.Clock.Now())
	return earliest.UTC()
}

// platformTime bounds the platform's time at a moment of the local clock.
func (s *Settings) platformTime(local time.Time) (earliest, latest time.Time) {
	if s.Time == nil {
		return local.UTC(), local.UTC()
	}
	return s.Time.Bounds(local)
}
