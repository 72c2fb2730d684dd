package occupancy

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
)

// TestFirstStartIsNoWarning: guestflow run makes the stream and the connection while the
// service starts, so that they are absent for a moment; one that stays away is told once.
func TestFirstStartIsNoWarning(t *testing.T) {
	var lines bytes.Buffer
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := New(Settings{Log: slog.New(slog.NewTextHandler(&lines, nil)), Now: func() time.Time { return now }})
	lost := func(want int, when string) {
		t.Helper()
		s.lost(jetstream.ErrStreamNotFound)
		if n := strings.Count(lines.String(), "level=WARN"); n != want {
			t.Errorf("%s: %d warnings, want %d:\n%s", when, n, want, lines.String())
		}
		if !strings.Contains(s.Status().Error, "does not exist") {
			t.Errorf("%s: status %+v", when, s.Status())
		}
	}
	s.lost(consume.ErrAway)
	lost(0, "at the start")
	now = now.Add(startWait / 2)
	lost(0, "soon after it")
	now = now.Add(startWait)
	lost(1, "later")
	lost(1, "again")
	s.enter(Live)
	lost(2, "after it was there")
}
