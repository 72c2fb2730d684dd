package freshness

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// Run is one measurement: an estate polled by a policy.
type Run struct {
	Estate string
	// Config overrides Estate.
	Config *simulator.Config
	Policy string // see Policies
	Order  simulator.Order
	// SharedBudget: all endpoints count against one limit. Bare: the platform has
	// no /locations either.
	SharedBudget, Bare bool
	Seed               uint64
	// Warmup is not measured, Horizon is. Tail is time for the last changes of it
	// to be seen.
	Warmup, Horizon, Tail time.Duration
	StartWeight           float64
	// Addresses are those of the platform; only a policy that checks by them cares.
	Addresses simulator.AddressSharing
	// Observer may be nil.
	Observer poller.Observer
	// Trace, unless nil, is written a line for each decision, each request and each
	// event: the same bytes whenever the same code makes the same run.
	Trace io.Writer
}

// Policies lists the policies by name.
func Policies() []string { return []string{"round-robin", "sqrt", "sweep", "adaptive"} }

// Checked is the adaptive policy with checks by address beside it.
const Checked = "adaptive+addresses"

// Row is what a measurement, or the mean of several, shows. Delays are from the
// change at the source to the committed event, in seconds.
type Row struct {
	Estate       string `json:"estate"`
	Policy       string `json:"policy"`
	Order        string `json:"order"`
	SharedBudget bool   `json:"shared_budget"`
	// Addresses are unique, half or venue, where the policy checks by them.
	Addresses   string  `json:"addresses,omitempty"`
	StartWeight float64 `json:"start_weight,omitempty"` // where the run is about it
	// Online is how many sessions were online at a change, on average over the
	// ends: each has the bound of the list as it is then, which in an estate that
	// grows and shrinks is not the mean over time. Pages is the list's at that size.
	Online float64 `json:"online"`
	Pages  float64 `json:"pages"`

	AllMean   float64 `json:"all_mean_s"`
	StartMean float64 `json:"start_mean_s"`
	StartP50  float64 `json:"start_p50_s"`
	StartP95  float64 `json:"start_p95_s"`
	StartP99  float64 `json:"start_p99_s"`
	EndMean   float64 `json:"end_mean_s"`
	EndP50    float64 `json:"end_p50_s"`
	EndP95    float64 `json:"end_p95_s"`
	EndP99    float64 `json:"end_p99_s"`
	EndMax    float64 `json:"-"`
	Ends      int     `json:"-"`

	Bound           float64 `json:"bound_s"`
	RatioRoundRobin float64 `json:"ratio_round_robin"`
	RatioBound      float64 `json:"ratio_bound"`
	Requests        float64 `json:"requests"`
	MaxRequests60s  int     `json:"max_requests_60s"`
	HTTP429         int     `json:"http_429"`
	MaxStaleness    float64 `json:"max_staleness_s"`
	// RatioAge is the greatest age of a location in parts of 2P/(B−x), with as
	// many pages P as the list had during that age.
	RatioAge  float64 `json:"ratio_age"`
	FalseEnds int     `json:"false_ends"`
	Missed    int     `json:"missed"`
}

// epoch is when every run begins: noon of a day, UTC.
var epoch = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// life is one session's ground truth and what was seen of it.
type life struct {
	start, end time.Time // zero end: online
	started    bool
	ended      bool
}

// observer compares committed events with the ground truth.
type observer struct {
	run       *Run
	clock     *virtual.Clock
	trace     *trace
	lives     map[string]*life
	starts    []float64
	ends      []float64
	falseEnds int
	online    int // sessions, in truth
	// crowd is how many were online when a session ended, over all measured ends,
	// passed how many ends these are.
	crowd, passed float64
}

func (o *observer) truth(t simulator.Truth) {
	switch t.Kind {
	case simulator.TruthStart:
		o.lives[t.Session] = &life{start: t.Time}
		o.online++
	case simulator.TruthEnd:
		if l := o.lives[t.Session]; l != nil {
			l.end = t.Time
			if o.measured(t.Time) {
				o.crowd += float64(o.online)
				o.passed++
			}
			o.online--
		}
	}
}

func (o *observer) measured(t time.Time) bool {
	since := t.Sub(epoch)
	return since >= o.run.Warmup && since < o.run.Warmup+o.run.Horizon
}

func (o *observer) committed(changes []events.Event) {
	o.trace.published(changes)
	for i := range changes {
		e := &changes[i]
		l := o.lives[e.Data.Session.ID]
		if l == nil {
			continue
		}
		switch {
		case e.Kind.Arrival() && !l.started:
			l.started = true
			if o.measured(l.start) {
				o.starts = append(o.starts, o.clock.Now().Sub(l.start).Seconds())
			}
		case e.Kind == events.Ended && l.end.IsZero():
			o.falseEnds++
		case e.Kind == events.Ended && !l.ended:
			l.ended = true
			if o.measured(l.end) {
				o.ends = append(o.ends, o.clock.Now().Sub(l.end).Seconds())
			}
		}
	}
}

// Do measures.
func (r Run) Do(ctx context.Context) (Row, error) {
	var cfg simulator.Config
	var err error
	if r.Config != nil {
		cfg = *r.Config
	} else if cfg, err = simulator.Estate(r.Estate); err != nil {
		return Row{}, err
	}
	clk := virtual.New(epoch)
	defer clk.Finish()
	t := newTrace(r.Trace, clk)
	o := &observer{run: &r, clock: clk, trace: t, lives: make(map[string]*life)}
	cfg.Seed, cfg.Order, cfg.SharedLimit, cfg.HasLocations, cfg.Truth = r.Seed, r.Order, r.SharedBudget, !r.Bare, o.truth
	if r.Config == nil {
		cfg.Addresses = r.Addresses
	}
	cfg.LivesOnly, cfg.HistoryBefore = true, 10*time.Minute
	sim := simulator.New(cfg, clk.Now)
	w := &wire{sim: sim, clock: clk, trace: t, random: rand.New(rand.NewPCG(r.Seed, 7)), bare: r.Bare, shared: r.SharedBudget, requests: make(map[simulator.Endpoint][]time.Time)}
	p := poller.New(poller.Settings{
		Account: "bench", Platform: w, Store: newMemory(o.committed), Clock: clk, Courier: clk,
		Budgets: budgets(r.SharedBudget, clk.Now()), Observer: r.Observer, FiguresWait: 30 * time.Second,
		// Starts and ends are what is measured; events of traffic would be most of
		// the work.
		Rules: diff.Rules{TrafficMinBytes: math.MaxInt64},
	})
	if p.Strategy, err = strategy(r.Policy, r.StartWeight); err != nil {
		return Row{}, err
	}
	if t != nil {
		p.Strategy = traced{p.Strategy, t}
	}
	row := Row{Estate: r.Estate, Policy: r.Policy, Order: orderName(r.Order), SharedBudget: r.SharedBudget, StartWeight: r.StartWeight}
	if r.Policy == Checked {
		p.Addresses, row.Addresses = w, cfg.Addresses.String()
	}
	end := epoch.Add(r.Warmup + r.Horizon + r.Tail)
	var lengths []length
	for clk.Now().Before(end) {
		if err := p.Step(ctx); err != nil {
			return Row{}, fmt.Errorf("%s, %s: %w", r.Estate, r.Policy, err)
		}
		now := clk.Now()
		if n := len(lengths); n > 0 && now.Sub(lengths[n-1].at) < 5*time.Second {
			continue
		}
		lengths = append(lengths, length{now, sim.Count(simulator.Query{Online: simulator.Online})})
		if now.Sub(epoch) < r.Warmup {
			continue
		}
		age := p.Status(now).Staleness()
		row.MaxStaleness = max(row.MaxStaleness, age.Seconds())
		row.RatioAge = max(row.RatioAge, age.Seconds()/oldest(longest(lengths, now.Add(-age)), r.Order))
	}
	row.Online = o.crowd / max(1, o.passed)
	row.Pages = math.Ceil(row.Online / 100)
	row.HTTP429, row.FalseEnds = w.refused, o.falseEnds
	row.tally(o)
	row.load(w, r)
	row.bound(cfg)
	return row, nil
}

// length is how many sessions were online at a time.
type length struct {
	at     time.Time
	online int
}

// longest is the greatest length since a time: an age is the work of the list as
// it was meanwhile.
func longest(lengths []length, since time.Time) int {
	n := 0
	for i := len(lengths) - 1; i >= 0; i-- {
		if n = max(n, lengths[i].online); lengths[i].at.Before(since) {
			break
		}
	}
	return n
}

// oldest is the age that no location should exceed, in seconds: two rounds of the
// list beside the probes for arrivals, where it is sorted so that there can be any.
func oldest(online int, order simulator.Order) float64 {
	pages, probes := max(1, math.Ceil(float64(online)/100)), 0.0
	if order == simulator.NewestFirst || order == simulator.OldestFirst {
		probes = 1 / (1 + math.Sqrt(pages))
	}
	return 2 * pages / (1 - probes)
}

// tally fills in the delays. A change that was never seen is charged with what
// was left of the run, and half an hour, so that missing it never pays; a session
// counts as missed where no event ever told of it.
func (row *Row) tally(o *observer) {
	end := epoch.Add(o.run.Warmup + o.run.Horizon + o.run.Tail)
	penalty := (o.run.Horizon + 30*time.Minute).Seconds()
	// What changed just before the end had no time to be seen.
	grace := time.Duration(max(60, 4*row.MaxStaleness)) * time.Second
	for _, l := range o.lives {
		if !l.started && o.measured(l.start) && l.start.Before(end.Add(-grace)) {
			o.starts = append(o.starts, penalty)
			row.Missed++
		}
		if l.started && !l.ended && !l.end.IsZero() && o.measured(l.end) && l.end.Before(end.Add(-grace)) {
			o.ends = append(o.ends, penalty)
		}
	}
	slices.Sort(o.starts)
	slices.Sort(o.ends)
	row.StartMean, row.StartP50, row.StartP95, row.StartP99 = mean(o.starts), quantile(o.starts, 0.5), quantile(o.starts, 0.95), quantile(o.starts, 0.99)
	row.EndMean, row.EndP50, row.EndP95, row.EndP99 = mean(o.ends), quantile(o.ends, 0.5), quantile(o.ends, 0.95), quantile(o.ends, 0.99)
	row.EndMax, row.Ends = quantile(o.ends, 1), len(o.ends)
	n := float64(len(o.starts) + len(o.ends))
	row.AllMean = (row.StartMean*float64(len(o.starts)) + row.EndMean*float64(len(o.ends))) / max(1, n)
}

// load fills in what was asked of the platform: the requests for sessions of the
// horizon, and the most in any 60 s that one limit saw.
func (row *Row) load(w *wire, r Run) {
	from := epoch.Add(r.Warmup)
	for endpoint, requests := range w.requests {
		first := 0
		for i, t := range requests {
			for t.Sub(requests[first]) >= time.Minute {
				first++
			}
			row.MaxRequests60s = max(row.MaxRequests60s, i-first+1)
			if endpoint == simulator.EndpointSessions && !t.Before(from) {
				row.Requests++
			}
		}
	}
}

// bound fills in the lower bound of the mean delay of ends by listing, at 60
// requests a minute: (Σ√h)²/(200·B·Σh) over the sessions with end rates h, which
// is N/(200·B) where all are equal.
func (row *Row) bound(cfg simulator.Config) {
	total, roots, rates := 0.0, 0.0, 0.0
	for _, l := range cfg.Locations {
		stay := l.Stay.Mean
		if stay == 0 {
			stay = cfg.Stay.Mean
		}
		if stay == 0 {
			stay = 45 * time.Minute
		}
		h := 1 / stay.Seconds()
		total += l.MeanOnline
		roots += l.MeanOnline * math.Sqrt(h)
		rates += l.MeanOnline * h
	}
	if rates == 0 {
		return
	}
	row.Bound = roots * roots / (200 * rates) * row.Online / total
	row.RatioBound = row.EndMean / row.Bound
}

func budgets(shared bool, now time.Time) map[platform.Endpoint]*budget.Budget {
	const limit = 60
	all := make(map[platform.Endpoint]*budget.Budget)
	sessions := budget.New(limit, nil, now)
	for _, e := range []platform.Endpoint{platform.Sessions, platform.Locations, platform.Guests} {
		if all[e] = sessions; !shared && e != platform.Sessions {
			all[e] = budget.New(limit, nil, now)
		}
	}
	return all
}

func strategy(policy string, weight float64) (plan.Strategy, error) {
	switch policy {
	case "round-robin":
		return &plan.RoundRobin{}, nil
	case "sqrt":
		return &plan.SquareRoot{}, nil
	case "sweep":
		return &plan.SweepOnly{}, nil
	case "adaptive", Checked:
		return &plan.Adaptive{StartWeight: weight}, nil
	}
	return nil, fmt.Errorf("policy %q is not known; use one of %v", policy, Policies())
}

func orderName(o simulator.Order) string {
	switch o {
	case simulator.NewestFirst:
		return "newest"
	case simulator.OldestFirst:
		return "oldest"
	}
	return "none"
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / max(1, float64(len(xs)))
}

// quantile of sorted values.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	return xs[min(len(xs)-1, int(q*float64(len(xs))))]
}
