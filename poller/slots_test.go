package poller

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/guestflow/guestflow/poller/plan"
)

// TestSlotsFindSessionsWhoseHashesAreTheSame: whoever comes and goes, in whatever order.
func TestSlotsFindSessionsWhoseHashesAreTheSame(t *testing.T) {
	t.Parallel()
	s := newSlots()
	s.hash = func(id string) uint64 { return uint64(id[0]) % 3 }
	r, known := rand.New(rand.NewPCG(1, 2)), map[string]*entry{}
	for range 5000 {
		id := fmt.Sprintf("%c", 'a'+r.IntN(20))
		switch e := s.find(id); {
		case e != known[id]:
			t.Fatalf("%s is %v, want %v", id, e, known[id])
		case e == nil:
			e = &entry{Row: plan.Row{ID: id}}
			s.take(e)
			known[id] = e
		default:
			s.give(e)
			delete(known, id)
		}
		n := 0
		for e := range s.all() {
			if known[e.ID] != e || s.of(e.Slot) != e {
				t.Fatalf("%s is in the slots, and not known", e.ID)
			}
			n++
		}
		if n != len(known) || s.len() != n {
			t.Fatalf("%d are in the slots, which say %d; %d are known", n, s.len(), len(known))
		}
	}
	if len(s.entries) > 21 {
		t.Errorf("%d slots for 20 sessions at most", len(s.entries)-1)
	}
}
