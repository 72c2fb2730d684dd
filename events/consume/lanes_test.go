package consume

import (
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
)

// TestAnotherStreamsSequencesAreItsOwn: of a stream that was made anew, an event may have the
// sequence of one of the former stream that is in hand.
func TestAnotherStreamsSequencesAreItsOwn(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{true, false} {
		begun, going := make(chan string, 4), make(chan struct{})
		l := &lanes{stopping: t.Context(), single: single, byKey: map[sessionKey]*lane{}, slots: make(chan struct{}, 4)}
		l.work = func(j *job) (time.Duration, bool) {
			begun <- j.delivery.ID
			<-going
			return 0, false
		}
		of := func(id string, sequence uint64) *job {
			d := Delivery{Sequence: sequence}
			d.Event = events.Event{ID: id}
			return &job{delivery: d}
		}
		l.put(of("former 7", 7))
		<-begun
		l.put(of("former 9", 9))
		l.put(of("7", 7))
		l.put(of("9", 9))
		close(going)
		l.hands.Wait()
		close(begun)
		var got []string
		for id := range begun {
			got = append(got, id)
		}
		if want := []string{"former 9", "7", "9"}; !slices.Equal(got, want) || len(l.slots) != 0 {
			t.Errorf("single %v: %q came behind the first, want %q; %d slots are taken still", single, got, want, len(l.slots))
		}
	}
}
