package simulator

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestIndexIsASortedSequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x, y index
		var all []entry
		ops := rapid.IntRange(0, 3000).Draw(t, "ops")
		rng := &splitmix{state: rapid.Uint64().Draw(t, "seed")}
		keys := rapid.Uint64Range(1, 500).Draw(t, "keys")
		growing := rapid.Bool().Draw(t, "growing")
		for i := range ops {
			h := rng.Uint64()
			if len(all) > 0 && h%3 == 0 {
				k := int(mix(h) % uint64(len(all)))
				e := all[k]
				all = slices.Delete(all, k, k+1)
				if removedX, removedY := x.remove(e), y.remove(e); removedX == removedY {
					t.Fatalf("removed from both or from none: %v", e)
				}
				continue
			}
			e := entry{key: mix(h) % keys, num: uint64(i), s: &session{num: uint64(i)}}
			if growing {
				e.key = uint64(i)
			}
			at, _ := slices.BinarySearchFunc(all, e, compareEntries)
			all = slices.Insert(all, at, e)
			if h%2 == 0 {
				x.insert(e)
			} else {
				y.insert(e)
			}
		}
		if x.remove(entry{key: 1, num: 1 << 40}) {
			t.Fatal("removed what was not there")
		}
		floor := rapid.Uint64Range(0, keys).Draw(t, "floor")
		var v view
		v.add(0, &x, floor)
		v.add(1, &y, floor)
		from, _ := slices.BinarySearchFunc(all, entry{key: floor}, compareEntries)
		all = all[from:]
		if v.len() != len(all) {
			t.Fatalf("%d in the view, want %d", v.len(), len(all))
		}
		r := rapid.IntRange(0, len(all)).Draw(t, "rank")
		k := rapid.IntRange(0, 120).Draw(t, "count")
		got := v.append(nil, r, k)
		want := all[r:min(r+k, len(all))]
		if !slices.EqualFunc(got, want, func(a, b entry) bool { return a == b }) {
			t.Fatalf("%d from rank %d are wrong", k, r)
		}
	})
}

func compareEntries(a, b entry) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

func TestPermutationHitsEachOnce(t *testing.T) {
	for _, n := range []int{1, 2, 3, 17, 64, 1000} {
		seen := make([]bool, n)
		p := newPermutation(n, 5)
		for i := range n {
			if seen[p.at(i)] {
				t.Fatalf("n=%d: %d twice", n, p.at(i))
			}
			seen[p.at(i)] = true
		}
	}
}

func TestQueuePopsInOrderOfTimeThenOfPlanning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		times := rapid.SliceOfN(rapid.Int64Range(0, 20), 0, 200).Draw(t, "times")
		for _, at := range times {
			q.push(pending{at: at})
		}
		var last pending
		for range times {
			p := q.pop()
			if p.before(&last) {
				t.Fatalf("%+v after %+v", p, last)
			}
			last = p
		}
	})
}
