package plan

import (
	"math"
	"time"
)

// Forecast is what the planner can reach on a platform whose list has an order,
// in seconds. See NewForecast.
type Forecast struct {
	Pages                     int     // of the account's list
	Probes, Sweeps            float64 // requests a minute
	RoundRobin                float64 // mean over all changes, for comparison
	StartMean, StartP95       float64
	EndMean, EndP95           float64
	AllMean, Bound, Staleness float64
}

// Round is how long a round over all locations takes.
func (f Forecast) Round() time.Duration {
	return time.Duration(f.Staleness * float64(time.Second)).Round(time.Second)
}

// NewForecast reckons with the planner's own split: of limit requests a minute,
// √w/(√w+√P) go into probes for arrivals, where P is the number of pages and w
// the weight of a start, and the rest sweeps. Bound is the least mean delay of
// ends that any way of listing can have: 100 records a request, N sessions.
func NewForecast(online, locations int, limit, weight float64) Forecast {
	f := Forecast{Pages: max(1, (online+MaxPerPage-1)/MaxPerPage)}
	p := float64(f.Pages)
	f.Probes = limit * math.Sqrt(weight) / (math.Sqrt(weight) + math.Sqrt(p))
	f.Sweeps = limit - f.Probes
	period := 60 / f.Probes
	round := 60 * p / f.Sweeps
	f.StartMean, f.StartP95 = period/2, 0.95*period
	f.EndMean, f.EndP95 = round/2, 0.95*round
	f.AllMean = (f.StartMean + f.EndMean) / 2
	f.Bound = 60 * float64(online) / (2 * MaxPerPage * limit)
	f.Staleness = round
	// One page a location at least, and the rest as full pages.
	f.RoundRobin = 60 * math.Max(float64(locations), float64(locations)/2+float64(online)/MaxPerPage) / (2 * limit)
	return f
}

// AddressForecast is what the planner can reach with checks by address beside the lists,
// in seconds. See NewAddressForecast.
type AddressForecast struct {
	StartMean, StartP95 float64
	EndMean, EndP95     float64
	AllMean             float64
}

// NewAddressForecast reckons as NewForecast does, with as many requests again about
// addresses, by which a share of the sessions can be asked about: 100 a request. What
// these find is asked about twice, a second apart.
func NewAddressForecast(online int, limit, share, weight float64) AddressForecast {
	pages := max(1, math.Ceil(float64(online)/MaxPerPage))
	beside := limit * share
	w, p := math.Sqrt(weight), math.Sqrt(pages)
	probes := min(limit/2, (limit+checkWorth*beside)*w/(w+p))
	seen := limit - probes + beside // pages a minute, of lists and by address
	period, round := 60/probes, 60*pages/seen
	twice := beside / seen * checkAgain
	f := AddressForecast{
		StartMean: period / 2, StartP95: 0.95 * period,
		EndMean: round/2 + twice, EndP95: 0.95*round + twice,
	}
	f.AllMean = (f.StartMean + f.EndMean) / 2
	return f
}

// checkAgain is how long the second answer about a session takes, in seconds.
const checkAgain = 1.1
