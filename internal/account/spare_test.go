package account

import (
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller/budget"
)

// TestSpareRequestsAreThoseThatNobodyWants: 300 locations of 90 days take a night, others
// have their requests within seconds, and the limit holds.
func TestSpareRequestsAreThoseThatNobodyWants(t *testing.T) {
	const limit, wanted = 60, 300 * 91
	begun := time.Date(2026, 5, 1, 22, 0, 0, 0, time.UTC)
	clock := virtual.New(begun)
	b := budget.New(limit, nil, begun)
	var sent []time.Time
	var longest time.Duration
	ended := false
	clock.Go(func() { // who has a question every minute, and looks for room once a second
		for !ended {
			asked := clock.Now()
			for {
				if ended, _ := b.Take(clock.Now()); ended != nil {
					sent = append(sent, clock.Now())
					ended(clock.Now(), true)
					break
				}
				_ = clock.Sleep(t.Context(), 900*time.Millisecond)
			}
			longest = max(longest, clock.Now().Sub(asked))
			_ = clock.Sleep(t.Context(), time.Minute)
		}
	})
	for n := range wanted {
		ended, err := takeSpare(t.Context(), clock, b, int64(n))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, clock.Now())
		_ = clock.Sleep(t.Context(), 200*time.Millisecond)
		ended(clock.Now(), true)
	}
	ended = true
	took := clock.Now().Sub(begun)
	clock.Finish()
	if took > 9*time.Hour {
		t.Errorf("%d requests took %v", wanted, took)
	}
	if longest > 20*time.Second {
		t.Errorf("another one waited for %v", longest)
	}
	for i := limit; i < len(sent); i++ {
		if sent[i].Sub(sent[i-limit]) < time.Minute {
			t.Fatalf("%d requests within a minute", limit+1)
		}
	}
}
