package freshness

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
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
}

// Variant is a policy on a platform of one kind.
type Variant struct {
	Policy string
	Order  simulator.Order
	// Shared: all endpoints count against one limit. Bare: no /locations either.
	Shared, Bare bool
	// StartWeight of the adaptive policy; zero is its default, 1.
	StartWeight float64
	// Addresses are those of the platform.
	Addresses simulator.AddressSharing
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
	for sharing := simulator.AddressesUnique; sharing <= simulator.AddressesPerVenue; sharing++ {
		p.Variants = append(p.Variants,
			Variant{Policy: Checked, Order: simulator.NewestFirst, Addresses: sharing},
			Variant{Policy: Checked, Order: simulator.NewestFirst, Addresses: sharing, Shared: true},
		)
	}
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
			{Policy: Checked, Order: simulator.NewestFirst},
		},
	}
}

// Weigh replaces the variants by the adaptive policy with each of the weights, to
// show how they move the balance between starts and ends.
func (p *Plan) Weigh(weights []float64) {
	p.Variants = nil
	for _, w := range weights {
		p.Variants = append(p.Variants, Variant{Policy: "adaptive", Order: simulator.NewestFirst, StartWeight: w})
	}
}

// Run measures on all cores, and calls row with each mean over the seeds, in the
// order of the plan and as soon as it is complete.
func (p Plan) Run(ctx context.Context, row func(Row)) error {
	// The heap is small, and most of it lives until its run ends.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
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
					Seed: seed, Warmup: p.Warmup, Horizon: p.Horizon, StartWeight: v.StartWeight, Addresses: v.Addresses,
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
		m.RatioAge = max(m.RatioAge, r.RatioAge)
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

// Table writes rows as Markdown, each at once.
type Table struct {
	w   io.Writer
	err error
}

// NewTable begins a table.
func NewTable(w io.Writer) *Table {
	t := &Table{w: w}
	t.line("estate", "policy", "order", "online", "all mean", "start mean", "start p99", "end mean", "end p99", "× round robin", "× bound", "requests", "429", "staleness", "× 2P/(B−x)", "false ends", "missed")
	t.line(strings.Split(strings.Repeat("---|", 17), "|")[:17]...)
	return t
}

// Row adds a line; delays are in seconds.
func (t *Table) Row(r Row) {
	policy := r.Policy
	if r.Addresses != "" {
		policy += ", " + r.Addresses
	}
	if r.SharedBudget {
		policy += ", shared budget"
	}
	if r.StartWeight > 0 {
		policy += fmt.Sprintf(", weight %g", r.StartWeight)
	}
	seconds := func(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }
	ratio := func(x float64) string {
		if x == 0 {
			return "–"
		}
		return strconv.FormatFloat(x, 'f', 3, 64)
	}
	t.line(r.Estate, policy, r.Order, fmt.Sprintf("%.0f", r.Online), seconds(r.AllMean), seconds(r.StartMean), seconds(r.StartP99),
		seconds(r.EndMean), seconds(r.EndP99), ratio(r.RatioRoundRobin), ratio(r.RatioBound), fmt.Sprintf("%.0f", r.Requests),
		strconv.Itoa(r.HTTP429), fmt.Sprintf("%.0f", r.MaxStaleness), ratio(r.RatioAge), strconv.Itoa(r.FalseEnds), strconv.Itoa(r.Missed))
}

func (t *Table) line(cells ...string) {
	if _, err := fmt.Fprintf(t.w, "| %s |\n", strings.Join(cells, " | ")); err != nil && t.err == nil {
		t.err = fmt.Errorf("writing the table: %w", err)
	}
}

// Err returns the first error of the writer.
func (t *Table) Err() error { return t.err }
