package freshness

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/guestflow/guestflow/diff"
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
	// Addresses are those of the platform, and Answers, one of AnswerNames, what the
	// look-up by address says of them; only a policy that checks by them cares.
	Addresses simulator.AddressSharing
	Answers   string
	// Restart: in the middle of the horizon the process is killed, and the next one begins
	// half a minute later.
	Restart bool
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
	Addresses string `json:"addresses,omitempty"`
	// Answers is what the look-up says where that is not the documented way.
	Answers     string  `json:"answers,omitempty"`
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
	// What changed around a restart counts here alone: while the process was away, from when
	// the next one began, and in two rounds of the list after that. RatioRestart is the
	// delay of ends in parts of these two rounds and 10 s.
	RestartStartP99 float64 `json:"restart_start_p99_s,omitempty"`
	RestartP99      float64 `json:"restart_end_p99_s,omitempty"`
	RatioRestart    float64 `json:"ratio_restart,omitempty"`
	// RatioLists is the mean over all changes in parts of that without addresses.
	RatioLists float64 `json:"ratio_lists_alone,omitempty"`
	// RatioListsError is the standard error of that: of the mean over the seeds of the ratio
	// on the same traces. Zero with one seed.
	RatioListsError float64 `json:"ratio_lists_alone_error,omitempty"`
	// Proof is the part of the measured time in which addresses were proof, Contradictions
	// how often they were found to be wrong.
	Proof          float64 `json:"proof,omitempty"`
	Contradictions int     `json:"contradictions,omitempty"`

	seed uint64
}

// epoch is when every run begins: noon of a day, UTC.
var epoch = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Do measures.
func (r Run) Do(ctx context.Context) (Row, error) {
	cfg, err := r.platform()
	if err != nil {
		return Row{}, err
	}
	clk := virtual.New(epoch)
	defer clk.Finish()
	t := newTrace(r.Trace, clk)
	o := &observer{run: &r, clock: clk, trace: t, lives: make(map[string]*life)}
	cfg.Truth = o.truth
	sim := simulator.New(cfg, clk.Now)
	w := &wire{sim: sim, clock: clk, trace: t, random: luck(r.Seed), bare: r.Bare, shared: r.SharedBudget, requests: make(map[simulator.Endpoint][]time.Time)}
	settings := poller.Settings{
		Account: "bench", Platform: w, Store: newMemory(o.committed), Clock: clk, Executor: clk,
		Budgets: budgets(r.SharedBudget, clk.Now()), Observer: r.Observer, FiguresWait: 30 * time.Second,
		// Starts and ends are what is measured; events of traffic would be most of
		// the work.
		Rules: diff.Rules{TrafficMinBytes: math.MaxInt64},
	}
	row := Row{seed: r.Seed, Estate: r.Estate, Policy: r.Policy, Order: orderName(r.Order), SharedBudget: r.SharedBudget, StartWeight: r.StartWeight}
	if r.Policy == Checked {
		settings.Addresses, row.Addresses, row.Answers = w, cfg.Addresses.String(), r.Answers
	}
	p, err := r.process(settings, t)
	if err != nil {
		return Row{}, err
	}
	ages := gauge{run: &r, row: &row}
	for end := epoch.Add(r.Warmup + r.Horizon + r.Tail); clk.Now().Before(end); {
		if r.Restart && o.died.IsZero() && clk.Now().Sub(epoch) >= r.Warmup+r.Horizon/2 {
			o.died = clk.Now()
			if err := clk.Sleep(ctx, away); err != nil {
				return Row{}, err
			}
			o.born = clk.Now()
			if p, err = r.process(settings, t); err != nil {
				return Row{}, err
			}
			rounds := oldest(sim.Count(simulator.Query{Online: simulator.Online}), r.Order)
			o.settled = o.born.Add(time.Duration(rounds * float64(time.Second)))
		}
		if err := p.Step(ctx); err != nil {
			return Row{}, fmt.Errorf("%s, %s: %w", r.Estate, r.Policy, err)
		}
		ages.read(clk.Now(), p, sim, o)
	}
	row.Online = o.crowd / max(1, o.passed)
	row.Pages = math.Ceil(row.Online / 100)
	row.HTTP429, row.FalseEnds = w.refused, o.falseEnds
	row.tally(o)
	row.load(w, r)
	row.bound(cfg)
	return row, nil
}

// away is how long it takes after a kill until the next process begins.
const away = 30 * time.Second

// platform is what the run polls.
func (r *Run) platform() (cfg simulator.Config, err error) {
	if r.Config != nil {
		cfg = *r.Config
	} else if cfg, err = simulator.Estate(r.Estate); err != nil {
		return cfg, err
	}
	cfg.Seed, cfg.Order, cfg.SharedLimit, cfg.HasLocations = r.Seed, r.Order, r.SharedBudget, !r.Bare
	cfg.LivesOnly, cfg.HistoryBefore = true, 10*time.Minute
	if r.Config == nil {
		cfg.Addresses = r.Addresses
	}
	return cfg, answer(&cfg, r.Answers)
}

// process begins one on what former ones have left. What was learned and is not in the
// store dies with a process, and so do the answers that it was waiting for.
func (r *Run) process(s poller.Settings, t *trace) (*poller.Poller, error) {
	p := poller.New(s)
	var err error
	if p.Strategy, err = strategy(r.Policy, r.StartWeight); err != nil {
		return nil, err
	}
	if t != nil {
		p.Strategy = traced{p.Strategy, t}
	}
	return p, nil
}

// tally fills in the delays. A change that was never seen is charged with what
// was left of the run, and half an hour, so that missing it never pays; a session
// counts as missed where no event ever told of it.
func (row *Row) tally(o *observer) {
	end := epoch.Add(o.run.Warmup + o.run.Horizon + o.run.Tail)
	penalty := (o.run.Horizon + 30*time.Minute).Seconds()
	// What changed just before the end had no time to be seen.
	grace := time.Duration(max(60, 4*row.MaxStaleness)) * time.Second
	unseen := func(change time.Time, usual, around *[]float64) {
		if o.delayed(change) {
			usual = around
		}
		*usual = append(*usual, penalty)
	}
	for _, l := range o.lives {
		if !l.started && o.measured(l.start) && l.start.Before(end.Add(-grace)) {
			unseen(l.start, &o.starts, &o.startsAround)
			row.Missed++
		}
		if l.started && !l.ended && !l.end.IsZero() && o.measured(l.end) && l.end.Before(end.Add(-grace)) {
			unseen(l.end, &o.ends, &o.endsAround)
		}
	}
	for _, delays := range [][]float64{o.starts, o.ends, o.startsAround, o.endsAround} {
		slices.Sort(delays)
	}
	row.StartMean, row.StartP50, row.StartP95, row.StartP99 = mean(o.starts), quantile(o.starts, 0.5), quantile(o.starts, 0.95), quantile(o.starts, 0.99)
	row.EndMean, row.EndP50, row.EndP95, row.EndP99 = mean(o.ends), quantile(o.ends, 0.5), quantile(o.ends, 0.95), quantile(o.ends, 0.99)
	row.EndMax, row.Ends = quantile(o.ends, 1), len(o.ends)
	n := float64(len(o.starts) + len(o.ends))
	row.AllMean = (row.StartMean*float64(len(o.starts)) + row.EndMean*float64(len(o.ends))) / max(1, n)
	if !o.born.IsZero() {
		row.RestartStartP99, row.RestartP99 = quantile(o.startsAround, 0.99), quantile(o.endsAround, 0.99)
		row.RatioRestart = row.RestartP99 / (o.settled.Sub(o.born).Seconds() + 10)
	}
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
