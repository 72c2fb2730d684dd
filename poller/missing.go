package poller

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// A complete reading of several pages proves nobody gone; see reading. Where the
// list is sorted its pages did, one by one, and what they left open stood at their
// borders. Whom the reading did not show is asked about, each alone or with all of
// a location.
const (
	// leastHidden is the least part of a list that a reading counts as hiding:
	// equal queries hide equal rows, so that one reading is not quite independent of
	// another.
	leastHidden = 0.056
	// hiddenOften: sessions whose rows move most are hidden so many times as often as all
	// are on average.
	hiddenOften = 2
	// likelyDoubt is how surely a session is gone that is worth a question: the
	// probability that readings hid it is e to the minus of that.
	likelyDoubt = 2
	// presumedDoubt is that of an end which is presumed: 1 in 100,000, and at least
	// four readings. Of 250,000 such ends none was false: go test -tags trial -run
	// TestPresumedEndsAreTrue ./poller.
	presumedDoubt = 11.5
	// sampled is that from which further readings would hardly show a session.
	sampled = 4
)

// verifyQueue is who is missing: sessions that lists failed to show, without proof that
// they are gone.
type verifyQueue struct {
	*account
	ids    []string
	hidden float64 // the part of the list that its last reading of several pages did not show
	sooner bool    // whether further readings settle most of them sooner than questions do
}

// finished weighs what a complete reading did not show, of a location or, with nil,
// of the account.
func (k *ledger) finished(ctx context.Context, r *reading, of *location) error {
	ordered := k.accountList.Established()
	if of != nil {
		ordered = k.locationLists.Established() && k.startsTell()
	}
	ordered = ordered || r.pages == 1
	presumed := k.missing.unshown(r, of, ordered)
	if of != nil {
		k.roster.certainBy(of, r.began, ordered)
	} else {
		k.tended = k.Clock.Now()
		k.tend(k.tended, r.began)
	}
	return k.presume(ctx, presumed)
}

// unshown queues whom a complete reading did not show, and returns those whose ends are
// presumed.
func (q *verifyQueue) unshown(r *reading, of *location, ordered bool) (presumed []string) {
	share := max(leastHidden, min(0.9, hiddenOften*r.hidden()))
	began := q.roster.rows.Seconds(r.began)
	q.hidden = r.hidden()
	locations := q.watched.all
	if of != nil {
		locations = []*location{of}
	}
	for _, l := range locations {
		l.missing = 0
	}
	var unseen []*entry
	for e := range q.roster.at(of) {
		if e.shown <= began && !r.shown[e.ID] {
			unseen = append(unseen, e)
		}
	}
	slices.SortFunc(unseen, func(a, b *entry) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range unseen {
		if of != nil && q.accountList.Established() && e.Listed() && e.in[ofAccount].placed {
			continue // The sweep will be by, whose pages prove many at once.
		}
		asked := q.waits(e)
		if e.doubt -= math.Log(share); !asked && (e.doubt < likelyDoubt || ordered && e.doubt < 2*likelyDoubt) {
			continue
		}
		e.at.missing++
		if e.doubt >= presumedDoubt && !ordered && r.fixed == 0 && !q.ProvenEnds && e.at.Cost() > 1 {
			presumed = append(presumed, e.ID)
			continue
		}
		q.add(e.ID)
	}
	return presumed
}

// presume publishes the ends of sessions that many readings did not show, where
// proof cannot keep up.
func (k *ledger) presume(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	k.missing.ids = slices.DeleteFunc(k.missing.ids, func(id string) bool { return slices.Contains(ids, id) })
	now := k.Clock.Now()
	m := timing{sent: now, came: now}
	m.from, m.at = k.platformTime(now)
	return k.take(ctx, evidence{timing: m, missing: ids, presumed: true})
}

// add queues a session for verification, unless it turns up before that.
func (q *verifyQueue) add(id string) {
	if q.requests.asking(plan.Verify, id) {
		return
	}
	if e := q.roster.find(id); e != nil && !e.queued {
		e.missed, e.queued = max(1, q.Clock.Now().Sub(q.begun)), true
		q.ids = append(q.ids, id)
	}
}

// waits reports whether a session was queued and was not seen since.
func (k *account) waits(e *entry) bool { return e.missed > 0 && e.Seen.Sub(k.begun) < e.missed }

// weigh puts first what a question settles most of: how long all have waited
// that one answer tells of.
func (q *verifyQueue) weigh(now time.Time) {
	q.sooner = false
	missing := q.settle()
	if len(missing) < 2 {
		return
	}
	waits := make(map[*location]float64)
	looked := missing[:min(len(missing), mostWeighed)]
	for _, id := range looked {
		e := q.roster.find(id)
		e.at.missing = 0
		waits[e.at] += min(now.Sub(e.Seen), mostWait).Seconds()
	}
	best, most, presumable := 0, -1.0, 0
	for i, id := range looked {
		e := q.roster.find(id)
		if e.at.Cost() > 1 {
			presumable++
		}
		wait := min(now.Sub(e.Seen), mostWait).Seconds()
		if e.at.Cost() == 1 || e.doubt < sampled {
			e.at.missing++
		}
		if e.at.Cost() == 1 && !q.roaming {
			wait = waits[e.at]
		}
		if wait > most {
			best, most = i, wait
		}
	}
	missing[0], missing[best] = missing[best], missing[0]
	q.sooner = !q.ProvenEnds && presumable >= outnumbered && 2*presumable > len(looked)
}

// settle drops those who are settled among the first of the queue, and returns those of
// them who are missing still. One answer may have settled more than these all.
func (q *verifyQueue) settle() (missing []string) {
	for len(missing) == 0 && len(q.ids) > 0 {
		first := min(len(q.ids), mostSettled)
		behind := q.ids[first:]
		missing = slices.DeleteFunc(q.ids[:first], func(id string) bool {
			e := q.roster.find(id)
			if e == nil || !q.waits(e) {
				if e != nil {
					e.queued = false
				}
				return true
			}
			return false
		})
		switch len(missing) {
		case first:
		case 0:
			q.ids = behind
		default:
			q.ids = append(missing, behind...)
		}
	}
	return missing
}

// outnumbered is how many sessions of lists of several pages are missing where they end
// faster than they can be asked about.
const outnumbered = 30

// mostWait is the most that one of them counts: beyond, who can only be asked about
// alone would keep waiting many whom one list settles.
const mostWait = 2 * time.Minute

// mostSettled bounds of how many it is looked at for each decision whether they are
// missing still: of the first ones, so that all have their turn.
const mostSettled = 1000

// mostWeighed bounds how many of the missing are compared for one decision.
const mostWeighed = 256

// verify asks for the online sessions of a missing session's guest: one page, so
// absence from it is proof. Where several are missing at a location whose list is
// one page, it asks for that.
func (p *Poller) verify(ctx context.Context, id string) error {
	p.missing.ids = slices.DeleteFunc(p.missing.ids, func(missing string) bool { return missing == id })
	e := p.roster.find(id)
	if e != nil {
		e.queued = false
	}
	state, err := p.stateOf(id)
	if err != nil {
		return err
	}
	if !state.Session.Online || p.pending.ends[id] != nil || e != nil && e.missed > 0 && !p.missing.waits(e) {
		return nil
	}
	if e != nil && p.missing.listed(e) {
		e.at.missing = 0
		return p.list(ctx, e.at.ID)
	}
	query := queryOfGuest(&state.Session)
	if query == (platform.Query{}) {
		// Nothing to ask by; only a whole list can prove its end.
		return nil
	}
	online := true
	query.Online = &online
	return p.askSessions(ctx, query, func(answer platform.Page, m timing, err error) error {
		if err != nil {
			p.missing.add(id)
			return nil
		}
		ev := evidence{timing: m, sessions: answer.Sessions, skipped: answer.Skipped}
		if !answer.More {
			ev.missing = []string{id}
		}
		return p.take(ctx, ev)
	})
}

// listed reports whether its location's list is worth more than a question about a
// session alone. A list on one page answers for all who are missing there; one of
// several shows most of those who are online.
func (q *verifyQueue) listed(e *entry) bool {
	location := e.at
	switch {
	case location.Asking:
		return false
	case location.Cost() == 1:
		return !q.roaming && (location.missing > 1 || !q.accountList.Established())
	}
	return e.doubt < sampled && location.missing > 2*location.Cost()
}

// stateOf returns what is known of a session; the zero State knows nothing.
func (k *ledger) stateOf(id string) (events.State, error) {
	state, _, err := k.Store.State(id)
	if err != nil {
		return events.State{}, fmt.Errorf("session %s: reading its state: %w", id, err)
	}
	return state, nil
}

// overdue queues for verification the sessions that no page showed or proved gone
// in the time that two rounds and more take: they stood in the gap between two pages each
// time, or their position in the list was never seen. Planned is the age at which the
// planner means to have seen each, pace the time between two pages of the sweep.
func (q *verifyQueue) overdue(now time.Time, v *plan.View, planned, pace time.Duration) {
	if !q.accountList.Established() || len(q.ids) > 0 {
		return
	}
	const most = 10
	pages := float64(q.roster.len()) / float64(q.roster.track.Size)
	// Probes, and these questions themselves, make the rounds longer.
	each := max(1/v.Budget, pace.Seconds())
	limit := max(time.Duration((2.4*pages*each+10)*float64(time.Second)), planned*5/4)
	if v.Missed {
		limit *= 2 // reading what was missed slows the rounds
	}
	if now.Sub(q.begun) < limit {
		return // Nobody has looked yet.
	}
	var late []*entry
	for row := range q.roster.rows.Unseen(now, limit) {
		if now.Sub(row.Seen) > followedOverdue*limit || !v.Followed(row) {
			late = append(late, q.roster.entry(row))
		}
	}
	for e := range q.roster.loose {
		// The sweep has been by, and no page is read for what has no position.
		if age := now.Sub(e.Seen); age > limit || planned > 0 && age > planned*3/4 {
			late = append(late, e)
		}
	}
	// First where one page of a location's list answers for most, then those that
	// were not seen for longest.
	for _, e := range late {
		e.at.missing = 0
	}
	for _, e := range late {
		if e.at.Cost() == 1 && !q.roaming {
			e.at.missing++
		}
	}
	slices.SortFunc(late, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.at.missing, a.at.missing), a.Seen.Compare(b.Seen), cmp.Compare(a.ID, b.ID))
	})
	for _, e := range late[:min(most, len(late))] {
		q.add(e.ID)
	}
}

// unfound gives up on the session that a page was asked for and did not show, nor
// prove gone: its position in the list is not what the rows have. It is asked about.
func (q *verifyQueue) unfound(e *entry, sent time.Time) {
	if e == nil || !e.Listed() || !e.Seen.Before(sent) {
		return
	}
	if e.sought++; e.sought < mostSought {
		return
	}
	e.sought = 0
	q.setAside(e)
}

// setAside takes a session out of the rows that no page can settle, until it is
// shown again, and asks about it.
func (q *verifyQueue) setAside(e *entry) {
	q.roster.setAside(e)
	q.add(e.ID)
}

// followedOverdue is how much longer sessions wait of which is read who has ended; see
// departures.
const followedOverdue = 3

// mostSought is how many pages are asked for around a session that they do not
// show.
const mostSought = 2
