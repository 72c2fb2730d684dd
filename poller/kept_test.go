package poller

import (
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// TestAWrongOrderProvesNothing: pages contradict an order that was kept before the
// platform changed it, and one that cannot be used leaves sessions without a place.
func TestAWrongOrderProvesNothing(t *testing.T) {
	place := &Place{ID: "hall", AddedAt: noon}
	var ids []string
	for i := range 300 {
		ids = append(ids, fmt.Sprintf("s%03d", i))
	}
	fresh := func() *roster {
		r := newRoster(noon)
		for _, id := range ids {
			r.add(id, place, time.Time{}, instant(noon.Add(-time.Minute)))
		}
		return r
	}
	marks := func(n, span int) [][3]int {
		m := make([][3]int, n)
		for i := range m {
			m[i] = [3]int{span, span, span}
		}
		return m
	}
	good := keptOrder{Sessions: ids, Spans: [][2]int64{{2000, 1000}}, Marks: marks(len(ids), 0)}
	r := fresh()
	r.restore(good)
	backwards := page{moment: instant(noon.Add(time.Second)), first: true}
	for i := range 100 {
		backwards.sessions = append(backwards.sessions, events.Session{ID: ids[299-i], Online: true})
	}
	if j := r.judge(backwards); !j.contradicted || len(j.absent) > 0 || r.ring.n > 0 {
		t.Errorf("a page of another order: %+v, %d in their place", j, r.ring.n)
	}
	// The right page agrees, and only then proves that the one left out is gone.
	r = fresh()
	r.restore(good)
	pg := page{moment: instant(noon.Add(time.Second)), first: true}
	for i := range 100 {
		if i != 50 {
			pg.sessions = append(pg.sessions, events.Session{ID: ids[i], Online: true})
		}
	}
	if r.established() {
		t.Error("an order is trusted before any page agrees with it")
	}
	if j := r.judge(pg); len(j.absent) != 1 || j.absent[0] != ids[50] {
		t.Errorf("absent: %v", j.absent)
	}
	for name, k := range map[string]keptOrder{
		"nothing":             {},
		"too few marks":       {Sessions: ids, Spans: good.Spans, Marks: marks(10, 0)},
		"marks of no span":    {Sessions: ids, Spans: good.Spans, Marks: marks(len(ids), 1)},
		"negative marks":      {Sessions: ids, Spans: good.Spans, Marks: marks(len(ids), -1)},
		"sessions that ended": {Sessions: []string{"x", "y"}, Spans: good.Spans, Marks: marks(2, 0)},
	} {
		r := fresh()
		r.restore(k)
		if r.ring.n != 0 || r.complete || len(r.loose) != len(ids) {
			t.Errorf("%s: %d in their place, complete %t", name, r.ring.n, r.complete)
		}
	}
	// Twice the same one, and one from the future: each is placed once, as seen now.
	r = fresh()
	r.restore(keptOrder{Sessions: []string{ids[0], ids[1], ids[0]}, Spans: [][2]int64{{5000, -5000}}, Marks: marks(3, 0)})
	if r.ring.n != 2 || r.ring.first().ordered.came > 0 {
		t.Errorf("%d in their place, seen %v", r.ring.n, r.ring.first().ordered)
	}
}
