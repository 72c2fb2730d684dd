package poller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
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

// TestEndsAreToldWhateverThePageSize: a location whose list takes two pages of the
// platform's own size proves nobody gone by that list, so whom it does not show is asked
// about, one by one; with its size taken for a hundred, the list was read again and again
// in place of that, and most ends stayed open for good.
func TestEndsAreToldWhateverThePageSize(t *testing.T) {
	t.Parallel()
	cfg := town()
	cfg.Seed, cfg.PerPageFixed, cfg.Order, cfg.Speed = 2, 10, simulator.Unordered, 15
	cfg.Stay, cfg.Locations = simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}, cfg.Locations[:3]
	for i := range cfg.Locations {
		cfg.Locations[i].MeanOnline = 16
	}
	l := newLab(t, cfg, adaptive)
	l.run(10 * time.Minute)
	ended := make(map[string]bool)
	for _, e := range l.events() {
		ended[e.Data.Session.ID] = e.Kind == events.Ended
	}
	due, open := 0, 0
	for _, e := range l.truth.All() {
		if told, known := ended[e.Session]; known && e.Kind == simulator.TruthEnd && l.clock.Now().Sub(e.Time) > 2*time.Minute {
			due++
			if !told {
				open++
			}
		}
	}
	if due < 50 || open > due/20 {
		t.Errorf("%d of %d ends are not told two minutes later and more", open, due)
	}
}
