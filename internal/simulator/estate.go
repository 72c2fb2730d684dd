package simulator

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// estates are the ones of the freshness benchmark.
var estates = []struct {
	name, about string
	make        func() Config
}{
	{"E1", "20 venues of 30 online", func() Config { return estate(even(20, 30)) }},
	{"E2", "200 venues, Zipf(1), 3,000 online", func() Config { return estate(zipf(200, 1, 3000)) }},
	{"E3", "1,000 cafés, log-normal, 3,820 online", func() Config { return estate(logNormal(1000, 1, 3820)) }},
	{"E4", "a stadium of 5,000 and 50 venues of 20", func() Config { return estate(append([]float64{5000}, even(50, 20)...)) }},
	{"E5", "5 hotels of 300", func() Config { return estate(even(5, 300)) }},
	{"E6", "300 shops, Zipf(0.8), 12,000 online", func() Config { return estate(zipf(300, 0.8, 12000)) }},
	{"E7", "E2 with a steep day and a burst of 1,500 after an hour", burstEstate},
	{"E8", "a campus of 5,000 staying 8 h and 10 venues of 80 staying 20 min", campusEstate},
	{"E9", "E2 where each venue reboots once an hour, with ties", rebootEstate},
	{"E10", "E2 with starts cut to whole minutes, with ties", minuteEstate},
}

// Estates lists the names that Estate knows.
func Estates() []string {
	names := make([]string, len(estates))
	for i, e := range estates {
		names[i] = e.name
	}
	return names
}

// EstateHelp describes the estates, one a line.
func EstateHelp() string {
	var b strings.Builder
	for _, e := range estates {
		fmt.Fprintf(&b, "  %-4s %s\n", e.name, e.about)
	}
	fmt.Fprintf(&b, "  %-4s %s\n", "demo", "20 venues, lively enough to watch for a minute")
	return b.String()
}

// Estate returns the configuration of E1 to E10 or demo, with seed 1. Stays are
// log-normal with a mean of 45 minutes and nothing else moves, unless the estate
// says so.
func Estate(name string) (Config, error) {
	for _, e := range estates {
		if strings.EqualFold(name, e.name) {
			return e.make(), nil
		}
	}
	if strings.EqualFold(name, "demo") {
		return Demo(), nil
	}
	return Config{}, fmt.Errorf("estate %q is not known; use one of %s or demo", name, strings.Join(Estates(), ", "))
}

func estate(online []float64) Config {
	cfg := Config{Seed: 1, HasLocations: true, HasCount: true, Stay: Stay{45 * time.Minute, 1}}
	for i, n := range online {
		cfg.Locations = append(cfg.Locations, Location{
			ID: shortID(mix(uint64(i) + 1)), Name: fmt.Sprintf("Venue %d", i+1), MeanOnline: n,
			City: "Istanbul", Country: "TR",
		})
	}
	return cfg
}

func burstEstate() Config {
	cfg := estate(zipf(200, 1, 3000))
	// Night at a tenth, two peaks; the mean over the day stays what it is.
	cfg.Rhythm = []float64{.1, .1, .1, .1, .1, .2, .5, 1, 1.6, 1.4, 1.2, 1.6, 2.2, 1.8, 1.3, 1.2, 1.4, 1.8, 2.2, 2, 1.4, .9, .5, .2}
	cfg.Bursts = []Burst{
		{At: time.Hour, Over: 10 * time.Minute, Arrivals: 1500},
		{At: 100 * time.Minute, Over: 3 * time.Minute, Leave: 0.9},
	}
	return cfg
}

func campusEstate() Config {
	cfg := estate(append([]float64{5000}, even(10, 80)...))
	for i := range cfg.Locations {
		cfg.Locations[i].Stay = Stay{20 * time.Minute, 1}
	}
	cfg.Locations[0].Stay = Stay{8 * time.Hour, 1}
	return cfg
}

// rebootEstate has groups of equal starts as large as its venues.
func rebootEstate() Config {
	cfg := estate(zipf(200, 1, 3000))
	cfg.Ties, cfg.RebootsPerHour = true, 1
	return cfg
}

// minuteEstate has nothing but groups of equal starts, of 67 on average.
func minuteEstate() Config {
	cfg := estate(zipf(200, 1, 3000))
	cfg.Ties, cfg.StartGrain = true, time.Minute
	return cfg
}

func even(n int, online float64) []float64 { return slices.Repeat([]float64{online}, n) }

// zipf shares total among n venues, the k-th with weight k^-s.
func zipf(n int, s, total float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Pow(float64(i+1), -s)
	}
	return share(v, total)
}

// logNormal shares total among n venues whose sizes are the quantiles of a
// log-normal distribution.
func logNormal(n int, sigma, total float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		q := (float64(i) + 0.5) / float64(n)
		v[i] = math.Exp(sigma * math.Sqrt2 * math.Erfinv(2*q-1))
	}
	return share(v, total)
}

func share(weights []float64, total float64) []float64 {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for i := range weights {
		weights[i] *= total / sum
	}
	return weights
}

// custom is when people come to a kind of venue: factors by the hour of a workday and of
// a day of the weekend.
type custom struct{ workday, weekend [24]float64 }

var (
	lodging   = custom{hours(1.1, .8, 1.2, 1.5), hours(1.2, .9, 1.3, 1.6)}
	office    = custom{hours(.4, 1.9, 1.6, .6), hours(.4, .6, .6, .4)}
	daytime   = custom{hours(.4, 1.5, 1.6, .7), hours(.4, 1.3, 2, 1)}
	commuters = custom{hours(.5, 1.7, 1.3, 1.3), hours(.5, 1, 1.2, .9)}
	leisure   = custom{hours(.5, .9, 1.3, 1.3), hours(.6, 1.6, 2.2, 1.7)}
	evening   = custom{hours(.7, .5, 1.1, 1.8), hours(1, .8, 1.6, 2.4)}
)

// hours are the factors of a day by its parts: from 0, 7, 12 and 18 o'clock on, with an
// hour between two that lies between them.
func hours(night, morning, afternoon, evening float64) (day [24]float64) {
	for h := range day {
		day[h] = [...]float64{night, morning, afternoon, evening}[min(1, h/7)+min(1, h/12)+min(1, h/18)]
	}
	for h, before := range map[int]float64{7: night, 12: morning, 18: afternoon} {
		day[h] = (day[h] + before) / 2
	}
	day[0] = (evening + night) / 2
	return day
}

// factors are those of Location.Week.
func (c custom) factors() []float64 {
	var week []float64
	for day := range 7 {
		if day < 5 {
			week = append(week, c.workday[:]...)
		} else {
			week = append(week, c.weekend[:]...)
		}
	}
	return week
}

// Demo returns 20 venues with some 420 sessions online, where some 25 come and as many go
// each minute: life runs four times as fast as the clock, and stays of 10 minutes are usual.
// So they are in the hour before the start, of which the page's figures are made first. The
// weeks before that went slower, so that an hour of them is a page of sessions.
func Demo() Config {
	cfg := Config{
		Seed: 1, HasLocations: true, HasCount: true,
		Stay: Stay{time.Hour, 0.9}, Speed: 4, DevicesPerGuest: 1.3,
		HistoryBefore: time.Hour, Archive: 35 * 24 * time.Hour, ArchiveSpeed: 0.2,
		ReturnProbability: 0.4, Regulars: 30, RoamProbability: 0.06, MoveProbability: 0.02, ChangeProbability: 0.1, ResumeProbability: 0.06,
	}
	for i, v := range []struct {
		name, city, country string
		online              float64
		week                custom
	}{
		{"Grand Bosphorus Hotel", "Istanbul", "TR", 70, lodging},
		{"IPERA Coworking", "Istanbul", "TR", 34, office},
		{"Galata Roastery", "Istanbul", "TR", 14, daytime},
		{"Kadıköy Ferry Terminal", "Istanbul", "TR", 48, commuters},
		{"Moda Beach Club", "Istanbul", "TR", 11, leisure},
		{"Ankara Central Mall", "Ankara", "TR", 52, leisure},
		{"Çankaya Dental Clinic", "Ankara", "TR", 6, office},
		{"Izmir Marina", "Izmir", "TR", 18, lodging},
		{"Alsancak Burger Bar", "Izmir", "TR", 12, evening},
		{"Antalya Sands Resort", "Antalya", "TR", 40, lodging},
		{"Old Town Pansiyon", "Antalya", "TR", 8, lodging},
		{"Harbour Books & Coffee", "Hamburg", "DE", 9, daytime},
		{"Elbe Convention Centre", "Hamburg", "DE", 26, office},
		{"Prater Biergarten", "Vienna", "AT", 15, evening},
		{"Museum Quarter Café", "Vienna", "AT", 10, daytime},
		{"Camden Lock Market", "London", "GB", 22, leisure},
		{"Brick Lane Barbers", "London", "GB", 4, daytime},
		{"Parque Gym", "Madrid", "ES", 13, commuters},
		{"Lavapiés Tapas", "Madrid", "ES", 7, evening},
		{"Airport Lounge T2", "Copenhagen", "DK", 16, commuters},
	} {
		cfg.Locations = append(cfg.Locations, Location{
			ID: shortID(mix(uint64(i) + 1001)), Name: v.name, City: v.city, Country: v.country, MeanOnline: v.online,
			Week: v.week.factors(),
		})
	}
	return cfg
}
