package account

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestFollowerBeginsWithWhatTheStreamHolds: a process that may have had others before it opens
// an account with what they published, and does not open it while nobody can tell: what it
// saw until then would pass for what was known.
func TestFollowerBeginsWithWhatTheStreamHolds(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
	js := server.JetStream()
	last := arrivals(t, js, "a", 3)
	open := func(ctx context.Context) (*Account, error) {
		return Open(ctx, Settings{
			Name: "a", Dir: t.TempDir(), Platform: platform.Config{BaseURL: "http://127.0.0.1:1", Token: "right"}, RateLimit: 60,
			Strategy: &plan.Adaptive{}, Rules: diff.Rules{}, Stream: events.DefaultStream, Follows: true, Log: slog.New(slog.DiscardHandler),
		}, there{js})
	}
	a, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	if err := a.Store.All(func(events.State) bool { known++; return true }); err != nil || known != 3 || a.Store.Cursor().StreamSeq != last {
		t.Errorf("it knows %d sessions up to %d, %v; want 3 up to %d", known, a.Store.Cursor().StreamSeq, err, last)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}

	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if a, err := open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without NATS it opens: %v", err)
		if a != nil {
			t.Error(a.Close())
		}
	}
}
