package visit

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// TestEarlierSessionsAreTheSimulators: what its counts say of guests who are there after a
// week, however it reads days, holds against what really happened.
func TestEarlierSessionsAreTheSimulators(t *testing.T) {
	t.Parallel()
	for name, dialect := range map[string]func(*simulator.Config){
		"days count":           func(*simulator.Config) {},
		"days do not":          func(c *simulator.Config) { c.ExclusiveDates = true },
		"days begin earlier":   func(c *simulator.Config) { c.DayZone = time.FixedZone("", 14*3600) },
		"days begin later":     func(c *simulator.Config) { c.DayZone = time.FixedZone("", -12*3600) },
		"both, and days count": func(c *simulator.Config) { c.DayZone, c.ExclusiveDates = time.FixedZone("", -12*3600), true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			truth := &simulator.Recorder{}
			cfg := simulator.Config{
				Seed: 3, HasCount: true, RateLimit: -1, Truth: truth.Record, LivesOnly: true, History: 30 * 24 * time.Hour, HistoryBefore: time.Second,
				ReturnProbability: 0.3, Regulars: 60, RoamProbability: 0.1, Locations: simulator.Venues("venue.%d", 3, 8),
			}
			dialect(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			now := epoch.Add(-7 * 24 * time.Hour)
			sim := simulator.New(cfg, func() time.Time { return now })
			for ; now.Before(epoch); now = now.Add(12 * time.Hour) {
				sim.Advance()
			}
			sim.Advance()
			server := httptest.NewServer(sim)
			t.Cleanup(server.Close)
			client, err := platform.New(platform.Config{BaseURL: server.URL, Token: "any"})
			if err != nil {
				t.Fatal(err)
			}
			told := map[Saying]int{}
			for guest, here := range present(truth.All()) {
				want := Want{Guest: guest, Started: here.started, Locations: []string{here.location}, Sessions: 1, Here: 1, First: true, Seen: true}
				says, err := want.ask(func(of Counted) (int, error) {
					n, _, err := client.Count(t.Context(), platform.Query{GuestID: of.GuestID, LocationID: of.LocationID, EndDate: of.EndedBefore})
					return n, err
				}, &Horizon{Declared: true}, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				told[says]++
				wrong := says == Whole && here.earlier > 0 || says == Here && here.earlierHere > 0 || says == Before && here.earlierHere == 0
				if missed := says == "" && (here.earlier == 0 || here.longAgo); wrong || missed {
					t.Errorf("%+v: the counts are said to show %q", here, says)
				}
			}
			if told[Whole] < 5 || told[Before] < 2 {
				t.Errorf("too little to mean anything: %v", told)
			}
		})
	}
}

// guestHere is a guest with one session online.
type guestHere struct {
	location             string
	started              time.Time
	earlier, earlierHere int  // sessions
	longAgo              bool // one of them here is four days old
}

// present returns who is online at the end.
func present(truth []simulator.Truth) map[string]*guestHere {
	all, online := map[string][]simulator.Truth{}, map[string]simulator.Truth{}
	ended := map[string]time.Time{}
	for _, f := range truth {
		switch f.Kind {
		case simulator.TruthStart:
			all[f.Guest] = append(all[f.Guest], f)
			online[f.Session] = f
		case simulator.TruthEnd:
			delete(online, f.Session)
			ended[f.Session] = f.Time
		}
	}
	here := map[string]*guestHere{}
	several := map[string]bool{}
	for _, f := range online {
		several[f.Guest] = here[f.Guest] != nil || several[f.Guest]
		g := &guestHere{location: f.Location, started: f.Time}
		for _, o := range all[f.Guest] {
			if o.Session == f.Session {
				continue
			}
			g.earlier++
			if o.Location == f.Location {
				g.earlierHere++
				g.longAgo = g.longAgo || ended[o.Session].Before(f.Time.Add(-4*24*time.Hour))
			}
		}
		here[f.Guest] = g
	}
	for guest := range several {
		if several[guest] {
			delete(here, guest)
		}
	}
	return here
}
