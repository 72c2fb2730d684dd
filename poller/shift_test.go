package poller

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/order"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestStartsOfStrangersProveNothing: a venue restarts while the platform's zone is set anew,
// so that a page at the end of the list shows nobody who is known. Nobody ends for it, and the
// history stays in use; once a page shows somebody by the start that is known, it proves.
func TestStartsOfStrangersProveNothing(t *testing.T) {
	for _, d := range []order.Direction{order.NewestFirst, order.OldestFirst} {
		for _, by := range []time.Duration{-3 * time.Hour, 0, 3 * time.Hour} {
			t.Run(string(d)+" "+by.String(), func(t *testing.T) {
				c := newCounter(t, newShelf(), noon)
				c.accountList.Direction, c.history.list.Direction, c.history.probe.Direction = d, d, d
				group := func(name string, n int, from time.Time) (sessions []events.Session) {
					for i := range n {
						sessions = append(sessions, events.Session{ID: name + strconv.Itoa(i), LocationID: "hall", Online: true, StartedAt: from.Add(time.Duration(i) * time.Second)})
					}
					return sessions
				}
				page := func(sessions []events.Session, first, last bool, at time.Time) evidence {
					sessions = slices.Clone(sessions)
					if d == order.NewestFirst {
						slices.Reverse(sessions)
					} else {
						first, last = last, first
					}
					return evidence{timing: instant(at), sessions: sessions, scope: ofAccount, first: first, last: last}
				}
				known := group("known", 150, noon.Add(-time.Hour))
				now := noon
				for range 3 {
					now = now.Add(20 * time.Second)
					c.answer(page(known[50:], true, false, now))
					c.answer(page(known[:80], false, true, now.Add(time.Second)))
				}

				// The newest page has those who came in the restart alone.
				now = now.Add(time.Minute)
				strangers := group("new", 100, now.Add(by-110*time.Second))
				if gone := c.answer(page(strangers, true, false, now)); len(gone) > 0 {
					t.Errorf("%d ended for a page of strangers", len(gone))
				}

				ev := page(group("newer", 100, now.Add(by-105*time.Second)), true, false, now)
				ev.scope = ofHistory
				if err := c.weigh(&ev); err != nil {
					t.Fatal(err)
				}
				reading := c.history.list.Read(c.roster.page(&ev))
				if !c.history.trusts(&ev, &reading, platform.Query{Page: 1, PerPage: plan.MaxPerPage}) {
					t.Error("the history is not used for a page of strangers")
				}
				if by != 0 {
					return
				}
				// Somebody of them is known now, and who is behind has gone.
				now = now.Add(time.Minute)
				gone := c.answer(page(slices.Concat(known[100:102], strangers), true, false, now))
				if len(gone) != 48 {
					t.Errorf("%d ended by a page with who is known, want 48", len(gone))
				}
			})
		}
	}
}

// TestStartsThatChangedProveNothingAfterARestart: a process ends while the platform's servers
// get another zone one after another, so that it knows some sessions by the one and some by
// the other.
func TestStartsThatChangedProveNothingAfterARestart(t *testing.T) {
	const by = -3 * time.Hour
	for _, c := range []struct {
		away time.Duration
		gone int
	}{{time.Second, 0}, {settled, 40}} {
		kept := newShelf()
		p := newCounter(t, kept, noon)
		p.accountList.Direction = order.NewestFirst
		var all []events.Session // newest first
		for i := range 150 {
			all = append(all, events.Session{ID: strconv.Itoa(i), LocationID: "hall", Online: true, StartedAt: noon.Add(-time.Duration(i) * time.Second)})
		}
		page := func(from, to int, by time.Duration, at time.Time) evidence {
			sessions := slices.Clone(all[from:to])
			for i := range sessions {
				sessions[i].StartedAt = sessions[i].StartedAt.Add(by)
			}
			return evidence{timing: instant(at), sessions: sessions, scope: ofAccount, first: from == 0, last: to == len(all)}
		}
		now := noon
		for range 3 {
			now = now.Add(20 * time.Second)
			p.answer(page(0, 100, 0, now))
			p.answer(page(70, 150, 0, now.Add(time.Second)))
		}
		now = now.Add(20 * time.Second)
		p.answer(page(0, 100, by, now))

		now = now.Add(c.away)
		p = newCounter(t, kept, now)
		p.accountList.Direction = order.NewestFirst
		if c.gone > 0 { // Once all are known by the zone that stays, a page proves again.
			now = now.Add(20 * time.Second)
			if gone := p.answer(page(0, 100, by, now)); len(gone) > 0 {
				t.Errorf("%d ended who were not shown since starts changed", len(gone))
			}
			for range 2 {
				p.answer(page(70, 150, by, now.Add(time.Second)))
				now = now.Add(settled + time.Second)
				p.answer(page(0, 100, by, now))
			}
			all = slices.Delete(all, 20, 20+c.gone)
		}
		now = now.Add(20 * time.Second)
		if gone := p.answer(page(0, 100, by, now)); len(gone) != c.gone {
			t.Errorf("%v after starts changed %d ended, want %d", c.away, len(gone), c.gone)
		}
	}
}
