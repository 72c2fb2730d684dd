package poller

import (
	"sync"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Sightings carries from a Poller to a GuestLookup that sessions were shown again.
// Make it with NewSightings; nil is nobody who wants to know.
type Sightings struct {
	mu     sync.Mutex
	wanted map[string]*sighting // by session id
	news   chan struct{}
	// addressOf returns the address of a session as look-ups spell it.
	addressOf func(*events.Session) string
}

type sighting struct {
	since   time.Time
	address string
	state   sight
}

// sight is what looks showed of a session that is wanted.
type sight int

const (
	unseen sight = iota
	// there: the session was shown at its address.
	there
	// crowded: another session was shown at its address, now or before.
	crowded
)

// NewSightings returns Sightings of which nothing is wanted.
func NewSightings() *Sightings {
	return &Sightings{wanted: make(map[string]*sighting), news: make(chan struct{}, 1)}
}

// want asks for what requests sent at since or later show of the session and its
// address.
func (s *Sightings) want(id, address string, since time.Time, of func(*events.Session) string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[id] = &sighting{since: since, address: address}
	s.addressOf = of
}

// drop ends a want.
func (s *Sightings) drop(id string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wanted, id)
}

// of returns what was seen of a session that is wanted.
func (s *Sightings) of(id string) sight {
	if s == nil {
		return unseen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.wanted[id]; w != nil {
		return w.state
	}
	return unseen
}

// show tells of the sessions that a request sent at a time showed.
func (s *Sightings) show(sessions []events.Session, sent time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wanted) == 0 {
		return
	}
	at := make(map[string]*sighting, len(s.wanted))
	for _, w := range s.wanted {
		at[w.address] = w
	}
	news := false
	for i := range sessions {
		if !sessions[i].Online {
			continue
		}
		here := at[s.addressOf(&sessions[i])]
		switch w := s.wanted[sessions[i].ID]; {
		case here == nil:
		case w == nil || w.address != here.address:
			here.state, news = crowded, true
		case w != here:
			w.state, here.state, news = crowded, crowded, true
		case w.state == unseen && !sent.Before(w.since):
			w.state, news = there, true
		}
	}
	if news {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// signal is signalled when something wanted was shown.
func (s *Sightings) signal() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.news
}
