package freshness

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// Plan is what the benchmark runs: every estate by every variant with every
// seed.
type Plan struct {
	Estates         []string
	Variants        []Variant
	Seeds           []uint64
	Warmup, Horizon time.Duration
	StartWeight     float64
}

// Variant is a policy on a platform of one kind.
type Variant struct {
	Policy string
	Order  simulator.Order
	// Shared: all endpoints count against one limit. Bare: no /locations either.
	Shared, Bare bool
}

// Full is the whole benchmark: minutes of computing.
func Full() Plan {
	p := Plan{Estates: simulator.Estates(), Seeds: []uint64{1, 2, 3}, Warmup: 30 * time.Minute, Horizon: 2 * time.Hour}
	for _, policy := range Policies() {
		p.Variants = append(p.Variants, Variant{Policy: policy, Order: simulator.NewestFirst})
	}
	p.Variants = append(p.Variants,
		Variant{Policy: "adaptive", Order: simulator.OldestFirst},
		Variant{Policy: "adaptive", Order: simulator.Unordered},
		Variant{Policy: "adaptive", Order: simulator.NewestFirst, Shared: true},
	)
	return p
}

// Short is enough to see whether something broke: seconds of computing.
func Short() Plan {
	return Plan{
		Estates: simulator.Estates(), Seeds: []uint64{1}, Warmup: 10 * time.Minute, Horizon: 20 * time.Minute,
		Variants: []Variant{
			{Policy: "round-robin", Order: simulator.NewestFirst},
			{Policy: "adaptive", Order: simulator.NewestFirst},
			{Policy: "adaptive", Order: simulator.Unordered},
		},
	}
}

// Run measures on all cores, and calls row with each mean over the seeds, in the
// order of the plan.
func (p Plan) Run(ctx context.Context, row func(Row)) error {
	type job struct {
		at  int
		run Run
	}
	var jobs []job
	n := 0
	for _, estate := range p.Estates {
		for _, v := range p.Variants {
			for _, seed := range p.Seeds {
				jobs = append(jobs, job{n, Run{
					Estate: estate, Policy: v.Policy, Order: v.Order, SharedBudget: v.Shared, Bare: v.Bare,
					Seed: seed, Warmup: p.Warmup, Horizon: p.Horizon, StartWeight: p.StartWeight,
				}})
			}
			n++
		}
	}
	rows := make([][]Row, n)
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		printed int
		failed  error
		todo    = make(chan job)
		robin   = make(map[string]float64)
	)
	finish := func(j job, r Row, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && failed == nil {
			failed = err
		}
		rows[j.at] = append(rows[j.at], r)
		for printed < n && len(rows[printed]) == len(p.Seeds) && failed == nil {
			m := average(rows[printed])
			if m.Policy == "round-robin" {
				robin[m.Estate] = m.AllMean
			}
			if base := robin[m.Estate]; base > 0 {
				m.RatioRoundRobin = m.AllMean / base
			}
			row(m)
			printed++
		}
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range todo {
				r, err := j.run.Do(ctx)
				finish(j, r, err)
			}
		})
	}
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	wg.Wait()
	return failed
}

// average is the mean over seeds; of counts that must be zero and of maxima it is
// the sum and the maximum.
func average(rows []Row) Row {
	m := rows[0]
	for _, r := range rows[1:] {
		for _, f := range [][2]*float64{
			{&m.Online, &r.Online}, {&m.Pages, &r.Pages}, {&m.AllMean, &r.AllMean},
			{&m.StartMean, &r.StartMean}, {&m.StartP50, &r.StartP50}, {&m.StartP95, &r.StartP95}, {&m.StartP99, &r.StartP99},
			{&m.EndMean, &r.EndMean}, {&m.EndP50, &r.EndP50}, {&m.EndP95, &r.EndP95}, {&m.EndP99, &r.EndP99},
			{&m.Bound, &r.Bound}, {&m.RatioBound, &r.RatioBound}, {&m.Requests, &r.Requests},
		} {
			*f[0] += *f[1]
		}
		m.MaxRequests60s = max(m.MaxRequests60s, r.MaxRequests60s)
		m.MaxStaleness = max(m.MaxStaleness, r.MaxStaleness)
		m.HTTP429 += r.HTTP429
		m.FalseEnds += r.FalseEnds
		m.Missed += r.Missed
	}
	n := float64(len(rows))
	for _, f := range []*float64{
		&m.Online, &m.Pages, &m.AllMean, &m.StartMean, &m.StartP50, &m.StartP95, &m.StartP99,
		&m.EndMean, &m.EndP50, &m.EndP95, &m.EndP99, &m.Bound, &m.RatioBound, &m.Requests,
	} {
		*f /= n
	}
	return m
}

// Table writes rows as Markdown.
type Table struct{ w *tabwriter.Writer }

// NewTable begins a table.
func NewTable(w io.Writer) *Table {
	t := &Table{tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)}
	fmt.Fprintln(t.w, "| estate\t| policy\t| order\t| online\t| all mean\t| start mean\t| start p99\t| end mean\t| end p99\t| × round robin\t| × bound\t| requests\t| 429\t| staleness\t| false ends\t| missed\t|")
	fmt.Fprintln(t.w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	return t
}

// Row adds a line; delays are in seconds.
func (t *Table) Row(r Row) {
	policy := r.Policy
	if r.SharedBudget {
		policy += ", shared budget"
	}
	fmt.Fprintf(t.w, "| %s\t| %s\t| %s\t| %.0f\t| %.1f\t| %.1f\t| %.1f\t| %.1f\t| %.1f\t| %.3f\t| %.2f\t| %.0f\t| %d\t| %.0f\t| %d\t| %d\t|\n",
		r.Estate, policy, r.Order, r.Online, r.AllMean, r.StartMean, r.StartP99, r.EndMean, r.EndP99,
		r.RatioRoundRobin, r.RatioBound, r.Requests, r.HTTP429, r.MaxStaleness, r.FalseEnds, r.Missed)
}

// Flush writes what is buffered.
func (t *Table) Flush() error { return t.w.Flush() }
