package simulator

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// population is who is online where: a discrete-event simulation. It knows
// nothing of requests, and only advance moves it.
type population struct {
	cfg      *Config
	now      int64
	origin   int64
	interval int64 // of accounting, in clock nanoseconds
	queue    queue
	venues   []venue
	venueOf  map[string]int
	weights  []float64 // cumulative share of all starts, by venue
	rhythm   [24]float64
	peak     float64
	account  scope
	tie      []entry // scratch of one group of equal starts
	src      *splitmix
	rng      *rand.Rand
	created  uint64
	came     int                   // sessions that were online at the start or began later
	ips      map[uint32][]*session // online, by address, in the order in which they got it
	latest   map[uint32]*session   // by address, who got it last; nil where that does not matter
	ended    []gone                // in order of end
	archive  archive
	row      []entry // scratch of one page
	found    lookup
	tell     func(Truth)
}

// venue is one location's part of the population.
type venue struct {
	*Location
	scope
	index    int
	stay     Stay
	week     []float64 // by the hour of the clock's week, mean 1; none is a flat one
	peak     float64   // of rhythm and week
	arrivals float64   // new guests per clock nanosecond, mean over the day
	rng      uint64
	reboots  uint64 // how many were drawn
}

// gone remembers when a session ended, to forget it after Config.History.
type gone struct {
	at int64
	s  *session
}

func newPopulation(cfg *Config, at time.Time) *population {
	src := &splitmix{}
	p := &population{
		cfg: cfg, now: at.UnixNano(), origin: at.UnixNano(),
		interval: max(1, scaled(cfg.AccountingInterval, cfg.Speed)),
		venues:   make([]venue, len(cfg.Locations)),
		venueOf:  make(map[string]int, len(cfg.Locations)),
		weights:  make([]float64, len(cfg.Locations)),
		src:      src, rng: rand.New(src),
		ips:  make(map[uint32][]*session),
		tell: cfg.Truth,
	}
	if cfg.AddressGone >= GoneLatest {
		p.latest = make(map[uint32]*session)
	}
	p.setRhythm()
	p.setVenues()
	for i := range p.venues {
		p.past(&p.venues[i])
	}
	sort.SliceStable(p.ended, func(i, j int) bool { return p.ended[i].at < p.ended[j].at })
	for i := range p.venues {
		p.planArrival(&p.venues[i], p.origin)
		p.planReboot(&p.venues[i], p.origin)
	}
	if p.tell != nil {
		p.unpack() // which tells of them
	}
	for i, b := range cfg.Bursts {
		p.queue.push(pending{at: p.origin + scaled(b.At, cfg.Speed), what: burstBegins, i: i})
	}
	return p
}

// scaled is a duration of the population's life in clock nanoseconds.
func scaled(d time.Duration, speed float64) int64 { return int64(float64(d) / speed) }

func (p *population) setRhythm() {
	for i := range p.rhythm {
		p.rhythm[i] = 1
	}
	copy(p.rhythm[:], evened(p.cfg.Rhythm))
	p.peak = slices.Max(p.rhythm[:])
}

// evened are factors with a mean of 1.
func evened(factors []float64) []float64 {
	sum := 0.0
	for _, f := range factors {
		sum += f
	}
	even := make([]float64, len(factors))
	for i, f := range factors {
		even[i] = f * float64(len(factors)) / sum
	}
	return even
}

// setVenues balances arrivals so that, roaming and resuming included, each venue
// has its mean: a venue that takes share w of all starts gains as many roamers as
// it loses when each that roams picks its target by w and, on picking its own
// venue, stays away instead.
func (p *population) setVenues() {
	total := 0.0
	for i := range p.venues {
		v, l := &p.venues[i], &p.cfg.Locations[i]
		v.Location, v.index, v.stay = l, i, l.Stay
		if v.stay.Mean == 0 {
			v.stay = p.cfg.Stay
		}
		v.rng = hash(p.cfg.Seed, 1, uint64(i))
		v.week, v.peak = evened(l.Week), p.peak
		if len(v.week) > 0 {
			v.peak *= slices.Max(v.week)
		}
		p.venueOf[l.ID] = i
		v.arrivals = p.starts(v)
		total += v.arrivals
		p.weights[i] = total
	}
	for i := range p.venues {
		v := &p.venues[i]
		if total > 0 {
			p.weights[i] /= total
			w := v.arrivals / total
			v.arrivals *= (1 - p.cfg.RoamProbability*(1-w) - p.cfg.ResumeProbability) / p.cfg.DevicesPerGuest
		}
	}
}

// starts is how many sessions begin at v per clock nanosecond.
func (p *population) starts(v *venue) float64 {
	if v.MeanOnline == 0 {
		return v.ArrivalsPerHour / (float64(time.Hour) / p.cfg.Speed)
	}
	return v.MeanOnline / (float64(v.stay.Mean) / p.cfg.Speed)
}

// past lives through the time before the start, as far back as a stay can reach,
// and keeps only who is still there or belongs to the history.
func (p *population) past(v *venue) {
	if v.arrivals == 0 {
		return
	}
	keep := p.origin - max(0, int64(p.cfg.HistoryBefore))
	at := p.origin - longestStay*scaled(v.stay.Mean, p.cfg.Speed)
	for {
		if at = p.nextArrival(v, at); at > p.origin {
			return
		}
		p.arrive(v, at, func(where *venue, at int64, guest uint64, device int, seed uint64) {
			p.pastVisit(keep, where, at, guest, device, seed)
		})
	}
}

// pastVisit has a device come before the origin. Of what had ended by keep nothing is
// known.
func (p *population) pastVisit(keep int64, where *venue, at int64, guest uint64, device int, seed uint64) {
	for {
		pl := p.draw(where, seed)
		end := at + pl.stay
		if at > p.origin || end > keep {
			s := p.newSession(where, at, guest, device, seed, pl)
			switch {
			case at > p.origin:
				p.queue.push(pending{at: at, what: sessionStarts, s: s})
				return
			case end > p.origin:
				p.begin(s)
				return
			}
			p.begun(s)
			p.finish(s, true)
			if pl.resume && end+pl.pause > p.origin {
				p.queue.push(pending{at: end + pl.pause, what: sessionResumes, s: s})
				return
			}
		}
		// Who came back under the old id in the past counts as a new
		// session, which keeps the number online right.
		if pl.roamTo >= 0 {
			where = &p.venues[pl.roamTo]
		} else if !pl.resume {
			return
		}
		at, seed = end+pl.pause, pl.next
	}
}

// nextArrival draws the next arrival of a guest at v after at: a Poisson process
// whose rate follows the rhythm, by thinning.
func (p *population) nextArrival(v *venue, at int64) int64 {
	p.src.state = v.rng
	defer func() { v.rng = p.src.state }()
	for {
		gap := p.rng.ExpFloat64() / (v.arrivals * v.peak)
		if gap > math.MaxInt64/4 {
			return math.MaxInt64
		}
		at += int64(gap) + 1
		if p.rng.Float64()*v.peak < p.rhythm[p.hour(at)]*v.factor(at) {
			return at
		}
	}
}

// hour is the hour of the day in the population's life at t.
func (p *population) hour(t int64) int {
	life := float64(p.origin) + float64(t-p.origin)*p.cfg.Speed
	h := int(math.Floor(life/float64(time.Hour))) % 24
	return (h + 24) % 24
}

const weekHours = 7 * 24

// factor is that of the hour of the clock's week. The clock began on a Thursday.
func (v *venue) factor(t int64) float64 {
	if len(v.week) == 0 {
		return 1
	}
	h := (t/int64(time.Hour) + 3*24) % weekHours
	return v.week[(h+weekHours)%weekHours]
}

func (p *population) planArrival(v *venue, after int64) {
	if v.arrivals == 0 {
		return
	}
	if at := p.nextArrival(v, after); at < math.MaxInt64 {
		p.queue.push(pending{at: at, what: guestArrives, i: v.index})
	}
}

// arrive lets a guest with all devices come to v.
func (p *population) arrive(v *venue, at int64, start func(*venue, int64, uint64, int, uint64)) {
	p.src.state = v.rng
	drawn := p.rng.Uint64()
	guest := drawn
	if unit(hash(drawn, 60)) < p.cfg.ReturnProbability { // the same life, of somebody else
		guest = hash(p.cfg.Seed, 61, uint64(v.index), drawn%uint64(p.cfg.Regulars))
	}
	devices := 1
	// A geometric number of further devices has the right mean.
	if extra := p.cfg.DevicesPerGuest - 1; extra > 0 {
		for p.rng.Float64() < extra/(1+extra) && devices < 20 {
			devices++
		}
	}
	v.rng = p.src.state
	for d := range devices {
		h := hash(drawn, 20, uint64(d))
		delay := int64(0)
		if d > 0 {
			delay = int64(unit(hash(h, 1)) * float64(scaled(30*time.Second, p.cfg.Speed)))
		}
		start(v, at+delay, guest, d, h)
	}
}

// draw decides all that will happen in a stretch online.
func (p *population) draw(v *venue, seed uint64) plan {
	p.src.state = seed
	cfg, r := p.cfg, p.rng
	logNormal := func(mean, sigma float64) float64 {
		return mean * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)
	}
	mean := float64(v.stay.Mean) / cfg.Speed
	pl := plan{roamTo: -1, next: r.Uint64()}
	pl.stay = int64(min(max(logNormal(mean, v.stay.Sigma), 1e6), longestStay*mean))
	pl.perStep = logNormal(cfg.Throughput*cfg.AccountingInterval.Seconds(), 1.2)
	pl.upShare = 0.05 + 0.4*r.Float64()
	within := func() int64 { return 1 + int64(r.Float64()*float64(pl.stay)) }
	if r.Float64() < cfg.ChangeProbability {
		pl.changeAt, pl.changeIP = within(), r.Float64() < 0.5
	}
	if r.Float64() < cfg.MoveProbability {
		if pl.moveTo = p.pick(r.Float64()); pl.moveTo != v.index {
			pl.moveAt = within()
		}
	}
	switch u := r.Float64(); {
	case u < cfg.RoamProbability:
		if to := p.pick(r.Float64()); to != v.index {
			pl.roamTo = to
		}
		pl.pause = int64(r.ExpFloat64() * float64(scaled(20*time.Second, cfg.Speed)))
	case u < cfg.RoamProbability+cfg.ResumeProbability:
		pl.resume = true
		pl.pause = int64((0.1 + r.ExpFloat64()) * float64(scaled(2*time.Minute, cfg.Speed)))
	}
	return pl
}

// pick returns a venue by its share of starts.
func (p *population) pick(u float64) int {
	return min(sort.SearchFloat64s(p.weights, u), len(p.weights)-1)
}

func (p *population) newSession(v *venue, at int64, guest uint64, device int, seed uint64, pl plan) *session {
	p.created++
	s := &session{num: mix(hash(p.cfg.Seed, 2) + p.created), guest: guest, venue: v.index, start: at}
	s.identity(device, v.Location)
	s.rec.StartedAt = p.cfg.startedAt(at)
	s.take(at, seed, pl)
	return s
}

// take begins a stretch by its plan.
func (s *session) take(at int64, seed uint64, pl plan) {
	s.since, s.end, s.seed, s.plan = at, at+pl.stay, seed, pl
	if s.perStep == 0 {
		s.perStep, s.upShare = pl.perStep, pl.upShare
	}
}
