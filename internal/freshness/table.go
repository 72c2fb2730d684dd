package freshness

import (
	"context"
	"fmt"
	"io"
	"math"
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
	// Warmups and Horizons of single estates, where these are longer.
	Warmups, Horizons map[string]time.Duration
}

// Variant is a policy on a platform of one kind.
type Variant struct {
	Policy string
	Order  simulator.Order
	// Shared: all endpoints count against one limit. Bare: no /locations either.
	Shared, Bare bool
	// StartWeight of the adaptive policy; zero is its default, 1.
	StartWeight float64
	// Addresses are those of the platform, Answers what its look-up by address says; see
	// Run.
	Addresses simulator.AddressSharing
	Answers   string
	// Alone, where it is set, is the only estate that it is for.
	Alone string
}

// lists is the variant that does without addresses.
func (v Variant) lists() Variant {
	return Variant{Policy: "adaptive", Order: v.Order, Shared: v.Shared, Bare: v.Bare, StartWeight: v.StartWeight}
}

// Full is the whole benchmark: minutes of computing.
func Full() Plan {
	p := Plan{Estates: simulator.Estates(), Seeds: Seeds(3), Warmup: 30 * time.Minute, Horizon: time.Hour}
	// So few end in E1 that it takes an hour to learn what addresses tell. E7 has bursts
	// after an hour, and 40 minutes later.
	p.Warmups = map[string]time.Duration{"E1": 75 * time.Minute}
	p.Horizons = map[string]time.Duration{"E7": 90 * time.Minute}
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
	for _, answers := range AnswerNames() {
		p.Variants = append(p.Variants, Variant{Policy: Checked, Order: simulator.NewestFirst, Answers: answers, Alone: answersEstate})
	}
	return p
}

// answersEstate is the estate in which it is measured what the look-up by address may say.
const answersEstate = "E2"

// Short is enough to see whether something broke: seconds of computing.
func Short() Plan {
	return Plan{
		Estates: simulator.Estates(), Seeds: Seeds(1), Warmup: 10 * time.Minute, Horizon: 20 * time.Minute,
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
	var of []Variant
	n := 0
	for _, estate := range p.Estates {
		for _, v := range p.Variants {
			if v.Alone != "" && v.Alone != estate {
				continue
			}
			of = append(of, v)
			for _, seed := range p.Seeds {
				jobs = append(jobs, job{n, Run{
					Estate: estate, Policy: v.Policy, Order: v.Order, SharedBudget: v.Shared, Bare: v.Bare, Seed: seed,
					Warmup: max(p.Warmup, p.Warmups[estate]), Horizon: max(p.Horizon, p.Horizons[estate]), StartWeight: v.StartWeight, Addresses: v.Addresses, Answers: v.Answers, Restart: true,
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
		means   = make(map[measured]float64)
		alone   = make(map[measured][]Row)
	)
	finish := func(j job, r Row, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && failed == nil {
			failed = err
		}
		rows[j.at] = append(rows[j.at], r)
		for printed < n && len(rows[printed]) == len(p.Seeds) && failed == nil {
			m, v := average(rows[printed]), of[printed]
			means[measured{m.Estate, v}], alone[measured{m.Estate, v}] = m.AllMean, rows[printed]
			m.RatioRoundRobin = ratio(m.AllMean, means[measured{m.Estate, Variant{Policy: "round-robin"}}])
			if v.Policy == Checked {
				m.RatioLists = ratio(m.AllMean, means[measured{m.Estate, v.lists()}])
				m.RatioListsError = ratioError(rows[printed], alone[measured{m.Estate, v.lists()}])
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

// measured names a mean.
type measured struct {
	estate string
	Variant
}

// ratio is zero where there is nothing to compare with.
func ratio(x, base float64) float64 {
	if base == 0 {
		return 0
	}
	return x / base
}

// ratioError is the standard error of the mean ratio of two policies on the same traces;
// zero where fewer than two seeds have both.
func ratioError(rows, base []Row) float64 {
	of := make(map[uint64]float64)
	for i := range base {
		of[base[i].seed] = base[i].AllMean
	}
	var ratios []float64
	for i := range rows {
		if b := of[rows[i].seed]; b > 0 {
			ratios = append(ratios, rows[i].AllMean/b)
		}
	}
	n, middle, squares := float64(len(ratios)), mean(ratios), 0.0
	for _, r := range ratios {
		squares += (r - middle) * (r - middle)
	}
	return math.Sqrt(squares / max(1, n*(n-1)))
}

// Seeds are the first n: each has traces of its own.
func Seeds(n int) []uint64 {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	return seeds
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
			{&m.RestartStartP99, &r.RestartStartP99}, {&m.RestartP99, &r.RestartP99}, {&m.RatioRestart, &r.RatioRestart}, {&m.Proof, &r.Proof},
		} {
			*f[0] += *f[1]
		}
		m.MaxRequests60s = max(m.MaxRequests60s, r.MaxRequests60s)
		m.MaxStaleness = max(m.MaxStaleness, r.MaxStaleness)
		m.RatioAge = max(m.RatioAge, r.RatioAge)
		m.HTTP429 += r.HTTP429
		m.FalseEnds += r.FalseEnds
		m.Missed += r.Missed
		m.Contradictions += r.Contradictions
	}
	n := float64(len(rows))
	for _, f := range []*float64{
		&m.Online, &m.Pages, &m.AllMean, &m.StartMean, &m.StartP50, &m.StartP95, &m.StartP99,
		&m.EndMean, &m.EndP50, &m.EndP95, &m.EndP99, &m.Bound, &m.RatioBound, &m.Requests,
		&m.RestartStartP99, &m.RestartP99, &m.RatioRestart, &m.Proof,
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

// columns of a table, in their order.
var columns = []string{
	"estate", "policy", "order", "online", "all mean", "start mean", "start p99", "end mean", "end p99", "× round robin", "× lists alone", "× bound",
	"end p99, restart", "× 2 rounds + 10 s", "requests", "in 60 s", "429", "staleness", "× 2P/(B−x)", "false ends", "missed",
}

// NewTable begins a table.
func NewTable(w io.Writer) *Table {
	t := &Table{w: w}
	t.line(columns...)
	t.line(strings.Split(strings.Repeat("---|", len(columns)), "|")[:len(columns)]...)
	return t
}

// Row adds a line; delays are in seconds.
func (t *Table) Row(r Row) {
	policy := r.Policy
	for _, more := range []string{r.Addresses, r.Answers} {
		if more != "" {
			policy += ", " + more
		}
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
		seconds(r.EndMean), seconds(r.EndP99), ratio(r.RatioRoundRobin), ratio(r.RatioLists), ratio(r.RatioBound),
		seconds(r.RestartP99), ratio(r.RatioRestart), fmt.Sprintf("%.0f", r.Requests), strconv.Itoa(r.MaxRequests60s),
		strconv.Itoa(r.HTTP429), fmt.Sprintf("%.0f", r.MaxStaleness), ratio(r.RatioAge), strconv.Itoa(r.FalseEnds), strconv.Itoa(r.Missed))
}

func (t *Table) line(cells ...string) {
	if _, err := fmt.Fprintf(t.w, "| %s |\n", strings.Join(cells, " | ")); err != nil && t.err == nil {
		t.err = fmt.Errorf("writing the table: %w", err)
	}
}

// Err returns the first error of the writer.
func (t *Table) Err() error { return t.err }
