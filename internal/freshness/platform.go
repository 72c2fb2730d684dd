package freshness

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller/platform"
)

// wire is the platform's client without a network: requests take virtual time
// and pass the simulator's limiter.
type wire struct {
	sim      *simulator.Simulator
	clock    *virtual.Clock
	trace    *trace
	random   map[simulator.Endpoint]*rand.Rand
	bare     bool                               // neither /locations nor /sessions/count
	shared   bool                               // one limit for all endpoints
	requests map[simulator.Endpoint][]time.Time // every one that the limiter saw, by limit
	refused  int
}

// luck is what chance makes of each endpoint's delays. Each has its own, so that what is
// asked of one, as in a variant that checks addresses, does not change those of another.
func luck(seed uint64) map[simulator.Endpoint]*rand.Rand {
	of := make(map[simulator.Endpoint]*rand.Rand)
	for i, e := range simulator.Endpoints() {
		of[e] = rand.New(rand.NewPCG(seed, 7+uint64(i)))
	}
	return of
}

// lateShare of the requests take 2 s, the others between 50 and 200 ms.
const lateShare = 0.01

// exchange lets half of the round trip pass, asks the limiter, and returns what
// is left of the round trip.
func (w *wire) exchange(ctx context.Context, endpoint simulator.Endpoint) (m platform.Meta, rest time.Duration, err error) {
	random := w.random[endpoint]
	trip := 50*time.Millisecond + time.Duration(random.Int64N(int64(150*time.Millisecond)))
	if random.Float64() < lateShare {
		trip = 2 * time.Second
	}
	m.Sent = w.clock.Now()
	if err = w.clock.Sleep(ctx, trip/2); err != nil {
		return m, 0, err
	}
	limit := endpoint
	if w.shared {
		limit = simulator.EndpointSessions
	}
	w.requests[limit] = append(w.requests[limit], w.clock.Now())
	d := w.sim.Allow(endpoint)
	m.Limit, m.Remaining = d.Limit, d.Remaining
	if d.Allowed {
		return m, trip / 2, nil
	}
	w.refused++
	_ = w.clock.Sleep(ctx, trip/2) // the refusal is the error to tell
	return m, 0, &platform.Error{Kind: platform.RateLimited, RetryAfter: time.Duration(d.RetryAfter) * time.Second}
}

func (w *wire) Sessions(ctx context.Context, q platform.Query) (platform.Page, error) {
	w.trace.asked(q)
	m, rest, err := w.exchange(ctx, simulator.EndpointSessions)
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
	err = w.clock.Sleep(ctx, rest)
	m.Received = w.clock.Now()
	return platform.Page{Meta: m, Sessions: sessions, Records: len(sessions), PerPage: q.PerPage, More: more, Number: q.Page}, err
}

func (w *wire) Connections(ctx context.Context, addresses []netip.Addr) ([]platform.Connection, platform.Meta, error) {
	m, rest, err := w.exchange(ctx, simulator.EndpointIP)
	if err != nil {
		return nil, m, err
	}
	records, ok := w.sim.LookUp(addresses)
	if err := w.clock.Sleep(ctx, rest); err != nil {
		return nil, m, err
	}
	m.Received = w.clock.Now()
	if !ok && len(addresses) > 1 {
		return nil, m, &platform.Error{Kind: platform.NotFound}
	}
	answers := make([]platform.Connection, len(records))
	for i, r := range records {
		answers[i] = platform.Connection{Address: r.Address, Duration: r.Duration}
	}
	return answers, m, nil
}

func (w *wire) Count(ctx context.Context, _ platform.Query) (int, platform.Meta, error) {
	w.trace.line("ask count")
	m, rest, err := w.exchange(ctx, simulator.EndpointCount)
	if err != nil {
		return 0, m, err
	}
	if err := w.clock.Sleep(ctx, rest); err != nil {
		return 0, m, err
	}
	if w.bare {
		return 0, m, &platform.Error{Kind: platform.NotFound}
	}
	return w.sim.Count(simulator.Query{Online: simulator.Online}), m, nil
}

func (w *wire) Locations(ctx context.Context, page int) (platform.LocationPage, error) {
	w.trace.line("ask locations page=%d", page)
	m, rest, err := w.exchange(ctx, simulator.EndpointLocations)
	if err != nil {
		return platform.LocationPage{Meta: m}, err
	}
	if err := w.clock.Sleep(ctx, rest); err != nil {
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
