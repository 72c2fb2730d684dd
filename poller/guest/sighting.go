package guest

import (
	"sync"
	"time"

	"github.com/guestflow/guestflow/events"
)

// Sightings carries from the poller to a Lookup which sessions are online at
// which address, and that some of them were shown again. Make it with NewSightings;
// nil disables. All methods are safe for concurrent use.
type Sightings struct {
	// Address returns the IP address of a session where the session itself does not
	// have it; nil takes the session's. It is to be set before use.
	Address func(*events.Session) string

	mu     sync.Mutex
	wanted map[string]*sighting // by session id
	live   neighbours
	news   chan struct{}
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
	return &Sightings{wanted: make(map[string]*sighting), news: make(chan struct{}, 1), live: newNeighbours()}
}

// want asks for what requests sent at since or later show of the session and its
// address.
func (s *Sightings) want(id, address string, since time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted[id] = &sighting{since: since, address: address}
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

// Show tells of the sessions that a request sent at a time showed.
func (s *Sightings) Show(sessions []events.Session, sent time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	where := make([]string, len(sessions))
	for i := range sessions {
		if !sessions[i].Online {
			s.live.leave(sessions[i].ID)
			continue
		}
		where[i] = addressOf(&sessions[i], s.Address)
		s.live.stay(sessions[i].ID, sessions[i].GuestID, where[i])
	}
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
		here := at[where[i]]
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

// Gone tells that a session has ended.
func (s *Sightings) Gone(id string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.leave(id)
}

// shared reports whether another session that is known to be online has the
// address, unless it is certainly the same guest's.
func (s *Sightings) shared(id, guest, address string) bool {
	if s == nil || address == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live.shared(id, guest, address)
}

// signal is signalled when something wanted was shown.
func (s *Sightings) signal() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.news
}
