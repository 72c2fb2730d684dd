package visit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
)

// TestFirstStartIsNoWarning: guestflow run makes the stream of session events and the
// connection while the service starts, so that they are absent for a moment; one that stays away is told once.
func TestFirstStartIsNoWarning(t *testing.T) {
	var lines bytes.Buffer
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := New(Settings{Log: slog.New(slog.NewTextHandler(&lines, nil)), Now: func() time.Time { return now }})
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {startWait / 2, 0}, {startWait, 1}, {time.Second, 1}} {
		now = now.Add(step.after)
		if step.want == 0 {
			s.failed(consume.ErrAway)
		}
		s.failed(jetstream.ErrStreamNotFound)
		if n := strings.Count(lines.String(), "level=WARN"); n != step.want || !strings.Contains(s.Status().Error, "does not exist") {
			t.Errorf("%v later: %d warnings, want %d; status %+v:\n%s", step.after, n, step.want, s.Status(), lines.String())
		}
	}
}

// TestManyGuestsAreNotSavedForAFewEvents: a checkpoint holds all who are remembered.
func TestManyGuestsAreNotSavedForAFewEvents(t *testing.T) {
	now := epoch
	s := New(Settings{Rules: testRules(), CheckpointEvery: time.Minute, Now: func() time.Time { return now }})
	w := work{s: s, reducer: NewReducer(testRules())}
	v := newEstate(0)
	arrive := func(n int) {
		for range n {
			v.made += 2 // another guest each
			e := v.start()
			w.reducer.Apply(Message{Sequence: w.reducer.Sequence() + 1, Stored: e.Data.Observed.At, Event: e})
		}
	}
	saved := func() { w.saved.sequence, w.saved.at = w.reducer.Sequence(), now }
	if arrive(1000); !w.worthSaving() {
		t.Error("nothing was saved ever, and it is not worth it")
	}
	saved()
	arrive(100) // of 1,100 who are there and remembered
	if w.worthSaving() {
		t.Error("it is worth it for 100 events of 2,200 guests and visits")
	}
	if arrive(200); !w.worthSaving() {
		t.Error("it is not worth it for 300 events of 2,600 guests and visits")
	}
	saved()
	arrive(1)
	if now = now.Add(9 * time.Minute); w.worthSaving() {
		t.Error("it is worth it after nine minutes")
	}
	if now = now.Add(time.Minute); !w.worthSaving() {
		t.Error("it is not worth it after ten minutes")
	}
}
