package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/plan"
)

// livePlan is what a running guestflow serves at /plan. Times are in seconds,
// rates by the hour, requests by the minute.
type livePlan struct {
	Account          string             `json:"account"`
	State            string             `json:"state"`
	Online           int                `json:"online"`
	Pages            int                `json:"pages"`
	Limit            int                `json:"limit"`
	Order            string             `json:"order"`
	Roams            bool               `json:"roams"`
	HistoryGaps      int                `json:"history_gaps"`
	Backfill         string             `json:"backfill,omitempty"`
	HeldEnds         int                `json:"held_ends"`
	Missing          int                `json:"missing"`
	Hidden           float64            `json:"hidden"`
	Displaced        int                `json:"displaced"`
	Lag              float64            `json:"lag"`
	Settling         float64            `json:"settling"` // for how long yet changed starts prove nothing
	Census           *censusPlan        `json:"census,omitempty"`
	AddressChecks    addressPlan        `json:"address_checks"`
	Starts           changePlan         `json:"starts"`
	Ends             changePlan         `json:"ends"`
	RoundRobinMean   float64            `json:"round_robin_mean"`
	Staleness        float64            `json:"staleness"`
	MaxStaleness     float64            `json:"max_staleness"`
	StalenessKept    bool               `json:"staleness_kept"`
	Next             string             `json:"next"` // the newest decision, and why it was made
	Why              string             `json:"why"`
	RequestsByLook   map[string]float64 `json:"requests_by_look"`
	LocationsByDelay []locationPlan     `json:"locations"`
}

// censusPlan compares the platform's count of the sessions online with what was
// known then, Age seconds ago.
type censusPlan struct {
	Counted int     `json:"counted"`
	Known   int     `json:"known"`
	Age     float64 `json:"age"`
}

// addressPlan is what is known of checks by address. State is off, learning,
// established or useless; the delays are those that they permit once established, 0
// where they permit nothing that lists do not.
type addressPlan struct {
	State          string  `json:"state"`
	LiveCases      int     `json:"live_cases"`
	LiveNeeded     int     `json:"live_needed"`
	GoneCases      int     `json:"gone_cases"`
	GoneNeeded     int     `json:"gone_needed"`
	StayedCases    int     `json:"stayed_cases"`
	StayedNeeded   int     `json:"stayed_needed"`
	Contradictions int     `json:"contradictions"`
	Lost           int     `json:"lost"`
	Alone          float64 `json:"alone"`
	Located        float64 `json:"located"`
	StartMean      float64 `json:"start_mean"`
	EndMean        float64 `json:"end_mean"`
	// ListStartMean and ListEndMean are the delays by lists alone.
	ListStartMean float64 `json:"list_start_mean"`
	ListEndMean   float64 `json:"list_end_mean"`
}

func addressPlanOf(a poller.AddressPlan, f plan.Forecast) addressPlan {
	p := addressPlan{
		State: "off", LiveCases: a.Live, LiveNeeded: a.LiveNeeded, GoneCases: a.Gone, GoneNeeded: a.GoneNeeded,
		StayedCases: a.Stayed, StayedNeeded: a.StayedNeeded,
		Contradictions: a.Contradictions, Lost: a.Lost, Alone: a.Alone, Located: a.Located,
		StartMean: a.Forecast.StartMean, EndMean: a.Forecast.EndMean,
		ListStartMean: f.StartMean, ListEndMean: f.EndMean,
	}
	switch {
	case !a.On:
	case a.Useless:
		p.State = "useless"
	case a.Established:
		p.State = "established"
	default:
		p.State = "learning"
	}
	return p
}

// write says what checks by address are doing, or would bring, in one line.
func (a addressPlan) write(out io.Writer) {
	fmt.Fprint(out, "address checks: ")
	switch a.State {
	case "off":
		fmt.Fprint(out, "off")
	case "established":
		fmt.Fprintf(out, "proof, by %d cases of who is online and %d of who had left", a.LiveCases, a.GoneCases)
	case "useless":
		fmt.Fprint(out, "none, since the list tells as soon")
	default:
		fmt.Fprintf(out, "being learned: %d of %d cases of who is online agree, %d of %d of who has left, and %d of %d sessions kept their address to the end",
			a.LiveCases, a.LiveNeeded, a.GoneCases, a.GoneNeeded, a.StayedCases, a.StayedNeeded)
	}
	if a.Contradictions > 0 {
		fmt.Fprintf(out, "; %d answers were wrong", a.Contradictions)
	}
	switch {
	case a.Located == 0:
		fmt.Fprint(out, "; no session's address is known")
	case a.EndMean == 0:
		fmt.Fprint(out, "; they share the limit of the lists, so that they bring little")
	case a.State == "off" && a.EndMean >= a.ListEndMean:
		fmt.Fprint(out, "; they would tell nothing sooner than the list")
	case a.State == "off":
		fmt.Fprintf(out, "; GUESTFLOW_ADDRESS_CHECKS=true would have ends seen after %.1f s instead of %.1f s, and starts after %.1f s instead of %.1f s",
			a.EndMean, a.ListEndMean, a.StartMean, a.ListStartMean)
	case a.State == "established":
		fmt.Fprintf(out, "; ends are expected after %.1f s, without them after %.1f s", a.EndMean, a.ListEndMean)
	}
	if a.Located > 0 {
		fmt.Fprintf(out, "; %.0f %% of the sessions are alone at their address", 100*a.Alone)
	}
	fmt.Fprintln(out)
}

// changePlan compares what is expected of one kind of change with what was
// measured of the newest.
type changePlan struct {
	PerHour      float64 `json:"per_hour"`
	ExpectedMean float64 `json:"expected_mean"`
	ExpectedP95  float64 `json:"expected_p95"`
	MeasuredP50  float64 `json:"measured_p50"`
	MeasuredP95  float64 `json:"measured_p95"`
	Measured     int     `json:"measured"`
}

type locationPlan struct {
	ID            string  `json:"id"`
	Name          string  `json:"name,omitempty"`
	Online        int     `json:"online"`
	Age           float64 `json:"age"`
	StartsPerHour float64 `json:"starts_per_hour"`
	EndsPerHour   float64 `json:"ends_per_hour"`
}

func (m *member) plan(of *account.Account, now time.Time) livePlan {
	s := of.Status(now)
	f := s.Plan.Forecast
	p := livePlan{
		Account: m.cfg.Account, State: string(s.State), Online: s.Online(), Pages: f.Pages, Order: s.Plan.Order, Roams: s.Plan.Roams,
		HistoryGaps: s.Plan.Gaps, HeldEnds: s.Plan.Pending, Missing: s.Plan.Missing, Hidden: s.Plan.Hidden, Displaced: s.Plan.Displaced, Lag: s.Plan.Lag.Seconds(), Settling: s.Plan.Settling.Seconds(), RoundRobinMean: f.RoundRobin,
		Staleness: s.Staleness().Seconds(), MaxStaleness: m.cfg.MaxStaleness.Seconds(), StalenessKept: !s.Plan.Late,
		Starts: changePlan{PerHour: s.Plan.Starts, ExpectedMean: f.StartMean, ExpectedP95: f.StartP95},
		Ends:   changePlan{PerHour: s.Plan.Ends, ExpectedMean: f.EndMean, ExpectedP95: f.EndP95},
		Next:   s.Plan.Look.String(), Why: s.Plan.Why,
		RequestsByLook: m.metrics.recent.perMinute(now), LocationsByDelay: []locationPlan{},
	}
	if !s.Plan.Past.From.IsZero() {
		p.Backfill = explainPast(s.Plan.Past)
	}
	if c := s.Plan.Count; !c.At.IsZero() {
		p.Census = &censusPlan{c.Counted, c.Known, now.Sub(c.At).Seconds()}
	}
	p.AddressChecks = addressPlanOf(s.Plan.Addresses, f)
	if a := p.AddressChecks; a.State == "established" && a.EndMean > 0 {
		with := s.Plan.Addresses.Forecast
		p.Starts.ExpectedMean, p.Starts.ExpectedP95 = with.StartMean, with.StartP95
		p.Ends.ExpectedMean, p.Ends.ExpectedP95 = with.EndMean, with.EndP95
	}
	for _, b := range s.Budgets {
		if b.Endpoint == "sessions" {
			p.Limit = b.Limit
		}
	}
	p.Starts.MeasuredP50, p.Starts.MeasuredP95, p.Starts.Measured = m.metrics.recent.quantiles(events.Started)
	p.Ends.MeasuredP50, p.Ends.MeasuredP95, p.Ends.Measured = m.metrics.recent.quantiles(events.Ended)
	for _, l := range s.Locations {
		p.LocationsByDelay = append(p.LocationsByDelay, locationPlan{l.ID, l.Name, l.Online, l.Age.Seconds(), l.Starts, l.Ends})
	}
	slices.SortFunc(p.LocationsByDelay, func(a, b locationPlan) int {
		if a.Age != b.Age {
			if a.Age > b.Age {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return p
}

// asked returns the account that a request asks about, as it runs. Where there is none
// it has answered, and the account is nil.
func (a *app) asked(w http.ResponseWriter, r *http.Request) (*member, *account.Account) {
	m, err := a.fleet.find(r.URL.Query().Get("account"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return nil, nil
	}
	opened := m.open()
	if opened == nil {
		http.Error(w, "account "+m.cfg.Account+" does not run here", http.StatusServiceUnavailable)
	}
	return m, opened
}

func (a *app) servePlan(w http.ResponseWriter, r *http.Request) {
	m, opened := a.asked(w, r)
	if opened == nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(m.plan(opened, time.Now()))
}

// fetchPlan asks the guestflow that runs with this configuration.
func fetchPlan(ctx context.Context, cfg Config, account string) (livePlan, error) {
	var p livePlan
	url, err := cfg.ownURL("/plan" + ofAccount(account))
	if err != nil {
		return p, fmt.Errorf("plan: %w, or reckon with --online and --locations", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return p, err
	}
	if cfg.OccupancyToken != "" {
		request.Header.Set("Authorization", "Bearer "+cfg.OccupancyToken)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return p, fmt.Errorf("plan: no guestflow answers at %s: %w; start it, set GUESTFLOW_HTTP_ADDR as it has it, or reckon with --online and --locations", url, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		if said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<16)); strings.Contains(string(said), "account") {
			return p, fmt.Errorf("plan: %s", printable(strings.TrimSpace(string(said))))
		}
		return p, fmt.Errorf("plan: %s answers %s: it is no guestflow of this version; look at GUESTFLOW_HTTP_ADDR", url, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<20)).Decode(&p); err != nil {
		return p, fmt.Errorf("plan: reading the answer of %s: %w", url, err)
	}
	return p, nil
}

// write prints a plan for a person, with the locations that were not certain for
// longest.
func (p livePlan) write(out io.Writer, locations int) error {
	yes := func(b bool, is, not string) string {
		if b {
			return is
		}
		return not
	}
	fmt.Fprintf(out, "account %s: %s, %d online in %d locations (%d pages), %d requests a minute\n", p.Account, p.State, p.Online, len(p.LocationsByDelay), p.Pages, p.Limit)
	fmt.Fprintf(out, "list order: %s; sessions %s\n", explainOrder(p.Order, p.Settling), yes(p.Roams, "move between locations, so a missing one is asked about", "were never seen to move between locations"))
	fmt.Fprintf(out, "staleness: %.0f s now, at most %.0f s %s\n", p.Staleness, p.MaxStaleness, yes(p.StalenessKept, "wanted", "wanted, which the limit does not permit"))
	p.AddressChecks.write(out)
	if c := p.Census; c != nil {
		fmt.Fprintf(out, "census: %d online by the platform's count, %d known here then, %.0f s ago\n", c.Counted, c.Known, c.Age)
	}
	if p.Missing > 0 {
		fmt.Fprintf(out, "proof: %d sessions are missing and wait for proof that they are gone\n", p.Missing)
	}
	if p.Hidden > 0.005 || p.Displaced > 0 {
		fmt.Fprintf(out, "pages: the last reading of several hid about %.0f %% of the list; %d sessions stand out of its order\n", 100*p.Hidden, p.Displaced)
	}
	if p.Lag > 0 {
		fmt.Fprintf(out, "replicas: answers go back in time, and none counts against what was seen within %.0f s before it was asked for\n", p.Lag)
	}
	if p.HistoryGaps > 0 {
		fmt.Fprintf(out, "history: %d parts that were missed are being read\n", p.HistoryGaps)
	}
	if p.Backfill != "" {
		fmt.Fprintf(out, "backfill: %s\n", p.Backfill)
	}
	if p.Why != "" {
		fmt.Fprintf(out, "newest decision: %s (%s)\n", p.Next, p.Why)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ndelay in s\ta day\texpected mean\tp95\tmeasured p50\tp95\tof the newest")
	for _, c := range []struct {
		name string
		changePlan
	}{{"starts", p.Starts}, {"ends", p.Ends}} {
		fmt.Fprintf(w, "%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%d\n", c.name, 24*c.PerHour, c.ExpectedMean, c.ExpectedP95, c.MeasuredP50, c.MeasuredP95, c.Measured)
	}
	fmt.Fprintf(w, "round robin\t\t%.1f\n", p.RoundRobinMean)
	if p.Order == "none" {
		fmt.Fprintln(w, "What is expected holds for a list that is sorted by start. This one is not, so go by what is measured.")
	}
	fmt.Fprintln(w, "\nlook\trequests/min\twhy")
	for _, kind := range slices.SortedFunc(maps.Keys(p.RequestsByLook), func(a, b string) int {
		if d := p.RequestsByLook[b] - p.RequestsByLook[a]; d != 0 {
			return int(d * 1e6)
		}
		return strings.Compare(a, b)
	}) {
		fmt.Fprintf(w, "%s\t%.1f\t%s\n", kind, p.RequestsByLook[kind], reasons[kind])
	}
	fmt.Fprintln(w, "\nlocation\tonline\tage in s\tstarts/h\tends/h\tname")
	for i, l := range p.LocationsByDelay {
		if i == locations {
			fmt.Fprintf(w, "and %d more\n", len(p.LocationsByDelay)-i)
			break
		}
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.1f\t%.1f\t%s\n", printable(l.ID), l.Online, l.Age, l.StartsPerHour, l.EndsPerHour, printable(l.Name))
	}
	return w.Flush()
}

// reasons says what each kind of look is for.
var reasons = map[string]string{
	"list":       "one location: it has waited for longest, or changes most",
	"verify":     "a session is missing and no page proves it gone",
	"discover":   "the locations, from time to time",
	"survey":     "the locations, learned from the account's sessions",
	"sweep":      "all sessions page by page: ends and traffic",
	"probe":      "where the newest sessions stand: starts",
	"figures":    "the platform's final figures of ended sessions",
	"identify":   "who the guests of arrivals are",
	"backfill":   "a part of the history that was missed",
	"past":       "the history from before tracking began, as asked for by backfill",
	"count":      "how many sessions the platform counts, to compare",
	"departures": "who has left of those who began at once, by their location's ended sessions",
	"addresses":  "who is online still, by address: ends, with twice as many eyes",
}

func explainOrder(order string, settling float64) string {
	switch {
	case order == "none":
		return "none, so ends need a location's whole list or a question of their own"
	case order == "learning":
		return "being learned"
	case settling > 0:
		return fmt.Sprintf("%s, but the starts of sessions have changed, as where the platform's time zone or clock is set anew: unless they change again, for %.0f s yet ends need a location's whole list or a question of their own", order, settling)
	}
	return order + ": one page proves an end, and arrivals stand at one end of the list"
}
