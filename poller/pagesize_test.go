package poller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// TestAnswerThatShowsAnotherPageSizeCounts: the first answer of a platform that ignores
// per_page tells of its size, and of the sessions on it, some of which no other answer
// will show.
func TestAnswerThatShowsAnotherPageSizeCounts(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.PerPageFixed = 10
	l := newLab(t, cfg, adaptive)
	l.run(20 * time.Second)
	shown := slices.IndexFunc(l.truth.All(), func(t simulator.Truth) bool {
		return t.Kind == simulator.TruthServed && t.Query == "online=true" && t.More
	})
	if shown < 0 {
		t.Fatal("no page of another size was served")
	}
	answer := l.truth.All()[shown]
	told := make(map[string]time.Time)
	for _, e := range l.events() {
		if _, ok := told[e.Data.Session.ID]; !ok {
			told[e.Data.Session.ID] = e.Data.Observed.At
		}
	}
	for _, id := range answer.Online {
		if at, ok := told[id]; !ok || at.Sub(answer.Time) > 1500*time.Millisecond { // the platform tells time in seconds
			t.Errorf("session %s was on the page of %v, and was told of as seen at %v", id, answer.Time, at)
		}
	}
}
