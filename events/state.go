package events

import (
	"errors"
	"fmt"
	"time"
)

// State is what is known of one session: the fold of its events. guestflow's
// store holds exactly this, so the stream alone can rebuild it.
//
// The zero State is a session of which no event was published yet.
type State struct {
	// Session as in the last event, so its figures are the published ones.
	Session Session
	// Revision and Episode of the last event.
	Revision int64
	Episode  int64
	// SeenAt is Observed.At of the last event.
	SeenAt time.Time
}

// Tracked reports whether any event of the session has been seen.
func (s State) Tracked() bool { return s.Revision > 0 }

// Errors of State.Apply.
var (
	// ErrStale: the event's revision is not newer than the state's. It was
	// delivered again; skipping it is right.
	ErrStale = errors.New("event is not newer than the state")
	// ErrGap: one or more revisions are missing between state and event.
	ErrGap = errors.New("events are missing before this one")
	// ErrOrder: the kind cannot follow the state, for instance traffic of a
	// session that has ended.
	ErrOrder = errors.New("event cannot follow the state")
)

// Apply returns the state after e. With an error the state is returned
// unchanged; ErrGap and ErrOrder leave it to the caller whether to go on from
// StateOf(e), since every event holds the whole session.
func (s State) Apply(e Event) (State, error) {
	d := &e.Data
	switch {
	case s.Tracked() && s.Session.ID != d.Session.ID:
		return s, fmt.Errorf("session %s: event of session %s: %w", s.Session.ID, d.Session.ID, ErrOrder)
	case d.Revision <= s.Revision:
		return s, fmt.Errorf("session %s: revision %d after %d: %w", d.Session.ID, d.Revision, s.Revision, ErrStale)
	case d.Revision != s.Revision+1:
		return s, fmt.Errorf("session %s: revision %d after %d: %w", d.Session.ID, d.Revision, s.Revision, ErrGap)
	}
	ok := false
	switch e.Kind {
	case Discovered, Started:
		ok = !s.Tracked() && d.Episode == 0
	case Resumed:
		ok = s.Tracked() && !s.Session.Online && d.Episode == s.Episode+1
	case Traffic, Updated, Ended:
		ok = s.Tracked() && s.Session.Online && d.Episode == s.Episode
	}
	if !ok || d.Session.Online == (e.Kind == Ended) {
		return s, fmt.Errorf("session %s: %s at revision %d: %w", d.Session.ID, e.Kind, d.Revision, ErrOrder)
	}
	return StateOf(e), nil
}

// StateOf returns the state that e leaves, whatever was before.
func StateOf(e Event) State {
	return State{Session: e.Data.Session, Revision: e.Data.Revision, Episode: e.Data.Episode, SeenAt: e.Data.Observed.At}
}
