package occupancy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCheckpointIsTheWholeStateAsJSON: written piece by piece, it is what the structs say
// that it is, for no account, one, and several, of which one has nobody online.
func TestCheckpointIsTheWholeStateAsJSON(t *testing.T) {
	t.Parallel()
	for accounts := range 4 {
		o := NewOccupancy(Limits{})
		v := newVenue(uint64(accounts), 5, 60)
		for range 400 * accounts {
			v.account = fmt.Sprint("account", v.rand.IntN(accounts))
			m := v.next(time.Second)
			o.Apply(m)
		}
		if accounts == 3 {
			for s := range o.account("account1").total.sessions() {
				o.giveUp(o.account("account1"), s)
			}
		}
		c := checkpoint{Created: epoch, Filter: "f", Epoch: "e", Anchor: "a", Exact: true}
		var rosters []*roster
		c.Snapshot, rosters = o.freeze()
		var written bytes.Buffer
		if err := c.write(&written, rosters); err != nil {
			t.Fatal(err)
		}
		var got checkpoint
		if err := json.Unmarshal(written.Bytes(), &got); err != nil {
			t.Fatalf("%d accounts: %v in %.200s", accounts, err, written.Bytes())
		}
		for i := range got.Snapshot.Accounts {
			slices.SortFunc(got.Snapshot.Accounts[i].Sessions, func(a, b sessionSnapshot) int { return strings.Compare(a.ID, b.ID) })
		}
		if c.Snapshot = o.Snapshot(); !reflect.DeepEqual(got, c) {
			t.Errorf("%d accounts: read\n%.500s\nwant\n%.500s", accounts, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", c))
		}
	}
}

// TestDistinctCountsAsASetDoes whatever comes and goes, and however often.
func TestDistinctCountsAsASetDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, want := distinct{}, map[string]int{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			text := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "text")
			if want[text] > 0 && rapid.Bool().Draw(t, "remove") {
				d.remove(text)
				if want[text]--; want[text] == 0 {
					delete(want, text)
				}
			} else {
				d.add(text)
				want[text]++
			}
			if d.len() != len(want) {
				t.Fatalf("%d are counted, want %d", d.len(), len(want))
			}
		}
	})
}
