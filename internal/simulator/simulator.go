package simulator

import (
	"sync"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Simulator is one account of the platform. It is safe for concurrent use; each
// call first lets the population live until now.
type Simulator struct {
	cfg   Config
	now   func() time.Time
	began time.Time // on the injected clock

	mu       sync.Mutex
	pop      *population
	replica  *population // the same, Config.ReplicaLag ago; nil where there is none
	limiter  *limiter
	requests uint64
	shuffles uint64
	hits     []*session // scratch of one page
}

// Validate says what is wrong with cfg: one error that lists all of it.
func (cfg Config) Validate() error {
	_, err := cfg.withDefaults()
	return err
}

// New returns a platform that is in its steady state now: sessions are online
// since various times, and the history of Config.HistoryBefore and Archive exists. It panics with
// the error of Config.Validate when cfg is not valid.
//
// The same cfg and the same calls at the same times give the same bytes. What
// the population does depends on cfg and the time of New alone.
func New(cfg Config, now func() time.Time) *Simulator {
	cfg, err := cfg.withDefaults()
	if err != nil {
		panic(err)
	}
	s := &Simulator{cfg: cfg, now: now, began: now(), limiter: newLimiter(&cfg)}
	s.pop = newPopulation(&s.cfg, s.began.Add(cfg.ClockSkew))
	if cfg.ReplicaLag > 0 {
		cfg.Truth = nil
		s.replica = newPopulation(&cfg, s.began.Add(cfg.ClockSkew))
	}
	return s
}

// Now is the time on the platform's clock.
func (s *Simulator) Now() time.Time { return s.now().Add(s.cfg.ClockSkew) }

// Advance lets the population live until now, as each other call does first.
func (s *Simulator) Advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
}

func (s *Simulator) advance() int64 {
	s.pop.advance(s.Now().UnixNano())
	if s.replica != nil {
		s.replica.advance(s.Now().Add(-s.cfg.ReplicaLag).UnixNano())
	}
	return s.pop.now
}

// List returns one page as a client sees it that reads every record right, and
// whether further pages follow. It passes by HTTP, token, limiter and faults; the
// page counts as served.
func (s *Simulator) List(q Query) (records []events.Session, more bool) {
	return s.AppendList(nil, q)
}

// AppendList is List into a slice that the caller reuses.
func (s *Simulator) AppendList(dst []events.Session, q Query) (_ []events.Session, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	page, more, p := s.page(q)
	if dst == nil {
		dst = make([]events.Session, 0, len(page))
	}
	for _, x := range page {
		dst = append(dst, p.show(x, p.now))
	}
	if s.cfg.Truth != nil && !s.cfg.LivesOnly {
		s.cfg.Truth(s.served(q, page, more, p.now))
	}
	return dst, more
}

// page returns the sessions of a page, valid until the next call, and where it was read.
func (s *Simulator) page(q Query) (_ []*session, more bool, p *population) {
	s.shuffles++
	p = s.pop
	if s.replica != nil && hash(s.cfg.Seed, 7, s.shuffles)%2 == 0 {
		p = s.replica
	}
	x := p.selectSessions(q)
	s.hits, more = x.page(s.hits[:0], max(q.Page, 1), s.cfg.pageSize(q.PerPage), hash(s.cfg.Seed, 3, s.shuffles))
	return s.hits, more, p
}

func (s *Simulator) served(q Query, page []*session, more bool, t int64) Truth {
	truth := Truth{
		Kind: TruthServed, Time: time.Unix(0, t).UTC(), Endpoint: EndpointSessions,
		Query: q.filters().Encode(), Page: max(q.Page, 1), PerPage: s.cfg.pageSize(q.PerPage), More: more,
	}
	for _, x := range page {
		if x.online && !x.hidden.any() {
			truth.Online = append(truth.Online, x.rec.ID)
		}
	}
	return truth
}

// Count returns how many sessions q selects. Like List it is not limited.
func (s *Simulator) Count(q Query) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	x := s.pop.selectSessions(q)
	return x.len()
}

// Allow asks the limiter for one request, as a request over HTTP does.
func (s *Simulator) Allow(e Endpoint) Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allow(e, s.advance())
}

func (s *Simulator) allow(e Endpoint, t int64) Decision {
	d := s.limiter.allow(e, t)
	if !d.Allowed {
		s.tell(Truth{Kind: TruthLimited, Time: time.Unix(0, t).UTC(), Endpoint: e})
	}
	return d
}

// Locations returns the venues as configured.
func (s *Simulator) Locations() []Location {
	return append([]Location(nil), s.cfg.Locations...)
}

// tell logs t; the caller holds the lock.
func (s *Simulator) tell(t Truth) {
	if s.cfg.Truth != nil {
		s.cfg.Truth(t)
	}
}
