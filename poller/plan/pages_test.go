package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestSettingAsideLeavesAPageToChoose: with the overdue sessions that no page can
// settle, blocks of the rows may go, so they stay until the page is chosen.
func TestSettingAsideLeavesAPageToChoose(t *testing.T) {
	aside, joined := 0, 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		track, now := NewTrack(noon), noon.Add(time.Hour)
		hall, r := track.Rates.Location("hall", noon), track.Rows
		var all []*Row
		for i := range 4 * blockMax {
			seen := noon
			if rng.IntN(20) > 0 {
				seen = now
			}
			all = append(all, track.listed(fmt.Sprint(i), &hall, -i, seen))
		}
		// One session less, and two blocks are one.
		for !slices.ContainsFunc(r.blocks[1:], func(b *block) bool {
			return len(r.blocks[b.at-1].rows)+len(b.rows) == blockMax/2+1
		}) {
			if e := all[rng.IntN(len(all))]; e.Listed() {
				r.Remove(e)
			}
		}
		for _, b := range r.blocks {
			for _, e := range b.rows {
				e.rate = float64(rng.IntN(2))
				e.noted()
				if rng.IntN(9) == 0 {
					track.front = []*Row{e}
				}
			}
		}
		before, n := len(r.blocks), r.Len()
		v := &View{Online: n, Budget: 1, Ordered: true, Rates: track.Rates, Track: track, Placed: func(*Row) bool { return false }}
		var p pages
		p.choose(now, v, time.Minute)
		if p.chosen.Number < 1 || p.chosen.Size < 1 || r.Len() != n {
			t.Fatalf("seed %d: page %+v; %d rows of %d", seed, p.chosen, r.Len(), n)
		}
		for _, e := range p.aside {
			r.Remove(e)
		}
		if aside += len(p.aside); len(r.blocks) < before {
			joined++
		}
	}
	if aside == 0 || joined == 0 {
		t.Errorf("%d set aside, blocks joined %d times: the test shows nothing", aside, joined)
	}
}

// TestEveryDecisionSaysWhy, and leaves the View as it is.
func TestEveryDecisionSaysWhy(t *testing.T) {
	track := NewTrack(noon)
	hall, bar := track.Rates.Location("hall", noon), track.Rates.Location("bar", noon)
	for i := range 300 {
		track.listed(fmt.Sprint(i), &hall, i, noon)
	}
	base := View{
		Online: 300, Budget: 1, Rates: track.Rates, Track: track, Locations: []*Location{&hall, &bar}, Placed: func(*Row) bool { return true },
	}
	for name, c := range map[string]struct {
		change func(*View)
		want   Kind
	}{
		"locations are due":         {func(v *View) { v.DiscoveryDue = true }, Discover},
		"and learned from sessions": {func(v *View) { v.DiscoveryDue, v.Surveying = true, true }, Survey},
		"one page is all":           {func(v *View) { v.Whole = true }, Sweep},
		"final figures":             {func(v *View) { v.Whole, v.Figures = true, "1" }, Figures},
		"the order is learned":      {func(v *View) { v.Learning = true }, Sweep},
		"no order":                  {func(*View) {}, List},
		"somebody is missing":       {func(v *View) { v.Missing = []string{"1"} }, Verify},
		"a list was begun":          {func(v *View) { v.Reading = &hall }, List},
		"nothing is known":          {func(v *View) { v.Locations = nil }, Rest},
		"the order is known":        {func(v *View) { v.Ordered = true }, Sweep},
		"arrivals were long ago":    {func(v *View) { v.Ordered, v.Probing, v.ProbeAge = true, true, time.Hour }, Probe},
		"history was missed":        {func(v *View) { v.Ordered, v.Probing, v.Missed = true, true, true }, Backfill},
	} {
		for _, strategy := range []Strategy{&Adaptive{}, &RoundRobin{}, &SquareRoot{}, &SweepOnly{}} {
			v := base
			c.change(&v)
			before := fmt.Sprintf("%+v", v)
			d := strategy.Next(noon.Add(time.Minute), &v)
			if d.Why == "" {
				t.Errorf("%s: %T chose %v and does not say why", name, strategy, d.Kind)
			}
			if _, ok := strategy.(*Adaptive); ok && d.Kind != c.want {
				t.Errorf("%s: %v (%s), want %v", name, d.Kind, d.Why, c.want)
			}
			if after := fmt.Sprintf("%+v", v); after != before {
				t.Errorf("%s: %T changed the view from\n%s to\n%s", name, strategy, before, after)
			}
		}
	}
}

// TestNoPageIsAskedInVain: where no page begins and ends so that all who began with an overdue
// session stand on it, none is asked for.
func TestNoPageIsAskedInVain(t *testing.T) {
	const n, together = 600, 80
	for at, possible := range map[int]bool{120: false, 240: false, 270: true, 320: false, 500: true} {
		track, now := NewTrack(noon), noon.Add(10*time.Minute)
		hall := track.Rates.Location("hall", noon)
		for i := range n {
			ago, seen := 2*i, now
			if i >= at && i < at+together {
				ago, seen = 2*at, noon
			}
			e := track.listed(fmt.Sprint(i), &hall, ago, seen)
			e.rate = 1e-18
			e.noted()
		}
		track.Edge(now)
		v := &View{Online: n, Budget: 1, Ordered: true, Rates: track.Rates, Track: track, Placed: func(*Row) bool { return true }}
		var p pages
		p.choose(now, v, 9*time.Minute)
		w := p.chosen.Window
		if asked := p.chosen.overdue != nil; asked != possible {
			t.Errorf("%d from position %d on are overdue: page %+v, chosen for them: %t, want %t", together, at, w, asked, possible)
		}
		if possible && (w.Start() >= at || w.End() <= at+together) {
			t.Errorf("%d from position %d on are overdue: page %+v has not all", together, at, w)
		}
	}
}

// TestPagesAreWorthWhatTheyTell: nothing of those whom they cut off from others who began
// with them, unless no page could have all of these.
func TestPagesAreWorthWhatTheyTell(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	cuts := 0
	for range 200 {
		track, now := NewTrack(noon), noon.Add(time.Minute)
		hall := track.Rates.Location("hall", noon)
		var groups [][2]int // where each begins and ends
		var rows []*Row
		for len(rows) < 300 {
			together := 1
			if rng.IntN(4) == 0 {
				together += rng.IntN(150)
			}
			first := len(rows)
			for range together {
				e := track.listed(fmt.Sprint(len(rows)), &hall, first, noon)
				e.rate = 1e-18
				e.noted()
				rows = append(rows, e)
			}
			for range together {
				groups = append(groups, [2]int{first, len(rows)})
			}
		}
		p := pages{Track: track, margin: 1}
		p.measure(now, 0)
		p.layOut(now, 0, len(track.Rows.blocks), rows[0], rows[0])
		each := p.fineBefore[1]
		for range 50 {
			start := rng.IntN(len(rows) - 100)
			end := start + 50 + rng.IntN(51)
			want := 0.0
			for i := start; i < end; i++ {
				g := groups[i]
				n := g[1] - g[0]
				switch whole := (start == 0 || g[0] > start) && g[1] < end; {
				case whole || n == 1 || n > MaxPerPage-4:
					want += each
				default:
					cuts++
				}
			}
			// Positions are no whole numbers, quite.
			if got := p.shown(max(0, float64(start)-0.25), float64(end)+0.25); math.Abs(got-want) > 0.6*each {
				t.Fatalf("page from %d to %d: worth %.3f sessions, want %.0f; groups %v", start, end, got/each, want/each, groups[start:end])
			}
		}
	}
	if cuts < 1000 {
		t.Errorf("%d sessions were cut off: the test shows nothing", cuts)
	}
}
