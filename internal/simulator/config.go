package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Order is the order of the platform's session lists.
type Order int

// The orders. All but Shuffled are total: sessions of equal key stand in the
// order of their ids (NewestFirst is OldestFirst read backwards, ties included),
// unless Config.Ties gives those of equal start another order in each window.
const (
	// NewestFirst lists by start time, latest first.
	NewestFirst Order = iota
	// OldestFirst lists by start time, earliest first.
	OldestFirst
	// ByID lists by id, which says nothing about time.
	ByID
	// Unordered lists in an order that is stable and means nothing.
	Unordered
	// Shuffled lists in a new order at each request.
	Shuffled
	// Moving lists without ORDER BY, as PostgreSQL reads a table: in the order of
	// the last update of each row, which moves to the end whenever its counters
	// step, its IP or profile changes, it moves, ends or resumes.
	Moving
)

var orderNames = [...]string{"newest", "oldest", "id", "none", "shuffled", "moving"}

// String returns the name that ParseOrder reads.
func (o Order) String() string {
	if o < 0 || int(o) >= len(orderNames) {
		return fmt.Sprintf("Order(%d)", int(o))
	}
	return orderNames[o]
}

// ParseOrder reads newest, oldest, id, none, shuffled or moving.
func ParseOrder(s string) (Order, error) {
	for i, name := range orderNames {
		if s == name {
			return Order(i), nil
		}
	}
	return 0, fmt.Errorf("order %q: use newest, oldest, id, none, shuffled or moving", s)
}

// Stay is the log-normal distribution of the length of a session.
type Stay struct {
	// Mean length. The zero Stay means 45 minutes with Sigma 1.
	Mean time.Duration
	// Sigma is the standard deviation of the logarithm; 0 makes every stay equal.
	Sigma float64
}

// longestStay bounds a stay, in means. It makes the past from which the first
// population is drawn finite, and lowers the mean by less than 0.1 % at Sigma 1.
const longestStay = 24

// Location is one venue.
type Location struct {
	ID, Name string
	// City and Country (two letters) are shown by GET /locations.
	City, Country string
	// MeanOnline is the mean number of sessions online over a day.
	MeanOnline float64
	// ArrivalsPerHour is used where MeanOnline is 0: new sessions an hour.
	ArrivalsPerHour float64
	// Stay overrides Config.Stay unless zero.
	Stay Stay
	// Week holds 168 factors on arrivals by the hour of the week, from Monday 00:00 UTC
	// on, on the clock whatever Speed is; their mean counts as 1. Empty is a flat week.
	Week []float64
}

// Venues returns n locations of so many guests each. Their ids are the format with
// 0, 1, 2, …
func Venues(format string, n int, guests float64) []Location {
	all := make([]Location, n)
	for i := range all {
		all[i] = Location{ID: fmt.Sprintf(format, i), Name: fmt.Sprint("Venue ", i), MeanOnline: guests}
	}
	return all
}

// Burst is an event at one venue, say a match.
type Burst struct {
	// At is when it begins, Over how long it takes; both shortened by Speed.
	At, Over time.Duration
	// Location is the index in Config.Locations.
	Location int
	// Arrivals is how many extra sessions start, spread evenly over Over.
	Arrivals int
	// Leave is the share of those online at At that leave within Over.
	Leave float64
}

// Config describes a platform. The zero value of each field is noted; Locations
// is the only one that must be set.
type Config struct {
	// Seed decides everything that is random.
	Seed uint64

	Locations []Location
	// Rhythm holds 24 factors on arrivals by the hour of the day (UTC, hastened
	// by Speed); their mean counts as 1. Empty is a flat day.
	Rhythm []float64
	// Stay is the length of a session: 45 minutes, Sigma 1.
	Stay Stay
	// AccountingInterval is how often a session's counters step: 60 s.
	AccountingInterval time.Duration
	// Throughput is the mean download in bytes/s over a session: 25,000.
	Throughput float64
	// DevicesPerGuest is the mean number of sessions that arrive together: 1.
	DevicesPerGuest float64
	// ReturnProbability: who comes is one of the venue's Regulars, who come again and
	// again; else somebody who was never there.
	ReturnProbability float64
	// Regulars is how many each venue has: 20.
	Regulars int
	// RoamProbability: the session ends and, seconds later, the same device
	// starts a NEW session at another venue.
	RoamProbability float64
	// MoveProbability: the session changes its venue and keeps its id.
	MoveProbability float64
	// ChangeProbability: the IP or the service profile changes during the stay.
	ChangeProbability float64
	// ResumeProbability: the session comes back under its old id minutes later.
	ResumeProbability float64
	// Bursts are extra arrivals and departures.
	Bursts []Burst
	// RebootsPerHour is how often, on average, a venue's access points restart, at
	// random times: all its sessions end at once, and each begins anew under a new
	// id, all in one second and within 2 s. Hastened by Speed. 0 is never.
	RebootsPerHour float64
	// IPPool is the number of addresses: 1,048,576 (172.16.0.0/12), which is the
	// maximum. A small pool makes addresses pass quickly from guest to guest.
	IPPool int
	// Addresses is which of them are in use once: all.
	Addresses AddressSharing
	// AddressGone is what the look-up by address answers for one whose session has
	// ended: GoneLeftOut.
	AddressGone AddressGone
	// AddressGrain is what the durations of the look-up by address are cut to: a second.
	AddressGrain time.Duration
	// AddressLies is the share of the sessions online about which it answers wrongly,
	// each for a minute: none, another connection, an older one.
	AddressLies float64
	// Speed divides stays, pauses, bursts and AccountingInterval, and multiplies
	// arrivals and Throughput: 1.
	Speed float64

	// History is how long an ended session stays listed: 7 days, and Archive.
	History time.Duration
	// HistoryBefore is how much history there is at the start: 1 h.
	HistoryBefore time.Duration
	// Archive is how much older history there is at the start: none. It is of sessions
	// that nothing happened to, each of one stretch; they cost some 80 bytes each, from
	// the first request on that could show them. To the look-up by address they are
	// unknown.
	Archive time.Duration
	// ArchiveSpeed is the Speed of those: 1. The slower they came and went, the fewer
	// of them make up the same number online.
	ArchiveSpeed float64

	Order Order
	// Ties leaves sessions of equal start without an order of their own, as ORDER
	// BY without a tie-breaker does: how they stand follows from Seed, the offset
	// and size of the page, the filters, and the last update of each. So pages of
	// one list repeat some and leave others out, and the same request gives the
	// same page again until one of them is updated. It counts where the order
	// rests on the start. Off, they stand in the order of their ids.
	Ties bool
	// StartGrain is what shown start times are cut to, so that more sessions share
	// one: a second. A start is then shown up to that much before it happened.
	StartGrain time.Duration
	// ReplicaLag has every other request for sessions, at random, answered by a replica
	// of the database that is so far behind, as where a framework spreads its reads over
	// several hosts: pages go back in time. 0 is no replica.
	ReplicaLag time.Duration
	// LastSessionFirst makes GET /sessions honour last_session_first: true is
	// NewestFirst and false OldestFirst, whatever Order is.
	LastSessionFirst bool
	// ExclusiveDates reads "started after" and "ended before" a day as not on
	// that day; else the day itself is included.
	ExclusiveDates bool
	// DayZone is the zone in which days begin and end, and that of times without
	// one: UTC. With ExclusiveDates in a zone west of UTC, nothing has started
	// after today until hours into tomorrow.
	DayZone *time.Location
	// Zoneless shows start_time and end_time as local times of DayZone that do not
	// say so ("2017-01-05 06:50:55"); else as UTC, with the offset.
	Zoneless bool
	// NullDate is the end_time of a session that is online: null.
	NullDate NullDate
	// DurationWraps shows total_duration modulo 24 h, as PHP's usual formats do:
	// 25:01:01 is "01:01:01".
	DurationWraps bool
	// CutFigures cuts byte figures to two decimals instead of rounding them.
	CutFigures bool
	// DecimalComma writes "3,34 MB".
	DecimalComma bool
	// Unreadable are sessions whose records lack location or id; none if empty.
	Unreadable []Unreadable
	// PerPageFixed is the page size whatever per_page asks for; 0 is off.
	PerPageFixed int
	// PerPageString shows meta.per_page as a string.
	PerPageString bool
	// NextKeepsFilters repeats the request's parameters in links.next, which
	// the documented example does not.
	NextKeepsFilters bool
	// HasLocations and HasCount switch GET /locations and GET /sessions/count on.
	HasLocations, HasCount bool
	// ByteBase is the base of kB, MB …: 1000, or 1024.
	ByteBase int64
	// BasePath is what the paths begin with, for instance "/api/v1".
	BasePath string

	// Token is expected in AuthHeader ("Authorization") after AuthScheme and a
	// space ("Bearer"; "-" for none). An empty Token lets everybody in.
	Token, AuthHeader, AuthScheme string
	// RateLimit is the number of requests in a Window: 60 in 60 s; negative is
	// no limit. SharedLimit counts all endpoints together.
	RateLimit   int
	Window      time.Duration
	SharedLimit bool

	// ClockSkew is how far the platform's clock is ahead of the injected one.
	ClockSkew time.Duration
	// Latency returns the time that request n takes; half passes before the
	// answer's data are read and half after. Nil is none.
	Latency func(n uint64) time.Duration
	// Sleep waits for Latency and stalls: by a timer of the time package if nil.
	Sleep func(ctx context.Context, d time.Duration) error
	// Faults happen over HTTP alone, at times since New.
	Faults []Fault
	// Truth receives each record while the simulator is locked, so it must not
	// call it. Nil switches the ground truth off, which saves its cost.
	Truth func(Truth)
	// LivesOnly tells Truth of nothing but starts, ends, resumes and moves: traffic
	// and served pages are most of what happens.
	LivesOnly bool
}

const (
	ipPoolMax      = 1 << 20
	longestArchive = 3660 * 24 * time.Hour
	defaultPerPage = 10
	maxPerPage     = 100
)

// withDefaults returns cfg with the zero values replaced, or says what is wrong.
func (cfg Config) withDefaults() (Config, error) {
	cfg.Stay = cmp.Or(cfg.Stay, Stay{45 * time.Minute, 1})
	cfg.AccountingInterval = cmp.Or(cfg.AccountingInterval, time.Minute)
	cfg.Throughput = cmp.Or(cfg.Throughput, 25_000)
	cfg.DevicesPerGuest = cmp.Or(cfg.DevicesPerGuest, 1)
	cfg.Regulars = cmp.Or(cfg.Regulars, 20)
	cfg.IPPool = cmp.Or(cfg.IPPool, ipPoolMax)
	cfg.AddressGrain = cmp.Or(cfg.AddressGrain, time.Second)
	cfg.Speed = cmp.Or(cfg.Speed, 1)
	cfg.History = cmp.Or(cfg.History, 7*24*time.Hour+cfg.Archive)
	cfg.ArchiveSpeed = cmp.Or(cfg.ArchiveSpeed, 1)
	cfg.HistoryBefore = cmp.Or(cfg.HistoryBefore, time.Hour)
	cfg.StartGrain = cmp.Or(cfg.StartGrain, time.Second)
	cfg.ByteBase = cmp.Or(cfg.ByteBase, 1000)
	cfg.AuthHeader = cmp.Or(cfg.AuthHeader, "Authorization")
	cfg.AuthScheme = cmp.Or(cfg.AuthScheme, "Bearer")
	cfg.RateLimit = cmp.Or(cfg.RateLimit, 60)
	cfg.Window = cmp.Or(cfg.Window, time.Minute)
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	return cfg, cfg.validate()
}

func (cfg *Config) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	cfg.validateCrowd(bad)
	bad(cfg.Stay.Mean > 0 && cfg.Stay.Sigma >= 0, "Stay is %v; use a positive mean and sigma from 0 on", cfg.Stay)
	bad(cfg.AccountingInterval > 0, "AccountingInterval is %v; use a positive duration", cfg.AccountingInterval)
	bad(cfg.DevicesPerGuest >= 1, "DevicesPerGuest is %v; use 1 or more", cfg.DevicesPerGuest)
	bad(cfg.Regulars > 0, "Regulars is %d; use 1 or more", cfg.Regulars)
	bad(cfg.Speed > 0 && cfg.Speed <= 1e6, "Speed is %v; use a number above 0, up to 1e6", cfg.Speed)
	bad(cfg.Archive >= 0 && cfg.Archive <= longestArchive, "Archive is %v; use 0 to %v", cfg.Archive, longestArchive)
	bad(cfg.ArchiveSpeed > 0 && cfg.ArchiveSpeed <= 1e6, "ArchiveSpeed is %v; use a number above 0, up to 1e6", cfg.ArchiveSpeed)
	bad(cfg.IPPool > 0 && cfg.IPPool <= ipPoolMax, "IPPool is %d; use 1 to %d", cfg.IPPool, ipPoolMax)
	bad(cfg.Addresses >= AddressesUnique && cfg.Addresses <= AddressesPerVenue, "Addresses is %d; use one of the constants", cfg.Addresses)
	bad(cfg.AddressGone >= GoneLeftOut && cfg.AddressGone <= GoneLasting, "AddressGone is %d; use one of the constants", cfg.AddressGone)
	bad(cfg.AddressGrain >= time.Second && cfg.AddressGrain%time.Second == 0, "AddressGrain is %v; use whole seconds, one or more", cfg.AddressGrain)
	bad(cfg.AddressLies >= 0 && cfg.AddressLies <= 1, "AddressLies is %v; use 0 to 1", cfg.AddressLies)
	bad(cfg.ByteBase == 1000 || cfg.ByteBase == 1024, "ByteBase is %d; use 1000 or 1024", cfg.ByteBase)
	bad(cfg.Order >= NewestFirst && cfg.Order <= Moving, "Order is %d; use one of the constants", cfg.Order)
	bad(cfg.NullDate >= NullDateNull && cfg.NullDate <= NullDateNow, "NullDate is %d; use one of the constants", cfg.NullDate)
	for i, u := range cfg.Unreadable {
		bad(u.valid(), "Unreadable[%d] is %+v; use id or location_id, and First or a Share up to 1", i, u)
	}
	bad(cfg.StartGrain >= time.Second && cfg.StartGrain%time.Second == 0, "StartGrain is %v; use whole seconds, one or more", cfg.StartGrain)
	bad(cfg.RebootsPerHour >= 0 && cfg.RebootsPerHour <= 3600, "RebootsPerHour is %v; use 0 to 3600", cfg.RebootsPerHour)
	bad(cfg.ReplicaLag >= 0 && cfg.ReplicaLag <= time.Hour, "ReplicaLag is %v; use 0 to an hour", cfg.ReplicaLag)
	bad(cfg.Window >= time.Second, "Window is %v; use a second or more", cfg.Window)
	bad(cfg.PerPageFixed >= 0, "PerPageFixed is %d; use 0 or more", cfg.PerPageFixed)
	for _, p := range []struct {
		name string
		p    float64
	}{
		{"ReturnProbability", cfg.ReturnProbability}, {"RoamProbability", cfg.RoamProbability}, {"MoveProbability", cfg.MoveProbability},
		{"ChangeProbability", cfg.ChangeProbability}, {"ResumeProbability", cfg.ResumeProbability},
		{"RoamProbability + ResumeProbability", (cfg.RoamProbability + cfg.ResumeProbability) * 1.01},
	} {
		bad(p.p >= 0 && p.p <= 1, "%s is %v; use 0 to 1 (the sum of roam and resume: below 0.99)", p.name, p.p)
	}
	for i, b := range cfg.Bursts {
		bad(b.Location >= 0 && b.Location < len(cfg.Locations), "Bursts[%d]: there is no location %d", i, b.Location)
		bad(b.At >= 0 && b.Over >= 0 && b.Arrivals >= 0 && b.Leave >= 0 && b.Leave <= 1, "Bursts[%d] has a negative figure, or Leave above 1", i)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	return nil
}

// validateCrowd tells bad of what cannot be about who comes where and when.
func (cfg *Config) validateCrowd(bad func(ok bool, format string, args ...any)) {
	bad(len(cfg.Locations) > 0, "Locations is empty; name at least one venue")
	seen := make(map[string]bool, len(cfg.Locations))
	for i, l := range cfg.Locations {
		bad(l.ID != "" && !seen[l.ID], "Locations[%d]: id %q is empty or taken; give each venue its own", i, l.ID)
		seen[l.ID] = true
		bad(l.MeanOnline >= 0 && l.ArrivalsPerHour >= 0, "Locations[%d]: MeanOnline and ArrivalsPerHour must not be negative", i)
		bad(l.Stay.Mean >= 0 && l.Stay.Sigma >= 0, "Locations[%d]: Stay must not be negative", i)
		validateFactors(bad, fmt.Sprintf("Locations[%d]: Week", i), l.Week, weekHours)
	}
	validateFactors(bad, "Rhythm", cfg.Rhythm, 24)
}

// validateFactors tells bad of what cannot be about factors by the hour.
func validateFactors(bad func(ok bool, format string, args ...any), name string, factors []float64, hours int) {
	bad(len(factors) == 0 || len(factors) == hours, "%s has %d factors; use %d, one an hour, or none", name, len(factors), hours)
	sum := 0.0
	for i, f := range factors {
		bad(f >= 0 && !math.IsInf(f, 0), "%s[%d] is %v; use a number from 0 on", name, i, f)
		sum += f
	}
	bad(len(factors) == 0 || sum > 0, "%s is all zero; nobody would ever arrive", name)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
