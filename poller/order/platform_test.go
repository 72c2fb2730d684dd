package order

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// platform is a list of sessions, sorted by start; equal starts stand in another
// order in each query. One session may be odd: sorted by something else than the
// start that it shows.
type platform struct {
	t         *rapid.T
	direction Direction
	online    []row
	gone      []row
	next      int
	now       time.Time
	grain     time.Duration
}

type row struct {
	Record
	key time.Time // by which it is sorted
}

func (p *platform) arrive() {
	p.next++
	p.now = p.now.Add(time.Duration(rapid.IntRange(0, 3).Draw(p.t, "seconds")) * time.Second)
	start := p.now.Truncate(p.grain)
	p.online = append(p.online, row{Record{ID: fmt.Sprint(p.next), Start: start, Written: true}, start})
}

func (p *platform) leave() {
	i := rapid.IntRange(0, len(p.online)-1).Draw(p.t, "who leaves")
	p.gone = append(p.gone, p.online[i])
	p.online = slices.Delete(p.online, i, i+1)
}

func (p *platform) query(number, size int) Page {
	salt := rapid.Uint64().Draw(p.t, "order of equal starts")
	hash := func(r row) uint64 {
		h := salt
		for _, c := range r.ID {
			h = (h ^ uint64(c)) * 0x100000001b3
		}
		return h ^ h>>29
	}
	list := slices.Clone(p.online)
	slices.SortFunc(list, func(a, b row) int {
		c := a.key.Compare(b.key)
		if p.direction == NewestFirst {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(hash(a), hash(b)))
	})
	from, to := min((number-1)*size, len(list)), min(number*size, len(list))
	page := Page{First: number == 1, Last: to == len(list) && (from < to || number == 1)}
	for _, r := range list[from:to] {
		page.Records = append(page.Records, r.Record)
	}
	return page
}

// mostOnline is how many sessions a platform begins with.
const mostOnline = 90

// TestNobodyWhoStandsInPlaceIsProvenAbsent, whatever the order of equal starts in
// each query, the window, who comes and goes, and what stands out of order; and who
// is gone is proven so by a page around their start.
func TestNobodyWhoStandsInPlaceIsProvenAbsent(t *testing.T) {
	proven, odd := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := &platform{
			t: t, now: noon, direction: rapid.SampledFrom([]Direction{NewestFirst, OldestFirst}).Draw(t, "direction"),
			grain: time.Duration(rapid.SampledFrom([]int{1, 1, 5, 60}).Draw(t, "grain, s")) * time.Second,
		}
		for range rapid.IntRange(30, mostOnline).Draw(t, "online") {
			p.arrive()
		}
		if rapid.Bool().Draw(t, "one is odd") {
			i := rapid.IntRange(0, len(p.online)-1).Draw(t, "which")
			j := rapid.IntRange(0, len(p.online)-1).Draw(t, "where it stands")
			p.online[i].key = p.online[j].key.Add(time.Second / 2)
		}
		var l List
		for range 100 {
			l.Read(p.query(1, mostOnline))
		}
		placed := make(map[string]bool)
		for range rapid.IntRange(5, 15).Draw(t, "queries") {
			size := rapid.IntRange(5, 40).Draw(t, "size")
			page := p.query(rapid.IntRange(1, 1+len(p.online)/size).Draw(t, "number"), size)
			on := make(map[string]bool)
			for i := range page.Records {
				r := &page.Records[i]
				on[r.ID], r.Placed = true, placed[r.ID]
			}
			r := l.Read(page)
			for _, s := range p.online {
				switch {
				case on[s.ID]:
				case s.key != s.Start:
					odd++
				case r.Proves(s.Start):
					t.Fatalf("%s of %v is online and proven absent by %v", s.ID, s.Start, page)
				}
			}
			if n := len(page.Records); l.Established() && !r.Contradicted && len(r.Displaced) == 0 && n > 2 {
				after, before := page.Records[1].Start, page.Records[n-2].Start
				if p.direction == NewestFirst {
					after, before = before, after
				}
				for _, s := range p.gone {
					if inside := s.Start.After(after) && s.Start.Before(before); inside && !r.Proves(s.Start) {
						t.Fatalf("%s of %v is gone, stood between %v and %v, and is not proven absent", s.ID, s.Start, after, before)
					} else if inside {
						proven++
					}
				}
			}
			if r.Contradicted {
				clear(placed)
			} else {
				for _, s := range page.Records {
					placed[s.ID] = !slices.Contains(r.Displaced, s.ID) && (placed[s.ID] || !slices.Contains(r.Doubtful, s.ID))
				}
			}
			for range rapid.IntRange(0, 3).Draw(t, "arrivals") {
				p.arrive()
			}
			for range rapid.IntRange(0, 3).Draw(t, "ends") {
				p.leave()
			}
		}
	})
	if proven == 0 || odd == 0 {
		t.Errorf("%d sessions were proven absent, %d were odd: the test shows nothing", proven, odd)
	}
}
