package publisher

import (
	"sync"
	"time"
)

// State is a snapshot of a publisher, for a status page and for readiness.
type State struct {
	// Connected is whether there is a connection to NATS.
	Connected bool
	// Settled is true from the time that the stream was read and agreed with the
	// outbox until the next failure.
	Settled bool
	// Way is Atomic, Chained or Fast, empty before the stream was read. With Auto it may
	// change.
	Way Way
	// OutboxSeq and StreamSeq are those of the account's last event in the stream.
	OutboxSeq, StreamSeq uint64
	// PublishedAt is when the last answer of the server came; zero for none yet.
	PublishedAt time.Time
	// Published, Retries, Healed and Lost count since the publisher was made: entries
	// confirmed, failed attempts, entries sent again because the stream had lost
	// them, and entries lost for good.
	Published, Retries, Healed, Lost uint64
	// InFlight is the number of entries sent and not answered yet.
	InFlight int
	// Err is what holds publishing up, nil once an event went or none waits; ErrAt is
	// since when something does.
	Err   error
	ErrAt time.Time
	// Lasting is true when Err does not go away by itself: the text says what to do.
	Lasting bool
}

// State returns the current state. It may be called at any time.
func (p *Publisher) State() State {
	p.status.mu.Lock()
	defer p.status.mu.Unlock()
	return p.status.State
}

type status struct {
	mu sync.Mutex
	State
	said map[string]bool // errors that were told since publishing is held up
}

// maxSaid bounds the causes that are told of one hold.
const maxSaid = 16

func (s *status) update(f func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.State)
}

func (s *status) connected(is bool) {
	s.update(func(s *State) { s.Connected = is })
}

// failed reports whether the error is worth telling: causes may alternate for as long
// as publishing is held up, and each is told once.
func (s *status) failed(err error, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err == nil {
		s.ErrAt, s.said = now, make(map[string]bool)
	}
	text := err.Error()
	if news = !s.said[text] && len(s.said) < maxSaid; news {
		s.said[text] = true
	}
	s.Err, s.Lasting, s.Settled, s.InFlight = err, lasting(err), false, 0
	s.Retries++
	return news
}
