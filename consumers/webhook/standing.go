package webhook

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Standing is how an endpoint fares, as the process that serves it wrote down last.
// It outlives the process and the endpoint's consumer.
type Standing struct {
	// Served says that a process serves the endpoint, or did when it died.
	Served      bool      `json:"served"`
	Delivered   uint64    `json:"delivered"`         // since the first record
	Skipped     uint64    `json:"skipped,omitempty"` // too old to be sent, since the first record
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"` // of LastFailure
	// Failures counts tries in a row that nothing came of.
	Failures int `json:"failures,omitempty"`
	// Place is nil until the endpoint has one in the stream.
	Place *place `json:"place,omitempty"`

	written time.Time // when this record was
}

// place is where an endpoint stands in the stream of events.
type place struct {
	Floor  uint64    `json:"floor"`  // the sequence up to which every event is settled
	Stream time.Time `json:"stream"` // when the stream was created that Floor counts in
	At     time.Time `json:"at"`     // when this was so
	// Of is the name of the stream's topic; empty is that of sessions.
	Of string `json:"of,omitempty"`
}

// topics are those in whose streams the endpoint may have its place.
func (s Standing) topics() []*topic {
	if s.Place != nil {
		if t, err := topicNamed(s.Place.Of); err == nil {
			return []*topic{t}
		}
	}
	return topics
}

// news is what happened since a Standing was written.
type news struct {
	served    *bool
	delivered uint64
	skipped   uint64
	succeeded time.Time // last
	failed    time.Time // last
	why       string
	failures  int // since succeeded
	place     *place
	due       bool // to be written though nothing happened
}

func (n news) none() bool { return n == news{} }

// with returns the standing after the news.
func (s Standing) with(n news) Standing {
	if n.served != nil {
		s.Served = *n.served
	}
	s.Delivered += n.delivered
	s.Skipped += n.skipped
	if !n.succeeded.IsZero() && !n.succeeded.Before(s.LastSuccess) {
		s.LastSuccess, s.Failures = n.succeeded, 0
	}
	s.Failures += n.failures
	if !n.failed.IsZero() && !n.failed.Before(s.LastFailure) {
		s.LastFailure, s.LastError = n.failed, n.why
	}
	if n.place != nil {
		s.Place = n.place
	}
	return s
}

// then returns both, later coming after n.
func (n news) then(later news) news {
	if later.served != nil {
		n.served = later.served
	}
	n.delivered += later.delivered
	n.skipped += later.skipped
	if !later.succeeded.IsZero() {
		n.succeeded, n.failures = later.succeeded, 0
	}
	n.failures += later.failures
	if !later.failed.IsZero() {
		n.failed, n.why = later.failed, later.why
	}
	if later.place != nil {
		n.place = later.place
	}
	n.due = n.due || later.due
	return n
}

// standings are those of the endpoints that this process serves. They are kept in
// memory while they change with every request, and written from time to time.
type standings struct {
	mu   sync.Mutex
	by   map[string]*kept
	save sync.Mutex // one at a time
}

// kept is the standing of one endpoint: as it was written, and what is news since.
type kept struct {
	written Standing
	writing news // being written, or not taken by the server
	news    news
	pending pending
	dead    uint64
	listed  bool // in the file that is followed
	host    string
	topic   *topic
	off     *Disabled
}

// pending is what waits for an endpoint.
type pending struct {
	backlog uint64
	waiting int
	oldest  time.Time // zero when nothing waits
}

func (k *kept) now() Standing { return k.written.with(k.writing).with(k.news) }

func (s *standings) change(endpoint string, change func(*kept)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]*kept{}
	}
	k := s.by[endpoint]
	if k == nil {
		k = &kept{}
		s.by[endpoint] = k
	}
	change(k)
}

// tried notes what a try came to.
func (s *standings) tried(endpoint string, at time.Time, result Result, reason string) {
	n := news{failed: at, why: reason, failures: 1}
	switch result {
	case Delivered:
		n = news{succeeded: at, delivered: 1}
	case Skipped:
		n = news{skipped: 1}
	}
	s.change(endpoint, func(k *kept) { k.news = k.news.then(n) })
}

// serves notes that this process begins or ends to serve the endpoint.
func (s *standings) serves(endpoint string, yes bool) {
	s.change(endpoint, func(k *kept) { k.news = k.news.then(news{served: &yes}) })
}

// follows notes the endpoints of the file, and which of them are disabled.
func (s *standings) follows(cfg Config, off map[string]*Disabled) {
	s.mu.Lock()
	for _, k := range s.by {
		k.listed = false
	}
	s.mu.Unlock()
	for _, e := range cfg.Endpoints {
		s.change(e.Name, func(k *kept) { k.listed, k.host, k.off, k.topic = true, e.URL.Host, off[e.Name], e.topic })
	}
}

// list returns the endpoints of the file by name.
func (s *standings) list(now time.Time) []EndpointStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []EndpointStatus
	for _, name := range slices.Sorted(maps.Keys(s.by)) {
		k := s.by[name]
		if !k.listed {
			continue
		}
		e := EndpointStatus{Name: name, Host: k.host, Stream: k.topic.name, topic: k.topic, Disabled: k.off, Standing: k.now()}
		e.written = now // by this process, which lives
		e.Started = e.Place != nil
		e.waits(k.pending)
		e.DeadLetters = k.dead
		e.State = e.state(now)
		out = append(out, e)
	}
	return out
}

func (s *standings) forget(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, endpoint)
}

// measured notes where the endpoint stands and what waits for it.
func (s *standings) measured(endpoint string, at *place, p pending) {
	s.change(endpoint, func(k *kept) { k.news, k.pending = k.news.then(news{place: at, due: true}), p })
}

// buried notes how many dead letters every endpoint has.
func (s *standings) buried(count func(endpoint string) uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, k := range s.by {
		k.dead = count(name)
	}
}

// write brings the records up to date. What the server does not take is tried again
// the next time.
func (s *standings) write(ctx context.Context, r *records) error {
	s.save.Lock()
	defer s.save.Unlock()
	for _, endpoint := range s.takeNews() {
		var of news
		s.change(endpoint, func(k *kept) { of = k.writing })
		written, err := r.updateStanding(ctx, endpoint, of)
		if err != nil {
			return err
		}
		s.change(endpoint, func(k *kept) { k.written, k.writing = written, news{} })
	}
	return nil
}

// takeNews moves the news of each endpoint to writing, and names those that have
// any.
func (s *standings) takeNews() (changed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for endpoint, k := range s.by {
		k.writing, k.news = k.writing.then(k.news), news{}
		if !k.writing.none() {
			changed = append(changed, endpoint)
		}
	}
	return changed
}

// measureEvery is how often an endpoint's place and what waits for it are read, and its record
// written. Events that were settled since then are sent again should the consumer be
// deleted.
const measureEvery = 10 * time.Second

func (r *runner) keepMeasuring(ctx context.Context) {
	for r.o.Sleep(ctx, measureEvery) == nil {
		if err := r.measure(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("webhooks: cannot read where the endpoint stands", "error", err)
		}
	}
}

// measure asks the server where the endpoint stands and what waits for it.
func (r *runner) measure(ctx context.Context) error {
	now := r.o.Now().UTC()
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return err
	}
	at := &place{Floor: info.AckFloor.Stream, Stream: r.stream.CachedInfo().Created, At: now, Of: r.endpoint.topic.name}
	p, err := pendingOf(ctx, r.stream, info)
	if err != nil {
		return err
	}
	r.o.standings.measured(r.endpoint.Name, at, p)
	return nil
}

// measureDisabled asks the server what waits for the endpoints that nothing runs for.
func (d *Dispatcher) measureDisabled(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	for _, e := range o.standings.list(o.Now()) {
		if e.Disabled == nil {
			continue
		}
		stream, err := d.JetStream.Stream(ctx, o.streamOf(e.topic))
		if err != nil {
			return err
		}
		c, err := stream.Consumer(ctx, Durable(e.Name))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // deleted: made again once the endpoint is enabled
		}
		if err != nil {
			return err
		}
		p, err := pendingOf(ctx, stream, c.CachedInfo())
		if err != nil {
			return err
		}
		o.standings.change(e.Name, func(k *kept) { k.pending = p })
	}
	return nil
}

// pendingOf reads what waits for a consumer. The oldest is the first event after all
// that are settled that it would get, before conditions.
func pendingOf(ctx context.Context, stream jetstream.Stream, info *jetstream.ConsumerInfo) (pending, error) {
	p := pending{backlog: info.NumPending, waiting: info.NumAckPending}
	if p.backlog == 0 && p.waiting == 0 {
		return p, nil
	}
	var first uint64
	for _, subject := range append(info.Config.FilterSubjects, info.Config.FilterSubject) {
		if subject == "" {
			continue
		}
		m, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return p, err
		}
		if first == 0 || m.Sequence < first {
			first, p.oldest = m.Sequence, m.Time
		}
	}
	return p, nil
}
