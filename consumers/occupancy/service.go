package occupancy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

// StreamState says what the answers rest on.
type StreamState string

// The states of a Service.
const (
	// Starting: the stream was not reached yet.
	Starting StreamState = "starting"
	// Rebuilding: reading the past; there are no answers yet.
	Rebuilding StreamState = "rebuilding"
	// Live: every event of the stream is in.
	Live StreamState = "live"
	// Disconnected: the stream cannot be read; the answers are as of the last
	// event.
	Disconnected StreamState = "disconnected"
)

// Status is the state of the service, for its health page.
type Status struct {
	State StreamState `json:"state"`
	// Since is when the state was entered, on this machine's clock.
	Since time.Time `json:"since"`
	// Error says why the stream cannot be read, and what to do.
	Error string `json:"error,omitempty"`
	// Epoch names the stream; sequences of different epochs do not compare.
	Epoch    string `json:"epoch"`
	Sequence uint64 `json:"sequence"`
	// Behind counts the events that are still to be read.
	Behind uint64 `json:"behind"`
	// Exact is false when the stream had dropped events before they were read,
	// and no checkpoint knows them: sessions that began before Since may be
	// missing.
	Exact bool `json:"exact"`
	// HeartbeatSeconds is the longest that a stream of server-sent events is silent:
	// after twice that, its connection is dead.
	HeartbeatSeconds float64 `json:"heartbeat_seconds"`
}

// Service keeps the occupancy of a stream. New makes one; its Handler may be
// served before and during Run.
type Service struct {
	settings Settings
	subjects events.Subjects
	feed     *ring
	running  atomic.Bool
	stopped  chan struct{} // closed when Run ends: clients go
	clients  atomic.Int64
	replays  chan struct{} // bounds the replays from the stream at a time

	mu      sync.RWMutex
	state   *Occupancy
	status  Status
	ready   bool          // the state has been whole once since it was begun
	whole   chan struct{} // closed when ready is set
	feeding bool          // events go to the feed; from then on every one does
	created time.Time
	anchor  string // message id at the state's sequence
	stream  jetstream.Stream
	holes   holes
	bucket  written
	saved   written
	hopeful time.Time  // since when the checkpoint is tried to be read in vain; of Run alone
	saving  sync.Mutex // one at a time: the last one to begin is the last one to be stored
	told    string     // why the stream cannot be read, as the log has it

	visits visitBook
	asked  chan struct{} // bounds the stories and replays under way
}

// startWait is how long nothing is said of a stream that was never there, nor of a
// connection: guestflow run makes both while this service starts.
const startWait = 5 * time.Second

// written is what was last written somewhere.
type written struct {
	Sequence uint64    `json:"sequence,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// New returns a service with these settings; Run reports what is wrong with
// them, as Settings.Check does.
func New(settings Settings) *Service {
	s := &Service{
		settings: settings.withDefaults(),
		stopped:  make(chan struct{}),
		whole:    make(chan struct{}),
		replays:  make(chan struct{}, 16),
		asked:    make(chan struct{}, 2),
	}
	s.subjects, _ = events.NewSubjects(s.settings.Prefix)
	s.feed = newRing(s.settings.FeedBytes)
	s.state = NewOccupancy(s.settings.Limits)
	s.status = Status{State: Starting, Since: s.settings.Now().UTC(), Exact: true}
	return s
}

// ErrRunning is returned by a second call of Run.
var ErrRunning = errors.New("occupancy: Run was called before; make another Service")

// Run reads the stream until ctx ends, then saves a checkpoint, lets the clients
// go, and returns nil. It outlives every outage of NATS, the loss of the bucket
// or of the checkpoint, and a stream that is deleted and made anew. It returns an
// error only for settings that cannot work, and ErrRunning.
func (s *Service) Run(ctx context.Context, js jetstream.JetStream) error {
	if err := s.settings.Check(); err != nil {
		return err
	}
	if !s.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer close(s.stopped)
	var wait sync.WaitGroup
	changed := make(chan []Place)
	wait.Go(func() { s.show(ctx, changed) })
	wait.Go(func() { s.fill(ctx, js, changed) })
	wait.Go(func() { s.checkpoints(ctx, js) })
	if s.settings.Visits != "" {
		wait.Go(func() { s.countVisits(ctx, js) })
	}
	defer wait.Wait()

	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		began := s.sequence()
		err := s.follow(ctx, js)
		if ctx.Err() != nil {
			break
		}
		if s.sequence() != began {
			pause.Reset()
		}
		s.lost(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// sequence is that of the last message that is in the state.
func (s *Service) sequence() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.Sequence()
}

// lost notes that the stream cannot be read.
func (s *Service) lost(err error) {
	text := err.Error()
	absent := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, consume.ErrAway)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		text = fmt.Sprintf("stream %s does not exist; it is made when guestflow publishes its first event (guestflow run)", s.settings.Stream)
	}
	s.mu.Lock()
	starting := s.status.State == Starting
	first := !starting && s.status.State != Disconnected || s.told != text
	if starting && absent && s.settings.Now().Sub(s.status.Since) < startWait {
		first = false
	}
	if !starting {
		s.enter(Disconnected)
	}
	s.status.Error = text
	if first {
		s.told = text
	}
	s.mu.Unlock()
	if first {
		s.settings.Log.Warn("occupancy: stream cannot be read; trying again", "stream", s.settings.Stream, "error", text)
		s.announce()
	}
}

// enter changes the state; s.mu is held.
func (s *Service) enter(state StreamState) {
	if s.status.State != state {
		s.status.State, s.status.Since = state, s.settings.Now().UTC()
	}
	if state == Live || state == Rebuilding {
		s.status.Error, s.told = "", ""
	}
}

// live notes that every event is in.
func (s *Service) live() {
	s.mu.Lock()
	was := s.status.State
	if !s.ready {
		s.ready = true
		close(s.whole)
	}
	s.enter(Live)
	c := s.state.Counters()
	s.mu.Unlock()
	if was != Live {
		s.settings.Log.Info("occupancy: live", "stream", s.settings.Stream, "sequence", s.Status().Sequence, "events", c.Events)
		s.announce()
	}
}

// announce tells every client the status.
func (s *Service) announce() {
	body, err := json.Marshal(s.Status())
	if err == nil {
		s.feed.add(&frame{text: sse("status", "", body)})
	}
}

// Status returns the present state.
func (s *Service) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.status
	st.Sequence = s.state.Sequence()
	st.HeartbeatSeconds = s.settings.Heartbeat.Seconds()
	return st
}

// take folds one message in and hands it to the clients.
func (s *Service) take(m Message, body []byte, id string, pending uint64, readable bool) {
	s.mu.Lock()
	epoch := s.status.Epoch
	if last := s.state.Sequence(); m.Sequence > last {
		s.anchor = id
		if last > 0 && s.holes.between(last, m.Sequence) {
			s.state.Miss(m.Sequence - 1)
		}
	}
	if readable {
		s.state.Apply(m)
	} else {
		s.state.Skip(m.Sequence)
	}
	s.status.Behind = pending
	// Of a long past, browsers need the end alone.
	s.feeding = s.feeding || s.ready || pending < warmUp
	feeding := s.feeding
	s.mu.Unlock()
	if readable && feeding {
		s.feed.add(eventFrame(m, body, epoch))
	}
}

// Gaps says what was missing from the stream, and how many of the sessions that are
// online are uncertain for it.
func (s *Service) Gaps() (c Counters, uncertain int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.Counters(), s.state.Uncertain()
}

// now is the present on the platform's clock; s.mu is held.
func (s *Service) now() time.Time { return s.state.PlatformTime(s.settings.Now()) }
