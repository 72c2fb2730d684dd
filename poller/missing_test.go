package poller

import (
	"fmt"
	"testing"
	"time"
)

// TestCrowdOfTheMissingIsSettledAtOnce: one answer proves that all are gone of more than are
// looked through for one decision; those behind are settled by the next ones, and neither
// asked about nor taken for somebody.
func TestCrowdOfTheMissingIsSettledAtOnce(t *testing.T) {
	for _, stay := range []int{0, 1, 5, 300} {
		k := newAccount(&Settings{Clock: &stopped{noon}}, nil)
		q, hall := &verifyQueue{account: k}, k.location("hall", "")
		const crowd = 3*mostSettled + 7
		for i := range crowd {
			id := fmt.Sprintf("s%05d", i)
			e := k.roster.add(id, hall, noon.Add(-time.Hour), timing{sent: noon, came: noon})
			e.missed, e.queued = time.Minute, true
			q.ids = append(q.ids, id)
		}
		for i := range crowd {
			if i%mostSettled >= stay {
				k.roster.remove(fmt.Sprintf("s%05d", i))
			}
		}
		for range 20 {
			q.weigh(noon.Add(time.Minute))
		}
		for _, id := range q.ids {
			if k.roster.find(id) == nil {
				t.Fatalf("of %d who are missing still in each %d, %d are queued, %s among them, who is gone", stay, mostSettled, len(q.ids), id)
			}
		}
	}
}
