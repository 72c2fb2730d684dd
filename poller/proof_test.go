package poller

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/plan"
)

// TestOnePageProvesNobodyWrong: no page proves a session gone that is online at that
// moment, in whatever order equal starts stand; and who is gone is proven so.
func TestOnePageProvesNobodyWrong(t *testing.T) {
	proven := make(map[string]int)
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SampledFrom(append([]string{"id", "shuffled"}, sortedOrders...)).Draw(t, "order")
		c := newCrowd(t, order, rapid.IntRange(1, 500).Draw(t, "online"))
		p := newCounter(t, newShelf(), c.now)
		for range rapid.IntRange(2, 6).Draw(t, "rounds") {
			for number, more := 1, true; more; number++ {
				w := plan.Window{Number: number, Size: rapid.IntRange(plan.MaxPerPage/2, plan.MaxPerPage).Draw(t, "size")}
				w.Number = max(1, number*plan.MaxPerPage/w.Size)
				page := c.page(w)
				online := ids(c.online)
				for _, id := range p.answer(accountPage(page, w, instant(c.now))) {
					if online[id] {
						t.Fatalf("order %s: %s is online and proven gone", order, id)
					}
					proven[order]++
				}
				ascending(t, p.roster)
				c.churn(3)
				c.now = c.now.Add(time.Second)
				more = page.More
			}
			c.now = c.now.Add(leastLag) // whoever was shown for the first time may be proven gone
		}
	})
	for _, order := range sortedOrders {
		if proven[order] == 0 {
			t.Errorf("order %s: no session was proven gone: the test shows nothing", order)
		}
	}
}

// ascending holds the roster against itself: everybody stands in the rows, in order, or is
// loose, and whoever is loose is found by the second of the start.
func ascending(t *rapid.T, r *roster) {
	n := 0
	var last *plan.Row
	for row := range r.rows.All() {
		e := r.entry(row)
		if e == nil || &e.Row != row || r.loose[e] {
			t.Fatalf("the rows are broken at %s", row.ID)
		}
		if last != nil && (r.rows.NewestFirst && last.Start.Before(row.Start) || !r.rows.NewestFirst && row.Start.Before(last.Start)) {
			t.Fatalf("%s of %v stands behind %s of %v", row.ID, row.Start, last.ID, last.Start)
		}
		last = row
		n++
	}
	if n != r.rows.Len() || n+len(r.loose) != r.len() {
		t.Fatalf("there are %d rows of %d, %d are loose, %d known", r.rows.Len(), n, len(r.loose), r.len())
	}
	adrift := 0
	for second, there := range r.adrift {
		for e := range there {
			if !r.loose[e] || e.Start.Unix() != second {
				t.Fatalf("%s of %v stands among those of %d, and is loose: %t", e.ID, e.Start, second, r.loose[e])
			}
		}
		if adrift += len(there); len(there) == 0 {
			t.Fatalf("nobody is left of %d, which is still there", second)
		}
	}
	for e := range r.loose {
		if !e.Start.IsZero() {
			adrift--
		}
	}
	if adrift != 0 {
		t.Fatalf("%d are adrift that are not loose, or loose and not found", adrift)
	}
}

// TestShuffledListProvesNothing: each contradiction switches the proof off.
func TestShuffledListProvesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, "shuffled", rapid.IntRange(150, 300).Draw(t, "online"))
		p := newCounter(t, newShelf(), c.now)
		for number := range 30 {
			w := plan.Window{Number: number%2 + 1, Size: plan.MaxPerPage}
			if ended := p.answer(accountPage(c.page(w), w, instant(c.now))); len(ended) > 0 || p.accountList.Established() {
				t.Fatalf("a page without order proves %v gone", ended)
			}
			ascending(t, p.roster)
			c.churn(1)
		}
		if p.accountList.Contradictions == 0 {
			t.Fatal("no contradiction was noticed")
		}
	})
}

// TestReturnsProveNobodyWrong: sessions come back under their old id and start. Pages
// of history show ended sessions as well, and prove nobody gone. Now and then a new
// process goes on.
func TestReturnsProveNobodyWrong(t *testing.T) {
	proven := 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, rapid.SampledFrom(sortedOrders).Draw(t, "order"), rapid.IntRange(60, 90).Draw(t, "online"))
		s := newShelf()
		p := newCounter(t, s, c.now)
		size := rapid.IntRange(20, 50).Draw(t, "size")
		for range rapid.IntRange(20, 60).Draw(t, "pages") {
			c.now = c.now.Add(time.Second)
			if rapid.IntRange(0, 9).Draw(t, "process") == 0 {
				p = newCounter(t, s, c.now)
			}
			if rapid.Bool().Draw(t, "one leaves") {
				c.leave()
			}
			if rapid.Bool().Draw(t, "one returns") {
				c.comeBack()
			}
			c.arrive()
			list, scope := c.online, ofAccount
			if rapid.IntRange(0, 2).Draw(t, "history") == 0 {
				list, scope = slices.Clone(c.online), ofHistory
				for _, s := range c.gone {
					s.Online, s.EndedAt = false, c.now
					list = append(list, s)
				}
			}
			w := plan.Window{Number: rapid.IntRange(1, 1+len(list)/size).Draw(t, "page"), Size: size}
			ev := accountPage(paged(c.query(list), w), w, instant(c.now))
			ev.scope = scope
			online, shown := ids(c.online), ids(ev.sessions)
			for _, id := range p.answer(ev) {
				if online[id] {
					t.Fatalf("%s is online and proven gone", id)
				}
				if scope == ofHistory && !shown[id] {
					t.Fatalf("the history proves %s gone, and does not show it", id)
				}
				if !shown[id] {
					proven++
				}
			}
			ascending(t, p.roster)
		}
	})
	if proven == 0 {
		t.Error("no session was proven gone: the test shows nothing")
	}
}

// TestOverlappingAnswersProveNobodyWrong: requests are under way beside each other,
// so answers come out of order. Who is proven gone was so when the page was read,
// and no newer page has shown them.
func TestOverlappingAnswersProveNobodyWrong(t *testing.T) {
	proven, disordered := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, rapid.SampledFrom(sortedOrders).Draw(t, "order"), rapid.IntRange(60, 90).Draw(t, "online"))
		p := newCounter(t, newShelf(), c.now)
		size := rapid.IntRange(20, 50).Draw(t, "size")
		type answer struct {
			evidence
			taken  time.Time // when it was so
			online map[string]bool
		}
		var flying, landed []answer
		land := func(a answer) {
			for _, id := range p.answer(a.evidence) {
				if a.online[id] {
					t.Fatalf("%s was online and is proven gone", id)
				}
				for _, o := range landed {
					if o.taken.After(a.taken) && ids(o.sessions)[id] {
						t.Fatalf("%s was seen by a newer page and is proven gone", id)
					}
				}
				proven++
			}
			ascending(t, p.roster)
			for _, o := range landed {
				if o.taken.After(a.taken) {
					disordered++
				}
			}
			landed = append(landed, a)
		}
		for range rapid.IntRange(20, 60).Draw(t, "pages") {
			c.now = c.now.Add(time.Second)
			if rapid.Bool().Draw(t, "one leaves") {
				c.leave()
			}
			if rapid.IntRange(0, 3).Draw(t, "one returns") == 0 {
				c.comeBack()
			}
			c.arrive()
			at := c.now
			w := plan.Window{Number: rapid.IntRange(1, 1+len(c.online)/size).Draw(t, "page"), Size: size}
			before := time.Duration(rapid.IntRange(0, 2000).Draw(t, "way there, ms")) * time.Millisecond
			after := time.Duration(rapid.IntRange(0, 4000).Draw(t, "way back, ms")) * time.Millisecond
			m := timing{sent: at.Add(-before), came: at.Add(after), from: at.Add(-before), at: at.Add(after)}
			flying = append(flying, answer{evidence: accountPage(c.page(w), w, m), taken: at, online: ids(c.online)})
			slices.SortFunc(flying, func(a, b answer) int { return a.came.Compare(b.came) })
			for len(flying) > 0 && !flying[0].came.After(c.now) {
				// One more is under way, so that who has parted is remembered.
				p.requests.underWay = []*request{{}}
				land(flying[0])
				flying = flying[1:]
			}
		}
	})
	if proven == 0 || disordered == 0 {
		t.Errorf("%d sessions were proven gone, and %d pages came out of order: the test shows nothing", proven, disordered)
	}
}

// TestOverlappingPagesMissNobody: a reading of a list with an order of its own shows
// everybody who was online from its first page to its last, while no more sessions
// end between two pages than these overlap.
func TestOverlappingPagesMissNobody(t *testing.T) {
	several := 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, rapid.SampledFrom([]string{"newest", "oldest", "id"}).Draw(t, "order"), rapid.IntRange(0, 600).Draw(t, "online"))
		throughout := ids(c.online)
		r := newReading(c.now, rapid.IntRange(0, 9).Draw(t, "turn"))
		for done := false; !done; {
			w := r.next()
			if w.Size < plan.MaxPerPage/2 || w.Size > plan.MaxPerPage || w.Number < 1 {
				t.Fatalf("asks for page %d of %d", w.Number, w.Size)
			}
			done = r.add(c.page(w), instant(c.now))
			c.churn(overlap - 1)
			online := ids(c.online)
			for id := range throughout {
				if !online[id] {
					delete(throughout, id)
				}
			}
		}
		if r.pages > 1 {
			several++
		}
		for id := range throughout {
			if !r.shown[id] {
				t.Fatalf("%d pages do not show %s, which was online all along", r.pages, id)
			}
		}
	})
	if several == 0 {
		t.Error("no list took several pages: the test shows nothing")
	}
}

// TestRepeatsBetrayAListWithoutOrder: what a reading shows too often tells how much
// of the list it did not show.
func TestRepeatsBetrayAListWithoutOrder(t *testing.T) {
	hidden := func(t *rapid.T, order string) (said, was float64) {
		c := newCrowd(t, order, 600)
		r := newReading(c.now, 0)
		for done := false; !done; {
			done = r.add(c.page(r.next()), instant(c.now))
		}
		return r.hidden(), 1 - float64(len(r.shown))/600
	}
	rapid.Check(t, func(t *rapid.T) {
		if said, was := hidden(t, "newest"); said != 0 || was != 0 {
			t.Errorf("%.2f of a sorted list are said to be hidden, %.2f were", said, was)
		}
		if said, was := hidden(t, "shuffled"); was < 0.1 || math.Abs(said-was) > 0.15 {
			t.Errorf("%.2f of a shuffled list are said to be hidden, %.2f were", said, was)
		}
	})
}

// odd answers a reading until it is done, and returns how many sessions it showed.
func odd(t *testing.T, most int, page func(w plan.Window) ([]events.Session, int, bool)) *reading {
	t.Helper()
	r := newReading(noon, 0)
	for done := false; !done; {
		w := r.next()
		sessions, perPage, more := page(w)
		answer := paged(sessions, plan.Window{Number: 1, Size: max(1, len(sessions))})
		answer.PerPage, answer.More = perPage, more
		if done = r.add(answer, instant(noon)); r.pages > most {
			t.Fatalf("%d pages were read, and there is no end to it", r.pages)
		}
	}
	return r
}

// TestOddPagesEnd: a platform that ignores per_page, or never says that a list ends,
// costs a bounded number of requests.
func TestOddPagesEnd(t *testing.T) {
	all := make([]events.Session, 237)
	for i := range all {
		all[i] = events.Session{ID: string(rune('A' + i)), LocationID: "hall", Online: true}
	}
	part := func(from, to int) []events.Session { return all[min(from, len(all)):min(to, len(all))] }
	for _, c := range []struct {
		name        string
		page        func(w plan.Window) (sessions []events.Session, perPage int, more bool)
		shown, most int
	}{
		{"pages of 10", func(w plan.Window) ([]events.Session, int, bool) {
			return part(10*(w.Number-1), 10*w.Number), 10, 10*w.Number < len(all)
		}, 237, 25},
		{"pages of 50", func(w plan.Window) ([]events.Session, int, bool) {
			return part(50*(w.Number-1), 50*w.Number), 50, 50*w.Number < len(all)
		}, 237, 6},
		{"records sent twice", func(w plan.Window) ([]events.Session, int, bool) {
			sent := part(w.Start(), w.End())
			return append([]events.Session{sent[0]}, sent...), w.Size, w.End() < len(all)
		}, 237, 4},
		{"the same page for ever", func(w plan.Window) ([]events.Session, int, bool) { return part(0, w.Size), w.Size, true }, 100, 20},
		{"empty pages", func(plan.Window) ([]events.Session, int, bool) { return nil, 0, true }, 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := odd(t, c.most, c.page); len(r.shown) != c.shown {
				t.Errorf("%d pages show %d sessions, want %d", r.pages, len(r.shown), c.shown)
			}
		})
	}
}
