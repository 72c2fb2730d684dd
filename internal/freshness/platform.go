package freshness

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
)

// clock is virtual: sleeping moves it on. It belongs to one goroutine.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		c.now = c.now.Add(d)
	}
	return ctx.Err()
}

// wire is the platform's client without a network: requests take virtual time
// and pass the simulator's limiter.
type wire struct {
	sim      *simulator.Simulator
	clock    *clock
	random   *rand.Rand
	bare     bool                               // no /locations
	shared   bool                               // one limit for all endpoints
	requests map[simulator.Endpoint][]time.Time // every one that the limiter saw, by limit
	refused  int
}

// lateShare of the requests take 2 s, the others between 50 and 200 ms.
const lateShare = 0.01

// exchange lets half of the round trip pass, asks the limiter, and returns what
// is left of the round trip.
func (w *wire) exchange(endpoint simulator.Endpoint) (m platform.Meta, rest time.Duration, err error) {
	trip := 50*time.Millisecond + time.Duration(w.random.Int64N(int64(150*time.Millisecond)))
	if w.random.Float64() < lateShare {
		trip = 2 * time.Second
	}
	m.Sent = w.clock.now
	w.clock.now = w.clock.now.Add(trip / 2)
	limit := endpoint
	if w.shared {
		limit = simulator.EndpointSessions
	}
	w.requests[limit] = append(w.requests[limit], w.clock.now)
	d := w.sim.Allow(endpoint)
	m.Limit, m.Remaining = d.Limit, d.Remaining
	if d.Allowed {
		return m, trip / 2, nil
	}
	w.refused++
	w.clock.now = w.clock.now.Add(trip / 2)
	return m, 0, &platform.Error{Kind: platform.RateLimited, RetryAfter: time.Duration(d.RetryAfter) * time.Second}
}

func (w *wire) Sessions(_ context.Context, q platform.Query) (platform.Page, error) {
	m, rest, err := w.exchange(simulator.EndpointSessions)
	if err != nil {
		return platform.Page{Meta: m}, err
	}
	sq := simulator.Query{Location: q.LocationID, Guest: q.GuestID, MAC: q.DeviceMAC, Yas: q.YasID, Page: q.Page, PerPage: q.PerPage}
	if q.Online != nil {
		sq.Online = simulator.Offline
		if *q.Online {
			sq.Online = simulator.Online
		}
	}
	if q.StartDate != "" {
		if sq.StartDay, err = time.Parse(time.DateOnly, q.StartDate); err != nil {
			return platform.Page{Meta: m}, err
		}
	}
	sessions, more := w.sim.List(sq)
	w.clock.now = w.clock.now.Add(rest)
	m.Received = w.clock.now
	return platform.Page{Meta: m, Sessions: sessions, Records: len(sessions), PerPage: q.PerPage, More: more, Number: q.Page}, nil
}

func (w *wire) Locations(_ context.Context, page int) (platform.LocationPage, error) {
	m, rest, err := w.exchange(simulator.EndpointLocations)
	w.clock.now = w.clock.now.Add(rest)
	if err != nil {
		return platform.LocationPage{Meta: m}, err
	}
	if w.bare {
		return platform.LocationPage{Meta: m}, &platform.Error{Kind: platform.NotFound}
	}
	const perPage = 100
	all := w.sim.Locations()
	from := min((page-1)*perPage, len(all))
	to := min(from+perPage, len(all))
	p := platform.LocationPage{Meta: m, More: to < len(all)}
	for _, l := range all[from:to] {
		p.Locations = append(p.Locations, platform.Location{ID: l.ID, Name: l.Name})
	}
	return p, nil
}
