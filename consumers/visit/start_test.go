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
