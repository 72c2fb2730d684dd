package poller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/poller/platform"
)

// crowd is the platform's list of online sessions while people come and go.
type crowd struct {
	t      *rapid.T
	order  string
	online []events.Session
	next   int
	now    time.Time
}

func newCrowd(t *rapid.T, order string, n int) *crowd {
	c := &crowd{t: t, order: order, now: noon}
	for range n {
		c.arrive()
	}
	return c
}

func (c *crowd) arrive() {
	c.next++
	c.now = c.now.Add(time.Second)
	// Ids say nothing about time; with "ties" many starts are equal.
	s := events.Session{ID: fmt.Sprintf("%08x", uint32(c.next)*2654435761), LocationID: "hall", StartedAt: c.now, Online: true}
	if c.order == "ties" {
		s.StartedAt = c.now.Truncate(time.Minute)
	}
	c.online = append(c.online, s)
	c.sort()
}

func (c *crowd) sort() {
	slices.SortFunc(c.online, func(a, b events.Session) int {
		switch c.order {
		case "newest":
			return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.ID, b.ID))
		case "id":
			return cmp.Compare(a.ID, b.ID)
		}
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
}

func (c *crowd) churn(most int) {
	for range rapid.IntRange(0, most).Draw(c.t, "arrivals") {
		c.arrive()
	}
	for range min(len(c.online), rapid.IntRange(0, most).Draw(c.t, "ends")) {
		i := rapid.IntRange(0, len(c.online)-1).Draw(c.t, "who ends")
		c.online = slices.Delete(c.online, i, i+1)
	}
}

func (c *crowd) page(number, size int) platform.Page {
	if c.order == "shuffled" {
		c.online = rapid.Permutation(c.online).Draw(c.t, "order")
	}
	from := min((number-1)*size, len(c.online))
	to := min(from+size, len(c.online))
	return platform.Page{Sessions: slices.Clone(c.online[from:to]), Records: to - from, PerPage: size, More: to < len(c.online), Number: number}
}

func ids(sessions []events.Session) map[string]bool {
	set := make(map[string]bool, len(sessions))
	for i := range sessions {
		set[sessions[i].ID] = true
	}
	return set
}

// TestJoinedPagesMissNobody: whoever is online from the first page to the last is
// in the snapshot, whatever happens in between, unless it claims no proof.
func TestJoinedPagesMissNobody(t *testing.T) {
	joined := 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, rapid.SampledFrom([]string{"newest", "oldest", "id", "ties"}).Draw(t, "order"), rapid.IntRange(0, 600).Draw(t, "online"))
		throughout := ids(c.online)
		var l listing
		for done := false; !done; {
			w := l.next()
			if w.size < MaxPerPage/2 || w.size > MaxPerPage || w.number < 1 {
				t.Fatalf("asks for page %d of %d", w.number, w.size)
			}
			done = l.add(c.page(w.number, w.size), instant(c.now))
			c.churn(6)
			for id := range throughout {
				if !ids(c.online)[id] {
					delete(throughout, id)
				}
			}
		}
		snap := l.snapshot()
		if snap.Proof == diff.Partial {
			return
		}
		if snap.Proof == diff.Joined {
			joined++
		}
		shown := ids(snap.Sessions)
		for id := range throughout {
			if !shown[id] {
				t.Fatalf("%v after %d pages does not show %s, which was online all along", snap.Proof, l.pages, id)
			}
		}
	})
	if joined == 0 {
		t.Error("no list of several pages joined: the test shows nothing")
	}
}

// TestOddPagesEnd: a platform that ignores per_page, or never says that a list
// ends, costs a bounded number of requests and proves nothing wrong.
func TestOddPagesEnd(t *testing.T) {
	all := make([]events.Session, 237)
	for i := range all {
		all[i] = events.Session{ID: fmt.Sprint(i), LocationID: "hall", Online: true}
	}
	for _, size := range []int{10, 50} {
		t.Run(fmt.Sprintf("pages of %d", size), func(t *testing.T) {
			var l listing
			for done := false; !done; {
				w := l.next()
				from := min((w.number-1)*size, len(all))
				to := min(from+size, len(all))
				done = l.add(platform.Page{Sessions: all[from:to], Records: to - from, PerPage: size, More: to < len(all)}, instant(noon))
			}
			if n := len(ids(l.sessions)); n != len(all) {
				t.Errorf("%d of %d sessions were read", n, len(all))
			}
			if l.snapshot().Proof != diff.Partial {
				t.Error("pages that cannot overlap prove something")
			}
		})
	}
	t.Run("records sent twice", func(t *testing.T) {
		var l listing
		for done := false; !done; {
			w := l.next()
			sent := all[min(w.start(), len(all)):min(w.end(), len(all))]
			twice := append([]events.Session{sent[0]}, sent...)
			done = l.add(platform.Page{Sessions: twice, Records: len(twice), PerPage: w.size, More: w.end() < len(all)}, instant(noon))
		}
		if n := len(ids(l.sessions)); n != len(all) || l.snapshot().Proof != diff.Joined || l.pages > 4 {
			t.Errorf("%d of %d sessions were read with %d pages, proof %v", n, len(all), l.pages, l.snapshot().Proof)
		}
	})
	t.Run("never ends", func(t *testing.T) {
		var l listing
		for done := false; !done; {
			l.next()
			done = l.add(platform.Page{Sessions: all[:100], Records: 100, PerPage: 100, More: true}, instant(noon))
		}
		if l.pages > maxPages || l.snapshot().Proof != diff.Partial {
			t.Errorf("%d pages, proof %v", l.pages, l.snapshot().Proof)
		}
	})
	t.Run("empty pages", func(t *testing.T) {
		var l listing
		for done := false; !done; {
			l.next()
			done = l.add(platform.Page{More: true}, instant(noon))
		}
		if l.pages > 10 {
			t.Errorf("%d empty pages were read", l.pages)
		}
	})
}

// TestOnePageProvesNobodyWrong: while the order holds, no page proves a session
// gone that is online at that moment; and most who are gone are proven so.
func TestOnePageProvesNobodyWrong(t *testing.T) {
	proven := 0
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SampledFrom([]string{"newest", "oldest", "id", "ties"}).Draw(t, "order")
		c := newCrowd(t, order, rapid.IntRange(1, 500).Draw(t, "online"))
		r := newRoster(noon)
		place := &Place{ID: "hall", AddedAt: noon}
		for range rapid.IntRange(2, 6).Draw(t, "rounds") {
			tail, last := false, ""
			for number := 1; ; number++ {
				answer := c.page(number, MaxPerPage)
				pg := page{sessions: answer.Sessions, moment: instant(c.now), first: number == 1, last: !answer.More && answer.Records > 0, follows: tail}
				j := r.judge(pg)
				if j.contradicted {
					t.Fatalf("order %s: a page contradicts", order)
				}
				online := ids(c.online)
				for _, id := range j.absent {
					if online[id] {
						t.Fatalf("order %s: %s is online and proven gone", order, id)
					}
					r.remove(id)
					proven++
				}
				for i := range answer.Sessions {
					r.add(answer.Sessions[i].ID, place, time.Time{}, instant(c.now))
				}
				r.place(pg)
				ascending(t, r)
				if answer.Records > 0 {
					last = answer.Sessions[answer.Records-1].ID
				}
				tail = r.ring.n > 0 && r.ring.last().id == last
				c.churn(3)
				if !answer.More {
					break
				}
			}
			r.complete = true
		}
	})
	if proven == 0 {
		t.Error("no session was proven gone: the test shows nothing")
	}
}

func ascending(t *rapid.T, r *roster) {
	n := 0
	for i, b := range r.ring.blocks {
		if b.at != i || len(b.entries) == 0 || len(b.entries) > blockMax {
			t.Fatalf("block %d of %d stands at %d, with %d entries", i, len(r.ring.blocks), b.at, len(b.entries))
		}
		for _, e := range b.entries {
			if e.block != b || r.entries[e.id] != e {
				t.Fatalf("the ring is broken at %s", e.id)
			}
			n++
		}
	}
	if n != r.ring.n {
		t.Fatalf("the ring counts %d of %d", r.ring.n, n)
	}
}

// TestShuffledListProvesNothing: each contradiction switches the proof off.
func TestShuffledListProvesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, "shuffled", rapid.IntRange(150, 300).Draw(t, "online"))
		r := newRoster(noon)
		place := &Place{ID: "hall", AddedAt: noon}
		for number := range 30 {
			answer := c.page(number%3+1, MaxPerPage)
			pg := page{sessions: answer.Sessions, moment: instant(c.now), first: number%3 == 0, last: !answer.More}
			j := r.judge(pg)
			if j.contradicted && (r.established() || len(j.absent) > 0) {
				t.Fatal("a page that contradicts proves something")
			}
			for i := range answer.Sessions {
				r.add(answer.Sessions[i].ID, place, time.Time{}, instant(c.now))
			}
			r.place(pg)
			ascending(t, r)
			r.complete = true
		}
		if r.contradictions == 0 {
			t.Fatal("no contradiction was noticed")
		}
	})
}

// TestReturnsProveNobodyWrong: sessions that come back under their old id stand
// where they stood, but those that arrived meanwhile may have been put on their
// wrong side. Pages of history show ended sessions as well. Now and then a new
// process goes on with an order that was kept some pages ago.
func TestReturnsProveNobodyWrong(t *testing.T) {
	proven := 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t, rapid.SampledFrom([]string{"newest", "oldest", "id"}).Draw(t, "order"), rapid.IntRange(10, 40).Draw(t, "online"))
		r := newRoster(noon)
		place := &Place{ID: "hall", AddedAt: noon}
		var gone []events.Session
		var kept keptOrder
		size := rapid.IntRange(5, 12).Draw(t, "size")
		for range rapid.IntRange(20, 60).Draw(t, "pages") {
			c.now = c.now.Add(time.Second)
			switch rapid.IntRange(0, 9).Draw(t, "process") {
			case 0:
				kept = r.keep(c.now)
			case 1:
				r = successor(t, r, kept, place, c.now)
			}
			if len(c.online) > 1 && rapid.Bool().Draw(t, "one leaves") {
				i := rapid.IntRange(0, len(c.online)-1).Draw(t, "who")
				gone = append(gone, c.online[i])
				c.online = slices.Delete(c.online, i, i+1)
			}
			if len(gone) > 0 && rapid.Bool().Draw(t, "one returns") {
				i := rapid.IntRange(0, len(gone)-1).Draw(t, "who")
				c.online = append(c.online, gone[i])
				gone = slices.Delete(gone, i, i+1)
			}
			c.arrive()
			online := ids(c.online)
			shown := c
			if rapid.Bool().Draw(t, "history") {
				all := *c
				all.online = slices.Clone(c.online)
				for _, s := range gone {
					s.Online = false
					all.online = append(all.online, s)
				}
				all.sort()
				shown = &all
			}
			number := rapid.IntRange(1, 1+len(shown.online)/size).Draw(t, "page")
			answer := shown.page(number, size)
			pg := page{sessions: answer.Sessions, moment: instant(c.now), first: number == 1, last: !answer.More && answer.Records > 0}
			j := r.judge(pg)
			for _, id := range j.absent {
				if online[id] {
					t.Fatalf("%s is online and proven gone", id)
				}
				r.remove(id)
				proven++
			}
			for _, s := range answer.Sessions {
				if s.Online {
					r.add(s.ID, place, time.Time{}, instant(c.now))
					r.touch(s.ID, instant(c.now))
				} else {
					r.remove(s.ID)
				}
			}
			r.place(pg)
			ascending(t, r)
			r.complete, r.agreed = true, r.needed
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
		c := newCrowd(t, rapid.SampledFrom([]string{"newest", "oldest", "id"}).Draw(t, "order"), rapid.IntRange(10, 40).Draw(t, "online"))
		r := newRoster(noon)
		place := &Place{ID: "hall", AddedAt: noon}
		var gone []events.Session
		size := rapid.IntRange(5, 12).Draw(t, "size")
		type answer struct {
			page
			at     time.Time // when it was so
			online map[string]bool
		}
		var flying, landed []answer
		ended := make(map[string]time.Time) // when the answers came that said so
		land := func(a answer) {
			j := r.judge(a.page)
			for _, id := range j.absent {
				if a.online[id] {
					t.Fatalf("%s was online and is proven gone", id)
				}
				for _, o := range landed {
					if o.at.After(a.at) && ids(o.sessions)[id] {
						t.Fatalf("%s was seen by a newer page and is proven gone", id)
					}
				}
				r.remove(id)
				ended[id] = a.came
				proven++
			}
			for _, s := range a.sessions {
				if !ended[s.ID].After(a.sent) {
					r.add(s.ID, place, time.Time{}, a.moment)
					r.touch(s.ID, a.moment)
				}
			}
			r.place(a.page)
			ascending(t, r)
			r.complete, r.agreed = true, r.needed
			for _, o := range landed {
				if o.at.After(a.at) {
					disordered++
				}
			}
			landed = append(landed, a)
		}
		for range rapid.IntRange(20, 60).Draw(t, "pages") {
			c.now = c.now.Add(time.Second)
			if len(c.online) > 1 && rapid.Bool().Draw(t, "one leaves") {
				i := rapid.IntRange(0, len(c.online)-1).Draw(t, "who")
				gone = append(gone, c.online[i])
				c.online = slices.Delete(c.online, i, i+1)
			}
			if len(gone) > 0 && rapid.IntRange(0, 3).Draw(t, "one returns") == 0 {
				i := rapid.IntRange(0, len(gone)-1).Draw(t, "who")
				c.online = append(c.online, gone[i])
				gone = slices.Delete(gone, i, i+1)
			}
			c.arrive()
			at := c.now
			number := rapid.IntRange(1, 1+len(c.online)/size).Draw(t, "page")
			shown := c.page(number, size)
			before := time.Duration(rapid.IntRange(0, 2000).Draw(t, "way there, ms")) * time.Millisecond
			after := time.Duration(rapid.IntRange(0, 4000).Draw(t, "way back, ms")) * time.Millisecond
			flying = append(flying, answer{page: page{
				moment: moment{sent: at.Add(-before), came: at.Add(after)}, sessions: shown.Sessions,
				first: number == 1, last: !shown.More && shown.Records > 0,
			}, at: at, online: ids(c.online)})
			slices.SortFunc(flying, func(a, b answer) int { return a.came.Compare(b.came) })
			for len(flying) > 0 && !flying[0].came.After(c.now) {
				land(flying[0])
				flying = flying[1:]
			}
		}
	})
	if proven == 0 || disordered == 0 {
		t.Errorf("%d sessions were proven gone, and %d pages came out of order: the test shows nothing", proven, disordered)
	}
}

// instant is the moment of an answer that takes no time.
func instant(t time.Time) moment { return moment{t, t, t, t} }

// successor is the roster of a new process that knows the same sessions.
func successor(t *rapid.T, r *roster, k keptOrder, place *Place, now time.Time) *roster {
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	k = keptOrder{}
	if err := json.Unmarshal(b, &k); err != nil {
		t.Fatal(err)
	}
	next := newRoster(now)
	next.agreed, next.needed = r.agreed, r.needed
	for id := range r.entries {
		next.add(id, place, time.Time{}, instant(now.Add(-time.Minute)))
	}
	next.restore(k)
	ascending(t, next)
	return next
}
