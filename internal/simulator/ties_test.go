package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/guestflow/guestflow/events"
)

// tied is one venue of some 600 online, 150 of whom came in one second, and where
// nobody comes or leaves.
func tied(order Order) (*Simulator, *clock) {
	cfg := unlimited(estate([]float64{450}))
	cfg.Order, cfg.Ties = order, true
	cfg.Stay = Stay{Mean: 5000 * time.Hour, Sigma: 1}
	cfg.Bursts = []Burst{{At: time.Minute, Over: 500 * time.Millisecond, Arrivals: 150}}
	c := newClock()
	s := New(cfg, c.now)
	c.add(2 * time.Minute)
	s.Advance()
	return s, c
}

// read returns the records of all pages, at one instant.
func read(s *Simulator, q Query) [][]events.Session {
	var pages [][]events.Session
	for q.Page = 1; ; q.Page++ {
		records, more := s.List(q)
		pages = append(pages, records)
		if !more {
			return pages
		}
	}
}

func ids(records []events.Session) []string {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids
}

func TestPagesWithTiesLeaveSomeOut(t *testing.T) {
	for _, order := range []Order{NewestFirst, OldestFirst} {
		t.Run(order.String(), func(t *testing.T) {
			s, _ := tied(order)
			seen := map[string]int{}
			n := s.Count(Query{Online: Online})
			for _, page := range read(s, Query{Online: Online, PerPage: 100}) {
				for _, r := range page {
					seen[r.ID]++
				}
			}
			if left := n - len(seen); n < 550 || left < 10 || left > 60 {
				t.Errorf("%d of %d are on no page; of 150 tied, about 30 should be", left, n)
			}
			for id, times := range seen {
				if times > 2 {
					t.Errorf("%s is on %d pages", id, times)
				}
			}
			for _, other := range []Query{{Location: s.cfg.Locations[0].ID, Online: Online, PerPage: 100}, {Online: Online, PerPage: 99}, {PerPage: 100}} {
				a, b := s.group(Query{Online: Online, PerPage: 100}), s.group(other)
				if slices.Equal(a, b[:min(len(a), len(b))]) {
					t.Errorf("%+v has the tied in the same order", other)
				}
			}
		})
	}
}

// group returns the tied ones of the page where their group begins or ends.
func (s *Simulator) group(q Query) []string {
	q.Page = 1
	if s.cfg.Order == OldestFirst {
		q.Page = (s.Count(q)-150)/q.PerPage + 1
	}
	records, _ := s.List(q)
	return ids(slices.DeleteFunc(records, func(r events.Session) bool { return !r.StartedAt.Equal(noon.Add(time.Minute)) }))
}

func TestPairsOfTiesLeaveFewOut(t *testing.T) {
	cfg := estate([]float64{2000})
	cfg.Ties = true
	s := New(cfg, newClock().now)
	seen := map[string]bool{}
	for _, page := range read(s, Query{Online: Online, PerPage: 100}) {
		for _, r := range page {
			seen[r.ID] = true
		}
	}
	if left := s.Count(Query{Online: Online}) - len(seen); left > 10 {
		t.Errorf("%d are on no page, where hardly any share their start", left)
	}
}

func TestTiesFollowTheRequestAndTheUpdates(t *testing.T) {
	type variant struct {
		order Order
		fixed int
	}
	type pair struct{ tied, exact *Simulator }
	made := map[variant]pair{}
	rapid.Check(t, func(t *rapid.T) {
		v := variant{rapid.SampledFrom([]Order{NewestFirst, OldestFirst}).Draw(t, "order"), rapid.SampledFrom([]int{0, 100_000}).Draw(t, "fixed")}
		if made[v].tied == nil {
			build := func(ties bool) *Simulator {
				cfg := small()
				cfg.Order, cfg.PerPageFixed, cfg.StartGrain, cfg.Ties = v.order, v.fixed, 5*time.Minute, ties
				c := newClock()
				s := New(cfg, c.now)
				c.add(45 * time.Minute)
				s.Advance()
				return s
			}
			made[v] = pair{build(true), build(false)}
		}
		s, exact := made[v].tied, made[v].exact
		all := s.everything()
		q := Query{Online: Presence(rapid.IntRange(0, 2).Draw(t, "online")), PerPage: rapid.IntRange(1, 100).Draw(t, "per page")}
		if rapid.Bool().Draw(t, "one location") {
			q.Location = "south"
		}
		if rapid.Bool().Draw(t, "has start") {
			q.StartDay = noon
		}
		if rapid.Bool().Draw(t, "has end") {
			q.EndDay = noon
		}
		if rapid.IntRange(0, 3).Draw(t, "one guest") == 0 {
			q.Guest = all[rapid.IntRange(0, len(all)-1).Draw(t, "guest")].rec.GuestID
		}
		belongs := map[string]bool{}
		want := read(exact, q)
		for _, page := range want {
			for _, r := range page {
				belongs[r.ID] = true
			}
		}
		got := read(s, q)
		if !slices.EqualFunc(got, read(s, q), func(a, b []events.Session) bool { return slices.Equal(ids(a), ids(b)) }) {
			t.Fatal("the same request, another answer")
		}
		if len(got) != len(want) {
			t.Fatalf("%d pages, want %d", len(got), len(want))
		}
		for i, page := range got {
			once := map[string]bool{}
			for k, r := range page {
				if !belongs[r.ID] || once[r.ID] {
					t.Fatalf("page %d: %s does not belong there, or twice", i+1, r.ID)
				}
				once[r.ID] = true
				if !r.StartedAt.Equal(want[i][k].StartedAt) {
					t.Fatalf("page %d, place %d: start %v, want %v", i+1, k, r.StartedAt, want[i][k].StartedAt)
				}
			}
			if len(page) != len(want[i]) {
				t.Fatalf("page %d has %d, want %d", i+1, len(page), len(want[i]))
			}
		}
	})
}

func TestAnUpdateMovesARowAmongItsTies(t *testing.T) {
	s, c := tied(NewestFirst)
	s.cfg.PerPageFixed = 1000
	before, _ := s.List(Query{Online: Online})
	moved := 0
	for range 120 {
		from := s.pop.now
		c.add(500 * time.Millisecond)
		after, _ := s.List(Query{Online: Online})
		written := map[string]bool{}
		for _, x := range s.everything() {
			written[x.rec.ID] = s.pop.updatedAt(x, from) != s.pop.updatedAt(x, s.pop.now)
		}
		unwritten := func(records []events.Session) []string {
			return ids(slices.DeleteFunc(slices.Clone(records), func(r events.Session) bool { return written[r.ID] }))
		}
		if !slices.Equal(unwritten(before), unwritten(after)) {
			t.Fatal("rows that nobody wrote changed places")
		}
		if !slices.Equal(ids(before), ids(after)) {
			moved++
		}
		before = after
	}
	if moved == 0 {
		t.Error("no update moved a row")
	}
}

func TestTiesComeFromTheSeed(t *testing.T) {
	a, _ := tied(NewestFirst)
	b, _ := tied(NewestFirst)
	q := Query{Online: Online, PerPage: 100}
	if !slices.Equal(a.group(q), b.group(q)) {
		t.Error("the same seed, another order")
	}
	b.cfg.Seed++ // the population stays
	if slices.Equal(a.group(q), b.group(q)) {
		t.Error("another seed, the same order")
	}
}

func TestTiesAreTheSameOverHTTP(t *testing.T) {
	s, _ := tied(NewestFirst)
	for n := range 3 {
		direct, _ := s.List(Query{Online: Online, PerPage: 80, Page: n + 1})
		var got struct{ Data []struct{ ID string } }
		if err := json.Unmarshal(get(s, fmt.Sprintf("/sessions?online=true&per_page=80&page=%d", n+1)).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for i, r := range got.Data {
			if r.ID != direct[i].ID {
				t.Fatalf("page %d differs at %d", n+1, i)
			}
		}
	}
}

func TestMovingListsTheLatestUpdateLast(t *testing.T) {
	for _, livesOnly := range []bool{false, true} {
		cfg := small()
		cfg.Order, cfg.PerPageFixed, cfg.LivesOnly = Moving, 10_000, livesOnly
		cfg.Truth = func(x Truth) {
			if livesOnly && x.Kind == TruthTraffic {
				t.Error("traffic is told")
			}
		}
		c := newClock()
		s := New(cfg, c.now)
		before, _ := s.List(Query{Online: Online})
		c.add(cfg.AccountingInterval + 59*time.Second)
		s.Advance()
		var last int64
		page, _, _ := s.page(Query{Online: Online})
		for _, x := range page {
			if x.updated != s.pop.updatedAt(x, s.pop.now) || x.updated < last {
				t.Fatalf("%s was updated at %d, and stands behind %d", x.rec.ID, x.updated, last)
			}
			last = x.updated
		}
		if after, _ := s.List(Query{Online: Online}); slices.Equal(ids(before)[:10], ids(after)[:10]) {
			t.Error("nothing moved in a minute")
		}
	}
}
