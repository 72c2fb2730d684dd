package plan

import (
	"fmt"
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
