package simulator

import (
	"sync"
	"time"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func newClock() *clock { return &clock{t: noon} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// small is a lively estate of three venues.
func small() Config {
	return Config{
		Seed: 7, HasLocations: true, HasCount: true, Stay: Stay{10 * time.Minute, 1},
		Locations: []Location{
			{ID: "north", Name: "North", MeanOnline: 30}, {ID: "south", Name: "Süd/Bar", MeanOnline: 60},
			{ID: "east", Name: "East", ArrivalsPerHour: 90},
		},
		DevicesPerGuest: 1.5, RoamProbability: 0.1, MoveProbability: 0.05, ChangeProbability: 0.1, ResumeProbability: 0.1,
	}
}
