package order

// What breaks when a rule of the proof is changed:
//
//	a bound is proven, too (either end)          TestPageProvesStrictlyBetweenItsEnds
//	first or last are ignored                    TestPageProvesStrictlyBetweenItsEnds
//	the outermost record is a bound              TestFewRecordsOutOfOrderHaveNoPlace
//	a record fewer is left out at the ends       TestNobodyWhoStandsInPlaceIsProvenAbsent
//	an unknown start is proven                   TestNothingIsProvenOfAnUnknownStart
//	records that were not written count          TestOrderNeedsEvidence
//	those written that stand at an end count     TestWrittenRecordsAtAnEndSayLittle
//	against is 0                                 TestAWrittenRecordOutOfOrderCountsAgainst
//	a page without two starts is evidence        TestAPageThatTellsNoDirectionChangesNothing
//	expected is not taken back                   TestAnOrderThatIsExpectedNeedsLess
//	writes do not count                          TestOrderNeedsEvidence
//	leaving is 1                                 TestARecordThatLeftItsPlaceTakesTheOrder
//	a list that is not established proves        TestOrderNeedsEvidence
//	evidence of two directions adds up           TestEvidenceOfTwoDirectionsDoesNotAddUp
//	mostDisplaced is 1                           TestManyRecordsOutOfOrderTakeTheOrder
//	the evidence needed does not double          TestManyRecordsOutOfOrderTakeTheOrder
//	moved is ignored                             TestARecordThatLeftItsPlaceTakesTheOrder
//	a page that contradicts proves               TestARecordThatLeftItsPlaceTakesTheOrder

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// at is a start, in seconds since noon; 0 is not known.
func at(s int) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return noon.Add(time.Duration(s) * time.Second)
}

// records have these starts, and were written since they were last shown.
func records(starts ...int) []Record {
	r := make([]Record, len(starts))
	for i, s := range starts {
		r[i] = Record{ID: fmt.Sprint(i), Start: at(s), Written: true}
	}
	return r
}

// known is a list that counts as sorted.
func known(t *testing.T, d Direction) *List {
	t.Helper()
	starts := falling(100)
	if d == OldestFirst {
		slices.Reverse(starts)
	}
	l := &List{}
	for range 4 {
		l.Read(Page{Records: records(starts...)})
	}
	if !l.Established() || l.Direction != d {
		t.Fatalf("sorted pages do not establish %s: %+v", d, l)
	}
	return l
}

// falling are n starts, newest first; 100 of them are 525 bits.
func falling(n int) []int {
	starts := make([]int, n)
	for i := range starts {
		starts[i] = 1000 - i
	}
	return starts
}

// TestPageProvesStrictlyBetweenItsEnds: of the record at each end nothing is taken
// but that it is there, since it may stand out of order, unless it was shown in its
// place before.
func TestPageProvesStrictlyBetweenItsEnds(t *testing.T) {
	for _, c := range []struct {
		name        string
		direction   Direction
		starts      []int
		first, last bool
		proven      []int
		open        []int
	}{
		{"in the middle", NewestFirst, []int{90, 80, 70, 60, 50}, false, false, []int{79, 70, 61}, []int{95, 90, 85, 80, 60, 55, 50, 45}},
		{"at the beginning", NewestFirst, []int{90, 80, 70, 60, 50}, true, false, []int{99, 90, 80, 61}, []int{60, 50, 45}},
		{"at the end", NewestFirst, []int{90, 80, 70, 60, 50}, false, true, []int{79, 60, 50, 45}, []int{80, 85, 90, 99}},
		{"the whole list", NewestFirst, []int{90, 80}, true, true, []int{99, 90, 85, 80, 1, 0}, nil},
		{"an empty list", NewestFirst, nil, true, true, []int{99, 0}, nil},
		{"a whole list in no order", NewestFirst, []int{5, 90, 7, 80, 6, 50, 3}, true, true, []int{99, 4, 0}, nil},
		{"oldest first, in the middle", OldestFirst, []int{50, 60, 70, 80, 90}, false, false, []int{61, 70, 79}, []int{45, 50, 55, 60, 80, 85, 95}},
		{"oldest first, at the beginning", OldestFirst, []int{50, 60, 70, 80, 90}, true, false, []int{1, 50, 79}, []int{80, 90, 99}},
		{"oldest first, at the end", OldestFirst, []int{50, 60, 70, 80, 90}, false, true, []int{61, 90, 99}, []int{60, 50, 1}},
		{"of one group", NewestFirst, []int{70, 70, 70, 70}, false, false, nil, []int{71, 70, 69}},
		{"of two groups", NewestFirst, []int{80, 80, 70, 70}, false, false, []int{75}, []int{81, 80, 70, 69}},
		{"of one record", NewestFirst, []int{70}, false, true, nil, []int{71, 70, 69}},
		{"behind the end", NewestFirst, nil, false, false, nil, []int{71, 70, 69}},
		{"of unknown starts", NewestFirst, []int{0, 0, 0}, false, false, nil, []int{71, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := known(t, c.direction)
			r := l.Read(Page{Records: records(c.starts...), First: c.first, Last: c.last})
			for _, s := range c.proven {
				if !r.Proves(at(s)) {
					t.Errorf("it does not prove %d", s)
				}
			}
			for _, s := range c.open {
				if r.Proves(at(s)) {
					t.Errorf("it proves %d", s)
				}
			}
			if r.Contradicted && !r.Whole {
				t.Error("it contradicts")
			}
			// Bounds says the same.
			after, before, ok := r.Bounds()
			for s := 1; s < 100 && !r.Whole; s++ {
				inside := ok && (after.IsZero() || at(s).After(after)) && (before.IsZero() || at(s).Before(before))
				if inside != r.Proves(at(s)) {
					t.Errorf("bounds %v to %v (%t) say %t of %d", after, before, ok, inside, s)
				}
			}
		})
	}
}

// TestARecordShownInItsPlaceBoundsAPage at its very end.
func TestARecordShownInItsPlaceBoundsAPage(t *testing.T) {
	l := known(t, NewestFirst)
	page := records(90, 80, 70, 60, 50)
	page[0].Placed, page[4].Placed = true, true
	r := l.Read(Page{Records: page})
	for s, want := range map[int]bool{91: false, 90: false, 89: true, 55: true, 50: false, 49: false} {
		if r.Proves(at(s)) != want {
			t.Errorf("it proves %d: %t", s, !want)
		}
	}
	if len(r.Doubtful) > 0 {
		t.Errorf("%v have no place", r.Doubtful)
	}
	// But for a list that showed a record out of order.
	l.Read(Page{Records: records(90, 80, 70, 10, 60, 50, 40)})
	if r := l.Read(Page{Records: page}); r.Proves(at(85)) || r.Proves(at(55)) || !r.Proves(at(75)) {
		t.Error("it does in a list with records out of order")
	}
}

// TestNothingIsProvenOfAnUnknownStart but by a whole list.
func TestNothingIsProvenOfAnUnknownStart(t *testing.T) {
	for _, d := range []Direction{NewestFirst, OldestFirst} {
		l := known(t, d)
		starts := []int{90, 80, 70, 60, 50}
		if d == OldestFirst {
			slices.Reverse(starts)
		}
		for _, p := range []Page{{First: true}, {Last: true}, {}} {
			p.Records = records(starts...)
			if r := l.Read(p); r.Proves(time.Time{}) {
				t.Errorf("%s, first %t, last %t: it does", d, p.First, p.Last)
			}
		}
	}
}

// TestOrderNeedsEvidence: few records, equal starts, or records that were not written
// since, show no order; and whatever they show, a page proves nothing before it is
// established.
func TestOrderNeedsEvidence(t *testing.T) {
	steps := func(n, step int) []Record {
		r := make([]Record, n)
		for i := range r {
			r[i] = Record{ID: fmt.Sprint(i), Start: at(10_000 - i/step), Written: true}
		}
		return r
	}
	unwritten := steps(60, 1)
	for i := range unwritten {
		unwritten[i].Written = false
	}
	for _, c := range []struct {
		name    string
		records []Record
		pages   int // with the one that establishes it
	}{
		{"10 records", steps(10, 1), 23},
		{"30 records", steps(30, 1), 7},
		{"100 records", steps(100, 1), 3},
		{"100 of one start", steps(100, 100), 0},
		{"100 of two starts", steps(100, 50), 3},
		{"60 that were not written", unwritten, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l List
			for i := 1; i < 200; i++ {
				r := l.Read(Page{Records: c.records, First: true})
				enough := c.pages > 0 && i >= c.pages
				if l.Established() != enough || r.Proves(c.records[0].Start.Add(time.Second)) != enough {
					t.Fatalf("after %d pages: established %t, want %t; it proves %t", i, l.Established(), enough, !enough)
				}
			}
		})
	}
}

// TestAPageThatTellsNoDirectionChangesNothing: as one of a location where nobody is, or of
// sessions that all began at once, whichever way the others are sorted.
func TestAPageThatTellsNoDirectionChangesNothing(t *testing.T) {
	for _, d := range []Direction{NewestFirst, OldestFirst} {
		starts := falling(30)
		if d == OldestFirst {
			slices.Reverse(starts)
		}
		for name, between := range map[string][]Record{
			"empty": nil, "one record": records(7), "equal starts": records(7, 7, 7), "unknown starts": records(0, 0, 7),
		} {
			var l List
			for range 7 {
				l.Read(Page{Records: between, First: true})
				l.Read(Page{Records: records(starts...)})
			}
			if !l.Established() {
				t.Errorf("%s, %s between: not established by as many pages as it takes without", d, name)
			}
		}
	}
}

// TestAnOrderThatIsExpectedNeedsLess, but no other one, and not once it is
// contradicted.
func TestAnOrderThatIsExpectedNeedsLess(t *testing.T) {
	for d, want := range map[Direction]bool{NewestFirst: true, OldestFirst: false} {
		var l List
		l.Expect(d)
		if l.Read(Page{Records: records(falling(20)...)}); l.Established() != want {
			t.Errorf("%s is expected: established %t", d, l.Established())
		}
	}
	var l List
	l.Expect(NewestFirst)
	l.Read(Page{Records: records(90, 10, 80, 20, 70, 30, 60)})
	if l.Read(Page{Records: records(falling(20)...)}); l.Established() {
		t.Error("it is so after a contradiction")
	}
}

// TestWrittenRecordsAtAnEndSayLittle: rows that move when they are written stand there.
func TestWrittenRecordsAtAnEndSayLittle(t *testing.T) {
	page := func(from, to int) []Record {
		r := make([]Record, 60)
		for i := range r {
			r[i] = Record{ID: fmt.Sprint(i), Start: at(i + 1), Written: from <= i && i < to}
		}
		return r
	}
	for _, c := range []struct{ from, to, pages int }{
		{20, 40, 10}, {20, 24, 50}, {59, 60, -1}, {0, 1, -1}, {50, 60, 23}, {0, 10, 23}, {57, 60, 100},
	} {
		t.Run(fmt.Sprint(c.from, " to ", c.to), func(t *testing.T) {
			var l List
			pages := -1
			for i := 1; i <= 1000 && pages < 0; i++ {
				if l.Read(Page{Records: page(c.from, c.to)}); l.Established() {
					pages = i
				}
			}
			if pages != c.pages {
				t.Errorf("established by %d pages, want %d", pages, c.pages)
			}
		})
	}
}

// TestAWrittenRecordOutOfOrderCountsAgainst as much as two in order count for it; one
// that was not written may be odd.
func TestAWrittenRecordOutOfOrderCountsAgainst(t *testing.T) {
	page := func(written bool) []Record {
		r := records(10, 20, 30, 40, 50, 5, 60, 70, 80, 90, 95, 96)
		for i := range r {
			r[i].Written = i == 2 || i == 3 || written && i == 5
		}
		return r
	}
	for _, written := range []bool{true, false} {
		var l List
		for range 400 {
			l.Read(Page{Records: page(written)})
		}
		if l.Established() == written {
			t.Errorf("written %t: established %t", written, l.Established())
		}
	}
}

// TestEvidenceOfTwoDirectionsDoesNotAddUp: a list that is now sorted one way and now
// the other is not sorted.
func TestEvidenceOfTwoDirectionsDoesNotAddUp(t *testing.T) {
	var l List
	for i := range 100 {
		starts := []int{90, 80, 70, 60, 50, 40, 30, 20, 10}
		if i%2 > 0 {
			slices.Reverse(starts)
		}
		if l.Read(Page{Records: records(starts...)}); l.Established() {
			t.Fatalf("after %d pages it counts as %s", i+1, l.Direction)
		}
	}
}

// TestFewRecordsOutOfOrderHaveNoPlace, and the page proves what it proves without
// them.
func TestFewRecordsOutOfOrderHaveNoPlace(t *testing.T) {
	l := known(t, NewestFirst)
	r := l.Read(Page{Records: records(95, 90, 85, 80, 10, 70, 60, 50, 45)})
	if r.Contradicted || !slices.Equal(r.Displaced, []string{"4"}) {
		t.Fatalf("displaced %v, contradicted %t", r.Displaced, r.Contradicted)
	}
	for _, s := range []int{75, 65, 79} {
		if !r.Proves(at(s)) {
			t.Errorf("it does not prove %d", s)
		}
	}
	for _, s := range []int{20, 49, 10, 91} {
		if r.Proves(at(s)) {
			t.Errorf("it proves %d", s)
		}
	}
	unknown := records(95, 90, 85, 0, 75, 70, 65, 60)
	if r := l.Read(Page{Records: unknown}); !slices.Equal(r.Displaced, []string{"3"}) || !r.Proves(at(80)) {
		t.Errorf("with an unknown start: displaced %v, proves %t", r.Displaced, r.Proves(at(80)))
	}
}

// TestManyRecordsOutOfOrderTakeTheOrder from the list until there is evidence anew,
// twice as much each time.
func TestManyRecordsOutOfOrderTakeTheOrder(t *testing.T) {
	l := known(t, NewestFirst)
	mixed := records(90, 10, 80, 20, 70, 30, 60, 40, 50)
	readings := 0
	for n := 1; n <= 3; n++ {
		r := l.Read(Page{Records: mixed, First: true})
		if !r.Contradicted || l.Established() || l.Direction != "" || l.Contradictions != 1 || r.Proves(at(95)) {
			t.Fatalf("it still counts as sorted: %+v", l)
		}
		for i := 1; !l.Established(); i++ {
			l.Read(Page{Records: records(falling(100)...)})
			if readings++; i > 100 {
				t.Fatal("the order is never established again")
			}
		}
		if want := []int{0, 5, 9, 17}[n]; readings != want {
			t.Errorf("contradiction %d: the order takes %d pages, want %d", n, readings, want)
		}
		readings = 0
	}
	l.Read(Page{Records: mixed})
	l.Read(Page{Records: mixed})
	if l.Contradictions != 2 {
		t.Errorf("%d contradictions in a row, want 2", l.Contradictions)
	}
	if l.Retry(); l.Contradictions != 0 {
		t.Error("they are still counted")
	}
	for range 4 {
		l.Read(Page{Records: records(falling(100)...)})
	}
	if !l.Established() {
		t.Error("it takes more than at first")
	}
}

// TestARecordThatLeftItsPlaceTakesTheOrder: rows that move when they are written
// stand in order until then.
func TestARecordThatLeftItsPlaceTakesTheOrder(t *testing.T) {
	l := known(t, NewestFirst)
	page := records(95, 90, 85, 80, 10, 70, 60, 50, 45)
	page[4].Placed = true
	if r := l.Read(Page{Records: page, First: true}); !r.Contradicted || r.Proves(at(75)) || l.Established() {
		t.Error("the list still counts as sorted")
	}
	for range 64 {
		l.Read(Page{Records: records(falling(100)...)})
	}
	if l.Established() {
		t.Error("some pages establish the order again")
	}
}

// TestOf names the order of a page.
func TestOf(t *testing.T) {
	for _, c := range []struct {
		starts []int
		d      Direction
		sorted bool
	}{
		{[]int{9, 8, 7, 6}, NewestFirst, true},
		{[]int{6, 7, 8, 9}, OldestFirst, true},
		{[]int{9, 9, 8, 0, 8, 7, 6, 6}, NewestFirst, true},
		{[]int{9, 8, 7}, "", true},
		{nil, "", true},
		{[]int{9, 7, 8, 6}, "", false},
	} {
		if d, sorted := Of(records(c.starts...)); d != c.d || sorted != c.sorted {
			t.Errorf("%v: %q, sorted %t", c.starts, d, sorted)
		}
	}
}
