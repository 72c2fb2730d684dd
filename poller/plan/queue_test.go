package plan

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTheOldestComesFirst: rows come out by when they were seen, equals as they came in.
func TestTheOldestComesFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		for range 2 { // What is left over from before does not count.
			q.clear()
			seen := rapid.SliceOf(rapid.Float64Range(0, 5)).Draw(t, "seen")
			rows := make([]Row, len(seen))
			want := make([]*Row, len(seen))
			for i := range rows {
				seen[i] = float64(int(seen[i]))
				rows[i].at, want[i] = seen[i], &rows[i]
				q.add(&rows[i], seen[i])
			}
			slices.SortStableFunc(want, func(a, b *Row) int { return int(a.at - b.at) })
			q.heap()
			var got []*Row
			for e := q.next(); e != nil && len(got) < 20; e = q.next() {
				got = append(got, e)
			}
			if want = want[:min(20, len(want))]; !slices.Equal(got, want) {
				t.Fatalf("%d came out, not in the order of %v", len(got), seen)
			}
		}
	})
}
