package visit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/chain"
)

// Service makes the stream of visits. New makes one.
type Service struct {
	settings Settings
	asked    chan chan error // to forget; see Forget
	damaged  time.Time       // since when the checkpoint is; zero where it is not
	clocks   map[string]*clock

	mu     sync.Mutex
	status Status
	begun  time.Time
	told   string // why nothing can be done, as the log has it
}

// startWait is how long nothing is said of session events that were never there, nor of a
// connection: guestflow run makes both while this service starts.
const startWait = 5 * time.Second

// Status is how the service fares.
type Status struct {
	// Live is whether every session event is in.
	Live bool `json:"live"`
	// Error says why it is not, where that is not for a lack of time.
	Error string `json:"error,omitempty"`
	// Sequence is of the last session event that was applied; Behind counts those that are
	// still to be read.
	Sequence uint64 `json:"sequence"`
	Behind   uint64 `json:"behind"`
	// Open visits are not over; Present ones have a session online.
	Open    int `json:"open"`
	Present int `json:"present"`
	// Published counts events by kind since the start of this process.
	Published map[visits.Kind]uint64 `json:"published"`
}

// New returns a service with these settings; Run reports what is wrong with them.
func New(settings Settings) *Service {
	settings = settings.withDefaults()
	return &Service{settings: settings, asked: make(chan chan error), clocks: map[string]*clock{}, begun: settings.Now(), status: Status{Published: map[visits.Kind]uint64{}}}
}

// Status returns the present state.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Published = map[visits.Kind]uint64{}
	for k, n := range s.status.Published {
		st.Published[k] = n
	}
	return st
}

// Run makes visits until ctx ends, then saves a checkpoint and returns nil. It outlives
// every outage of NATS, the loss of a checkpoint, and streams that are deleted and made
// anew. It returns an error only for settings that cannot work.
func (s *Service) Run(ctx context.Context, js jetstream.JetStream) error {
	if err := s.settings.Check(); err != nil {
		return err
	}
	pauses := newPauses()
	for ctx.Err() == nil {
		before := s.Status().Sequence
		err := s.connected(ctx, js)
		if ctx.Err() != nil {
			break
		}
		s.failed(err)
		select {
		case <-ctx.Done():
		case <-time.After(waitAfter(err, s.Status().Sequence > before, pauses)):
		}
	}
	return nil
}

// leastPause and mostPause bound the time between two tries.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

func newPauses() backoff.BackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(leastPause), backoff.WithMaxInterval(mostPause), backoff.WithMaxElapsedTime(0))
}

// waitAfter is how long to wait after an error, before which session events were applied or
// not. Where another process makes the same visits, one of them is enough: whoever is late
// begins anew with the checkpoint, at each visit as it were.
func waitAfter(err error, advanced bool, pauses backoff.BackOff) time.Duration {
	if advanced && !errors.Is(err, chain.ErrOther) {
		pauses.Reset()
	}
	return pauses.NextBackOff()
}

// failed notes why nothing can be done at the moment.
func (s *Service) failed(err error) {
	text := err.Error()
	early := s.settings.Now().Sub(s.begun) < startWait && (errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, consume.ErrAway))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		text = fmt.Sprintf("stream %s does not exist; it is made when guestflow publishes its first event (guestflow run)", s.settings.Stream)
	}
	s.mu.Lock()
	s.status.Live, s.status.Error = false, text
	first := s.told != text && !early
	if first {
		s.told = text
	}
	s.mu.Unlock()
	if first {
		s.settings.Log.Warn("visits: cannot go on; trying again", "error", text)
	}
}

// connected works until something fails or the connection is lost.
func (s *Service) connected(ctx context.Context, js jetstream.JetStream) error {
	nc := js.Conn()
	working, cancel := context.WithCancelCause(ctx)
	changes := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	if !nc.IsConnected() {
		cancel(consume.ErrAway)
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case _, lost := <-changes:
			if lost { // else nobody listens any more
				cancel(consume.ErrAway)
			}
		case <-stop:
		}
	})
	w, err := s.open(working, js)
	if err == nil {
		err = w.run(working)
	}
	if err == nil {
		err = w.end(working, ctx.Err() != nil)
	}
	nc.RemoveStatusListener(changes)
	close(stop)
	wait.Wait()
	if cause := context.Cause(working); errors.Is(cause, consume.ErrAway) {
		err = cause
	}
	cancel(nil)
	return err
}
