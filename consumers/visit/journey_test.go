package visit

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/journey"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// travel is a journey that ends with the service of visits.
type travel struct {
	*journey.Journey
	t          *testing.T
	service    *Service
	endService func()
}

func newTravel(t *testing.T) *travel {
	t.Helper()
	j := &travel{t: t}
	j.Journey = journey.New(t, 7, 4, 12, epoch, func(c *simulator.Config) {
		c.ReturnProbability, c.Regulars, c.HistoryBefore = 0.4, 12, time.Second
	})
	j.startService()
	t.Cleanup(func() { j.endService() })
	return j
}

func (j *travel) startService() {
	j.t.Helper()
	j.service = New(Settings{
		Rules: truthRules(), TickEvery: 5 * time.Millisecond, CheckpointEvery: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		LookedAt: func(string) time.Time { return j.Now() }, Now: j.Now, WholeHistory: true,
		Count: func(ctx context.Context, _ string, of Counted) (int, error) {
			return j.Count(ctx, platform.Query{GuestID: of.GuestID, LocationID: of.LocationID, EndDate: of.EndedBefore})
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.service.Run(ctx, j.JS) }()
	j.endService = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				j.t.Errorf("service: %v", err)
			}
		case <-time.After(patience):
			j.t.Error("the service does not end")
		}
	})
}

// settle waits until all that was detected is published and applied.
func (j *travel) settle() {
	j.t.Helper()
	until(j.t, "the outbox is empty", func() bool { return j.Waiting() == 0 })
	last := j.Last()
	until(j.t, "every event is applied", func() bool { st := j.service.Status(); return st.Live && st.Sequence >= last })
}
