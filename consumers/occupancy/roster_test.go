package occupancy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestRosterHasWhoIsOnline whoever comes, goes and gets other texts, of whatever length, where
// many ids have the same hash. A copy stays as it was.
func TestRosterHasWhoIsOnline(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := newAccount("a")
		a.join(newArea("a", "l", 0))
		r := &a.roster
		r.hash = func(id string) uint32 { return uint32(len(id) % 3) }
		type known struct {
			texts [ownTexts]string
			traits
		}
		want := map[string]known{}
		draw := func(id string) (k known) {
			for i := range k.texts {
				k.texts[i] = strings.Repeat(string(rune('a'+i)), rapid.SampledFrom([]int{0, 1, 17, 127, 128, 300}).Draw(t, "length"))
			}
			k.texts[ownID], k.description = id, rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "traits")
			return k
		}
		seen := func(of *roster) map[string]known {
			all := map[string]known{}
			for s := range of.each() {
				k := known{traits: of.traits.of(s.row.traits)}
				for i := range k.texts {
					k.texts[i] = s.text(i)
				}
				all[s.id()] = k
			}
			return all
		}
		var copied *roster
		var then map[string]known
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			id := fmt.Sprint("s", rapid.IntRange(0, 120).Draw(t, "id"))
			s := r.find(id)
			_, there := want[id]
			if (s.row != nil) != there {
				t.Fatalf("%s: found %t, want %t", id, s.row != nil, there)
			}
			k := draw(id)
			switch {
			case !there:
				s = r.add(k.texts)
				r.share(&s, k.traits)
				a.areas["l"].count(s)
				want[id] = k
			case rapid.Bool().Draw(t, "goes"):
				a.remove(s)
				delete(want, id)
			default:
				a.areas["l"].forget(s)
				r.identify(&s, k.texts)
				r.share(&s, k.traits)
				a.areas["l"].count(s)
				want[id] = k
			}
			if copied == nil && len(want) > 40 {
				copied, then = r.copy(), maps.Clone(want)
			}
		}
		if !maps.Equal(seen(r), want) || r.online != len(want) {
			t.Fatalf("%d are online:\n%v\nwant\n%v", r.online, seen(r), want)
		}
		if copied != nil && !maps.Equal(seen(copied), then) {
			t.Fatalf("the copy has\n%v\nwant\n%v", seen(copied), then)
		}
		var here []string
		for s := range a.areas["l"].sessions() {
			here = append(here, s.id())
			a.remove(s)
		}
		slices.Sort(here)
		if !slices.Equal(here, slices.Sorted(maps.Keys(want))) || a.total.online() != 0 || len(r.first) != 0 || len(r.traits.at) != 0 {
			t.Fatalf("at the location are %v; left are %d, %v, %v", here, a.total.online(), r.first, r.traits.at)
		}
		if devices, guests := a.total.distinct(); devices != 0 || guests != 0 {
			t.Fatalf("of nobody, %d devices and %d guests are left", devices, guests)
		}
	})
}

// TestEndedAreKnownUntilTheyAreBuried, in the order in which they came, also where ids have
// the same hash and sessions come back.
func TestEndedAreKnownUntilTheyAreBuried(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, want := newEnded(), map[string]int64{}
		d.hash = func(id string) uint32 { return uint32(len(id) % 2) }
		for now := range int64(rapid.IntRange(1, 200).Draw(t, "steps")) {
			id := fmt.Sprint("s", rapid.IntRange(0, 30).Draw(t, "id"))
			at, there := want[id]
			switch found := d.find(id); {
			case (found != nil) != there || there && found.seenAt != at:
				t.Fatalf("%s: found %+v, want %t of %d", id, found, there, at)
			case there:
				found.void = true
				delete(want, id)
			default:
				d.add(tomb{id: id, seenAt: now})
				want[id] = now
			}
			if rapid.IntRange(0, 9).Draw(t, "bury") == 0 {
				before := now - int64(rapid.IntRange(0, 20).Draw(t, "age"))
				d.bury(before)
				maps.DeleteFunc(want, func(_ string, at int64) bool { return at < before })
			}
		}
		d.bury(1000)
		if len(d.tombs) != 0 || len(d.last) != 0 {
			t.Fatalf("left are %v, %v", d.tombs, d.last)
		}
	})
}

// TestRosterShrinksAfterAPeak, as those leave who were there then.
func TestRosterShrinksAfterAPeak(t *testing.T) {
	t.Parallel()
	a := newAccount("a")
	a.join(newArea("a", "l", 0))
	r := &a.roster
	come := func(n int) {
		a.areas["l"].count(r.add([ownTexts]string{ownID: fmt.Sprint("s", n)}))
	}
	const peak, stay = 200 * chunkRows, 100
	for n := range peak {
		come(n)
	}
	for n := range peak {
		if n%(peak/stay) != 0 {
			a.remove(r.find(fmt.Sprint("s", n)))
		}
	}
	for n := range stay {
		a.remove(r.find(fmt.Sprint("s", n*(peak/stay))))
		come(peak + n)
	}
	kept := 0
	for _, of := range []*roster{r, r.copy()} {
		for i := range of.chunks {
			if of.chunks[i].rows != nil {
				kept++
			}
		}
	}
	if most := 2 * (stay/chunkRows + 2); r.online != stay || kept > most {
		t.Errorf("%d sessions are in %d chunks, here and in a copy, want %d in %d at most", r.online, kept, stay, most)
	}
	all := map[string]bool{}
	for s := range r.each() {
		all[s.id()] = true
	}
	for n := range stay {
		if id := fmt.Sprint("s", peak+n); !all[id] || r.find(id).row == nil {
			t.Errorf("%s is not there", id)
		}
	}
}
