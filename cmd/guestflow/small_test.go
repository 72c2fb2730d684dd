package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestSmallEstatesAreSeenAtOnce: with up to some guests one page is all of the list
// and proves everything, from the first minute and in whatever order it stands. It
// runs at the documented limit, in real time, and tells the longest delay; that five
// seconds are kept is held exactly on virtual time, by the poller's
// TestSmallEstatesAreQuick, as a busy machine adds its own.
func TestSmallEstatesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	const soon = 15 * time.Second
	type estate struct {
		order    simulator.Order
		platform *simulated
		running  *running
	}
	var estates []estate
	for order := simulator.NewestFirst; order <= simulator.Moving; order++ {
		p := simulate(t, simulator.Config{
			Token: "right", Order: order, Ties: true, Stay: simulator.Stay{Mean: 8 * time.Second, Sigma: 0.3}, Locations: simulator.Venues("kiosk-%d", 3, 0.9),
		})
		estates = append(estates, estate{order, p, launch(t, settings(t, p))})
	}
	for _, e := range estates {
		eventually(t, func() string {
			if n := ends(e.platform.truth.All(), e.running.began, time.Now().Add(-soon-time.Second)); n < 5 {
				return fmt.Sprintf("%v: %d sessions ended, want 5", e.order, n)
			}
			return ""
		})
	}
	for _, e := range estates {
		until := time.Now().Add(-soon)
		stored, told, longest := storedAt(t, e.running), 0, time.Duration(0)
		for _, truth := range e.platform.truth.All() {
			kind := map[simulator.TruthKind]events.Kind{simulator.TruthStart: events.Started, simulator.TruthEnd: events.Ended}[truth.Kind]
			if kind == "" || truth.Time.Before(e.running.began) || truth.Time.After(until) {
				continue
			}
			at, ok := stored[string(kind)+truth.Session]
			if discovered, was := stored[string(events.Discovered)+truth.Session]; kind == events.Started && was {
				at, ok = discovered, true
			}
			switch {
			case !ok:
				t.Errorf("%v: session %s: no %s, %v after it", e.order, truth.Session, kind, time.Since(truth.Time))
			case at.Sub(truth.Time) > soon:
				t.Errorf("%v: session %s: %s came after %v", e.order, truth.Session, kind, at.Sub(truth.Time))
			}
			told++
			longest = max(longest, at.Sub(truth.Time))
		}
		t.Logf("%v: %d starts and ends, after %v at most", e.order, told, longest.Round(time.Millisecond))
	}
}

// ends counts the sessions that ended between two times.
func ends(truth []simulator.Truth, after, before time.Time) (n int) {
	for _, t := range truth {
		if t.Kind == simulator.TruthEnd && t.Time.After(after) && t.Time.Before(before) {
			n++
		}
	}
	return n
}

// storedAt is when the stream stored each event, by kind and session.
func storedAt(t *testing.T, r *running) map[string]time.Time {
	t.Helper()
	js := jetStreamAt(t, r.nats.URL())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stored := make(map[string]time.Time)
	err := consume.Consumer{From: consume.FromStart()}.Run(ctx, js, func(_ context.Context, d consume.Delivery) error {
		stored[string(d.Kind)+d.Data.Session.ID] = d.Stored
		if d.Pending == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}
