package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/publisher"
)

// script is what a seed decides: the estate, the platform's manners, and what goes
// wrong when. Times count from the life's beginning. All goes well from calm on, so
// that what is missing at the end is missing for good.
type script struct {
	seed         uint64
	platform     simulator.Config
	begin        time.Time
	length, calm time.Duration
	provenEnds   bool // none are presumed, which only a list in order can do without
	beside       bool // several requests at once
	addresses    bool // checks by address
	figuresWait  time.Duration
	publish      publisher.Way
	maxBatch     int
	atomic       bool          // the stream takes atomic batches
	batched      bool          // and fast ones
	fastLimit    int           // of those under way
	window       time.Duration // for duplicates
	restartAfter time.Duration
	standby      bool    // another process stands by, on another machine
	loss         float64 // of requests, and as many answers
	trip         float64 // of messages to the stream
	foreign      float64 // share of messages before which another writer's come in
	outages      []outage

	// What follows is used up.
	strikes        []diskStrike
	killsAtMessage []time.Duration
	messages       int
}

// outage is the broker's: from at on, for so long.
type outage struct {
	at, lasts time.Duration
	loses     int  // of the last messages, though acknowledged
	deletes   bool // the stream is deleted instead
}

// strike is what happens at a write.
type strike int

const (
	fine strike = iota
	killBefore
	killAmid
	killAfter
	diskFull
	syncFails
	slowDisk
)

// diskStrike is a strike at the first write after a time; while it lasts, at every one.
type diskStrike struct {
	at, lasts time.Duration
	strike    strike
	only      string // kind of write; empty is any
}

// strikesDisk says what happens at a write of some kind now.
func (l *life) strikesDisk(kind string) strike {
	since := time.Since(l.born)
	if since >= l.calm {
		return fine
	}
	for i, s := range l.strikes {
		if since < s.at || s.only != "" && s.only != kind {
			continue
		}
		if (s.strike == diskFull || s.strike == slowDisk) && kind == "take" || s.strike == syncFails && kind != "commit" {
			continue
		}
		if s.lasts > 0 && since < s.at+s.lasts {
			return s.strike
		}
		l.strikes = slices.Delete(l.strikes, i, i+1)
		if s.lasts > 0 {
			return fine
		}
		return s.strike
	}
	return fine
}

// scriptOf draws a seed's script.
func scriptOf(seed uint64) script {
	r := rand.New(rand.NewPCG(seed, 7))
	chance := func(p float64) bool { return r.Float64() < p }
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	s := script{
		seed: seed, begin: time.Date(2026, 1, 1+r.IntN(365), 0, 0, r.IntN(86400), 0, time.UTC), length: between(4*time.Minute, 7*time.Minute), beside: chance(0.7), addresses: chance(0.25),
		atomic: chance(0.6), window: 2 * time.Minute, restartAfter: between(100*time.Millisecond, 8*time.Second), maxBatch: 1000,
	}
	if seed%32 == 0 {
		s.length *= 4
	}
	s.calm = s.length - 100*time.Second
	if chance(0.3) {
		s.window = 100 * time.Millisecond
	}
	if chance(0.3) {
		s.maxBatch = 1 + r.IntN(8)
	}
	s.batched, s.fastLimit = chance(0.6), pick(r, 1000, 1000, 3)
	switch {
	case s.batched && chance(0.4):
		s.publish = publisher.Fast
	case !s.atomic && !s.batched || chance(0.3):
		s.publish = publisher.Chained
	}
	if chance(0.2) {
		s.figuresWait = 10 * time.Second
	}
	s.platform = estateOf(seed, r)
	s.provenEnds = s.platform.Order <= simulator.OldestFirst && chance(0.5)
	s.platform.Faults = s.apiFaults(r)
	s.platform.Faults = slices.DeleteFunc(s.platform.Faults, func(f simulator.Fault) bool { return f.At+f.For > s.calm })
	s.loss, s.trip, s.foreign = pick(r, 0, 0, 0.01, 0.05), pick(r, 0, 0.01, 0.05, 0.2), pick(r, 0, 0, 0.05)
	for range r.IntN(4) {
		o := outage{at: between(30*time.Second, s.calm-20*time.Second), lasts: between(time.Second, 2*time.Minute)}
		o.lasts = min(o.lasts, s.calm-o.at)
		switch r.IntN(4) {
		case 0:
			o.loses = r.IntN(20)
		case 1:
			o.deletes = chance(0.3)
		}
		s.outages = append(s.outages, o)
	}
	slices.SortFunc(s.outages, func(a, b outage) int { return int(a.at - b.at) })
	for range r.IntN(4) {
		d := diskStrike{at: between(10*time.Second, s.calm), strike: 1 + strike(r.IntN(6))}
		if d.strike == diskFull || d.strike == slowDisk {
			d.lasts = min(between(time.Second, time.Minute), s.calm-d.at)
		}
		d.only = pick(r, "", "commit", "acked", "take")
		s.strikes = append(s.strikes, d)
	}
	slices.SortFunc(s.strikes, func(a, b diskStrike) int { return int(a.at - b.at) })
	for range r.IntN(3) {
		s.killsAtMessage = append(s.killsAtMessage, between(10*time.Second, s.calm))
	}
	slices.Sort(s.killsAtMessage)
	s.standby = len(s.strikes) == 0 && len(s.killsAtMessage) == 0 // else it would have to take over
	return s
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// estateOf draws a platform with some busy venues. Stays are minutes, so that a life
// has many of them.
func estateOf(seed uint64, r *rand.Rand) simulator.Config {
	few := func() float64 { return pick(r, 0, 0.1, 0.3) }
	slow := time.Duration(20+r.IntN(600)) * time.Millisecond
	cfg := simulator.Config{
		Seed: seed, Token: "secret", RateLimit: pick(r, 30, 60), HasLocations: true, HasCount: r.IntN(4) > 0,
		Speed: pick(r, 8.0, 15, 25), Stay: simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}, HistoryBefore: 10 * time.Minute,
		AccountingInterval: 5 * time.Minute, DevicesPerGuest: pick(r, 1, 1.5), RoamProbability: few(),
		ChangeProbability: few(), ResumeProbability: few(), ByteBase: pick[int64](r, 1000, 1024),
		Order: pick(r, simulator.NewestFirst, simulator.NewestFirst, simulator.OldestFirst, simulator.ByID, simulator.Unordered, simulator.Moving),
		Ties:  r.IntN(3) == 0, StartGrain: pick(r, time.Second, time.Second, time.Minute), LastSessionFirst: r.IntN(2) == 0,
		PerPageFixed: pick(r, 0, 0, 10), NextKeepsFilters: r.IntN(2) == 0, PerPageString: r.IntN(4) == 0,
		ClockSkew: pick(r, 0, 0, time.Duration(r.IntN(120)-60)*time.Second), CutFigures: r.IntN(4) == 0, DecimalComma: r.IntN(6) == 0,
		NullDate: simulator.NullDate(pick(r, 0, 0, 0, 1, 2, 3)),
		Latency:  func(n uint64) time.Duration { return slow/2 + time.Duration((n*0x9e3779b97f4a7c15)>>40)%slow },
	}
	if r.IntN(5) == 0 {
		cfg.RebootsPerHour = 1
	}
	if r.IntN(6) == 0 {
		cfg.Unreadable = []simulator.Unreadable{{Field: pick(r, "location_id", "id"), Share: 0.05}}
	}
	for i := range 1 + r.IntN(3) {
		cfg.Locations = append(cfg.Locations, simulator.Location{ID: fmt.Sprintf("venue.%d", i), Name: fmt.Sprintf("Venue %d", i), MeanOnline: float64(1 + r.IntN(8))})
	}
	return cfg
}

// apiFaults draws what goes wrong at the platform.
func (s *script) apiFaults(r *rand.Rand) []simulator.Fault {
	kinds := []simulator.FaultKind{
		simulator.FaultLimit, simulator.FaultServer, simulator.FaultStall, simulator.FaultCut, simulator.FaultHTML, simulator.FaultNext,
		simulator.FaultDuplicate, simulator.FaultDamaged, simulator.FaultRevoked, simulator.FaultForbidden,
	}
	var faults []simulator.Fault
	for range r.IntN(4) {
		f := simulator.Fault{
			Kind: kinds[r.IntN(len(kinds))], At: time.Duration(r.Int64N(int64(s.calm))), For: time.Duration(1+r.IntN(60)) * time.Second,
			Percent: pick(r, 5.0, 30, 100), Amount: time.Duration(1+r.IntN(20)) * time.Second,
		}
		faults = append(faults, f)
	}
	return faults
}
