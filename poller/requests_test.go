package poller_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// TestLateAnswersHoldUpNothing: a platform that takes up to four seconds for an
// answer is asked as often as one that takes none, and what its answers show is
// right though they come out of order.
func TestLateAnswersHoldUpNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		order   simulator.Order
		planner func() plan.Strategy
		moves   bool
	}{
		{"newest first", simulator.NewestFirst, adaptive, false},
		{"oldest first", simulator.OldestFirst, adaptive, false},
		{"by id", simulator.ByID, adaptive, false},
		{"shuffled", simulator.Shuffled, adaptive, false},
		{"round robin", simulator.NewestFirst, roundRobin, false},
		{"with moves", simulator.NewestFirst, adaptive, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := town()
			cfg.Order, cfg.ResumeProbability = c.order, 0.1
			cfg.Locations[0].MeanOnline = 250
			if c.moves {
				cfg.MoveProbability = 0.1
			}
			random := rand.New(rand.NewPCG(1, 2))
			cfg.Latency = func(uint64) time.Duration { return time.Duration(random.IntN(3700)) * time.Millisecond }
			l := newLab(t, cfg, c.planner)
			l.figuresWait = 20 * time.Second
			const run = 15 * time.Minute
			l.run(run)
			asked := 0
			for _, n := range l.requests {
				asked += n
			}
			if want := int(run.Minutes() * 60 * 0.93); asked < want { // a request's place is free again a minute after its answer
				t.Errorf("%d requests, want at least %d", asked, want)
			}
			if n := l.requests["rate limited"]; n > 0 {
				t.Errorf("%d requests were over the limit", n)
			}
			l.check(simulator.Checker{Until: l.clock.Now().Add(-time.Minute), Lag: 10 * time.Second, Passes: 5})
		})
	}
}

// sluggish takes three seconds for every answer, and heeds its context.
type sluggish struct{ asked, flying, most atomic.Int32 }

func (s *sluggish) wait(ctx context.Context) error {
	s.asked.Add(1)
	s.most.Store(max(s.most.Load(), s.flying.Add(1)))
	defer s.flying.Add(-1)
	return poller.SystemClock{}.Sleep(ctx, 3*time.Second)
}

func (s *sluggish) Sessions(ctx context.Context, _ platform.Query) (platform.Page, error) {
	return platform.Page{}, s.wait(ctx)
}

func (s *sluggish) Count(ctx context.Context, _ platform.Query) (int, platform.Meta, error) {
	return 0, platform.Meta{}, s.wait(ctx)
}

func (s *sluggish) Locations(ctx context.Context, _ int) (platform.LocationPage, error) {
	return platform.LocationPage{}, s.wait(ctx)
}

// TestRunSendsRequestsBesideEachOther, and leaves none behind when it ends.
func TestRunSendsRequestsBesideEachOther(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	synctest.Test(t, func(t *testing.T) {
		s := &sluggish{}
		sessions := budget.New(60, nil, time.Now())
		p := poller.New(poller.Settings{
			Account: "lab", Platform: s, Store: st, Clock: poller.SystemClock{}, Executor: poller.NewExecutor(), Strategy: &plan.RoundRobin{},
			Budgets:   map[platform.Endpoint]*budget.Budget{platform.Sessions: sessions, platform.Locations: sessions},
			Locations: []string{"a", "b", "c", "d", "e"},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := s.asked.Load(); n < 58 || n > 60 {
			t.Errorf("%d requests in a minute, want 58 to 60", n)
		}
		if most, left := s.most.Load(), s.flying.Load(); most < 2 || most > 4 || left > 0 {
			t.Errorf("%d requests were under way at once, %d at the end; want up to 4 and none", most, left)
		}
	})
}

// TestOthersMeetTheRunningPoller: status and requests for the past come from other
// goroutines while it runs. The race detector is the judge.
func TestOthersMeetTheRunningPoller(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	synctest.Test(t, func(t *testing.T) {
		sessions := budget.New(60, nil, time.Now())
		p := poller.New(poller.Settings{
			Account: "lab", Platform: &sluggish{}, Store: st, Clock: poller.SystemClock{}, Executor: poller.NewExecutor(), Strategy: &plan.Adaptive{},
			Budgets:   map[platform.Endpoint]*budget.Budget{platform.Sessions: sessions, platform.Locations: sessions},
			Locations: []string{"a", "b"},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		asked := 0
		var beside sync.WaitGroup
		beside.Go(func() {
			for tick := time.NewTicker(100 * time.Millisecond); ; asked++ {
				select {
				case <-ctx.Done():
					tick.Stop()
					return
				case now := <-tick.C:
					p.Status(now)
					if err := p.Backfill(now.Add(-time.Hour)); err != nil {
						t.Error(err)
					}
				}
			}
		})
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		beside.Wait()
		if s := p.Status(time.Now()); asked < 100 || len(s.Locations) != 2 || s.Plan.Past.From.IsZero() {
			t.Errorf("asked %d times; status %+v", asked, s)
		}
	})
}
