package freshness

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/store"
)

// looks counts requests by what they look at.
type looks map[plan.Kind]int

func (l looks) Requested(kind plan.Kind, _ time.Duration, _ error) { l[kind]++ }
func (l looks) Looked(poller.Report)                               {}

func do(t *testing.T, r Run) Row {
	t.Helper()
	row, err := r.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", row)
	if row.HTTP429 > 0 || row.MaxRequests60s > 60 {
		t.Errorf("over the limit: %d × 429, %d requests in 60 s", row.HTTP429, row.MaxRequests60s)
	}
	if row.FalseEnds > 0 {
		t.Errorf("%d false ends", row.FalseEnds)
	}
	return row
}

// TestPageDrift: one location whose list has five pages, with constant churn.
func TestPageDrift(t *testing.T) {
	horizon := long.Of(30*time.Minute, 90*time.Minute)
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst, simulator.ByID, simulator.Unordered} {
		t.Run(order.String(), func(t *testing.T) {
			l := looks{}
			cfg := simulator.Config{
				Locations: []simulator.Location{{ID: "arena", MeanOnline: 450, Stay: simulator.Stay{Mean: 15 * time.Minute, Sigma: 1}}},
			}
			row := do(t, Run{Config: &cfg, Policy: "round-robin", Order: order, Seed: 3, Warmup: time.Minute, Horizon: horizon, Observer: l})
			if n, want := l[plan.List], int(horizon.Minutes())*2500/90; n < want {
				t.Errorf("%d pages of the list were read, want %d and more; all: %v", n, want, l)
			}
			if row.EndMean == 0 || row.EndMean > 60 {
				t.Errorf("ends were seen after %.1f s", row.EndMean)
			}
		})
	}
}

// TestPlannerIsFresh holds the benchmark's claims where they are cheap to check:
// virtual time, so the figures do not depend on the machine.
func TestPlannerIsFresh(t *testing.T) {
	cases := []struct {
		estate     string
		order      simulator.Order
		all, round float64 // the greatest mean, in seconds, and part of round robin's
	}{
		{"E1", simulator.NewestFirst, 3.95, 0.40},
		{"E2", simulator.OldestFirst, 12.6, 0.12},
		{"E5", simulator.NewestFirst, 7.7, 0.65}, // round robin's pages prove ends, too
		// Not sorted by start: only whole lists prove that anybody is gone.
		{"E8", simulator.Unordered, 55, 0.90},
		{"E1", simulator.OldestFirst, 3.95, 0.40},
		{"E2", simulator.NewestFirst, 12.6, 0.12},
		{"E2", simulator.Unordered, 145, 0.75},
	}
	for _, c := range long.Of(cases[:4], cases) {
		t.Run(c.estate+" "+c.order.String(), func(t *testing.T) {
			run := Run{Estate: c.estate, Order: c.order, Seed: 5, Warmup: 20 * time.Minute, Horizon: 30 * time.Minute}
			run.Policy = "round-robin"
			base := do(t, run)
			run.Policy = "adaptive"
			row := do(t, run)
			if row.AllMean > c.all {
				t.Errorf("changes are seen after %.1f s, want at most %.1f s", row.AllMean, c.all)
			}
			if ratio := row.AllMean / base.AllMean; ratio > c.round {
				t.Errorf("that is %.3f of round robin's %.1f s, want at most %.2f", ratio, base.AllMean, c.round)
			}
			if row.Missed > 0 && c.order != simulator.Unordered {
				t.Errorf("%d sessions were never seen", row.Missed)
			}
			if want := 0.98 * 60 * run.Horizon.Minutes(); row.Requests < want {
				t.Errorf("%.0f requests were used, want at least %.0f", row.Requests, want)
			}
		})
	}
}

// TestNothingOptionalWorks: the list is shuffled at each request, there is no
// /locations, and one limit is shared. That has to be right, and no slower than
// round robin.
func TestNothingOptionalWorks(t *testing.T) {
	run := Run{Estate: "E1", Order: simulator.Shuffled, SharedBudget: true, Bare: true, Seed: 2, Warmup: 20 * time.Minute, Horizon: 40 * time.Minute}
	run.Policy = "round-robin"
	base := do(t, run)
	run.Policy = "adaptive"
	row := do(t, run)
	if row.AllMean > 1.1*base.AllMean {
		t.Errorf("changes are seen after %.1f s, by round robin after %.1f s", row.AllMean, base.AllMean)
	}
}

// TestBurstIsThroughInThreeSweeps: 5,000 people leave within a minute.
func TestBurstIsThroughInThreeSweeps(t *testing.T) {
	for _, order := range []simulator.Order{simulator.NewestFirst, simulator.OldestFirst, simulator.Unordered} {
		for seed := range uint64(*seeds) {
			t.Run(fmt.Sprint(order, seed), func(t *testing.T) {
				const before = 20 * time.Minute
				cfg, err := simulator.Estate("E4")
				if err != nil {
					t.Fatal(err)
				}
				cfg.Locations[0].MeanOnline = 5600
				cfg.Bursts = []simulator.Burst{{At: before, Over: time.Minute, Leave: 0.95}}
				row := do(t, Run{Config: &cfg, Policy: "adaptive", Order: order, Seed: 3 + seed, Warmup: before, Horizon: time.Minute, Tail: 10 * time.Minute})
				if row.Ends < 5000 {
					t.Fatalf("only %d ends", row.Ends)
				}
				pages := math.Ceil((5600 + 50*20) / 100.0)
				sweep := pages / (1 - 1/(1+math.Sqrt(pages)))
				if row.EndMax > 3*sweep {
					t.Errorf("the last end was seen after %.0f s, three sweeps take %.0f s", row.EndMax, 3*sweep)
				}
			})
		}
	}
}

// TestProbesDoNotStarveTraffic: however much starts weigh, each session's figures
// are read again within four rounds of the list, half of the requests each.
func TestProbesDoNotStarveTraffic(t *testing.T) {
	run := Run{Estate: "E2", Policy: "adaptive", Order: simulator.NewestFirst, Seed: 6, Warmup: 15 * time.Minute, Horizon: 20 * time.Minute}
	base := do(t, run)
	run.StartWeight = 100
	row := do(t, run)
	if row.StartMean >= base.StartMean {
		t.Errorf("starts are seen after %.1f s, with the default weight after %.1f s", row.StartMean, base.StartMean)
	}
	if longest := 4 * math.Ceil(row.Online/100); row.MaxStaleness > longest {
		t.Errorf("figures were up to %.0f s old, want at most %.0f s", row.MaxStaleness, longest)
	}
}

// kinds notes what each request was for.
type kinds []plan.Kind

func (k *kinds) Requested(kind plan.Kind, _ time.Duration, _ error) { *k = append(*k, kind) }
func (k *kinds) Looked(poller.Report)                               {}

// Where all endpoints share a budget, reading /locations again is spread out: ten
// pages in a row would age every session by as many requests.
func TestRediscoverySpreads(t *testing.T) {
	var requests kinds
	do(t, Run{Estate: "E3", Policy: "adaptive", Order: simulator.NewestFirst, SharedBudget: true, Seed: 1, Warmup: 5 * time.Minute, Horizon: 25 * time.Minute, Observer: &requests})
	pages, last := 0, 0
	for i, kind := range requests {
		if kind != plan.Discover {
			continue
		}
		const start = 100 // requests, among them the first time
		if pages++; i > start && i-last < 10 {
			t.Fatalf("pages of /locations were read %d requests apart", i-last)
		}
		last = i
	}
	if pages < 30 { // of ten, at the start and after 10 and 20 minutes
		t.Errorf("%d pages of /locations were read; want three times all ten", pages)
	}
}

// TestRestartsAreThroughInTwoRounds, and 10 s: who left while guestflow was away, and since.
func TestRestartsAreThroughInTwoRounds(t *testing.T) {
	for _, c := range []struct{ estate, policy string }{
		{"E2", "adaptive"}, {"E2", Checked},
		{"E1", "adaptive"}, // Who waits for the platform's figures, of which few requests are worth more, waits for 30 s.
	} {
		t.Run(c.estate+" "+c.policy, func(t *testing.T) {
			row := do(t, Run{Estate: c.estate, Policy: c.policy, Order: simulator.NewestFirst, Seed: 7, Warmup: 10 * time.Minute, Horizon: 10 * time.Minute, Restart: true})
			if row.RestartP99 == 0 || row.RatioRestart > 1 {
				t.Errorf("ends were seen after %.1f s, %.2f of two rounds and 10 s", row.RestartP99, row.RatioRestart)
			}
			if row.RestartStartP99 == 0 || row.RestartStartP99 > 20 {
				t.Errorf("starts were seen after %.1f s", row.RestartStartP99)
			}
			if row.Missed > 0 {
				t.Errorf("%d sessions were never seen", row.Missed)
			}
		})
	}
}

// Who is online is known to a process as the one before has left it, in the store's order.
func TestMemoryIsAStore(t *testing.T) {
	m := newMemory(func([]events.Event) {})
	at := epoch
	for _, s := range []events.Session{{ID: "b", LocationID: "x", Online: true}, {ID: "a", LocationID: "y", Online: true}, {ID: "c", LocationID: "x", Online: true}, {ID: "d", LocationID: "x"}} {
		kind := events.Started
		if !s.Online {
			kind = events.Ended
		}
		err := m.Commit(store.Commit{Changes: []events.Event{{Kind: kind, Data: events.Data{Session: s}}}, Locations: []store.LocationMark{{ID: s.LocationID, TrackedSince: at}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	_ = m.All(func(s events.State) bool { ids = append(ids, s.Session.ID); return true })
	if !slices.Equal(ids, []string{"b", "c", "a"}) {
		t.Errorf("online are %v", ids)
	}
	if known, _ := m.Locations(); len(known) != 2 || known[0].ID != "x" || known[0].Online != 2 || !known[1].TrackedSince.Equal(at) {
		t.Errorf("locations are %+v", known)
	}
}
