package alert

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// Source tells the figures of all locations, and the time of the platform. It reports
// false while it has none.
type Source interface {
	Venues() (now time.Time, venues []Venue, ok bool)
}

// Settings of a Service. A zero field means its default.
type Settings struct {
	// File is the path of the rules file.
	File   string
	Source Source
	// Groups returns those in use; nil is none.
	Groups func() *group.Tree
	// Stream and Prefix are those of alerts. Defaults alerts.DefaultStream and
	// alerts.DefaultPrefix. The stream is made where it does not exist, with MaxAge (0
	// keeps for ever) and Replicas (default 1); one that exists is never changed.
	Stream, Prefix string
	MaxAge         time.Duration
	Replicas       int
	// Declared says that the stream is declared elsewhere, and never made here.
	Declared bool
	// Every is the time between two looks. Default 5 s.
	Every time.Duration
	// Log defaults to slog.Default.
	Log *slog.Logger
}

// Status is how the service fares.
type Status struct {
	// Error says why nothing is decided; File why the rules file as it is now is not used.
	Error, File string
	// Raised are the alerts that are not cleared, the latest first; Recent the latest
	// events, the last one first.
	Raised, Recent []alerts.Event
	// Rules counts the rules in use.
	Rules int
}

// recent is how many of the latest events are kept at hand.
const recent = 50

// Service raises and clears alerts. New makes one.
type Service struct {
	settings Settings
	subjects alerts.Subjects
	judge    *Judge
	// Digests of the file: at the last look, and as it was used or refused.
	seen, taken [sha256.Size]byte

	mu     sync.Mutex
	status Status
}

// New reads the rules file; the error says what is wrong with it or with the settings.
func New(s Settings) (*Service, error) {
	subjects, err := alerts.NewSubjects(s.Prefix)
	if err != nil {
		return nil, err
	}
	if s.Stream == "" {
		s.Stream = alerts.DefaultStream
	}
	if s.Every <= 0 {
		s.Every = 5 * time.Second
	}
	if s.Replicas <= 0 {
		s.Replicas = 1
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	service := &Service{settings: s, subjects: subjects, judge: NewJudge(Rules{})}
	return service, service.read()
}

// read reads the rules file where it has changed. With an error the rules stay. A change
// counts once two looks found the same: the first may have come amid a write, and what is
// left out would be cleared.
func (s *Service) read() error {
	data, err := handwritten.ReadFile(s.settings.File)
	var groups *group.Tree
	if s.settings.Groups != nil {
		groups = s.settings.Groups() // another pointer each time that their file has changed
	}
	digest := sha256.Sum256(append(data, fmt.Sprintf("%v %p", err, groups)...))
	settled := s.seen == digest || s.seen == [sha256.Size]byte{}
	if s.seen = digest; !settled || digest == s.taken {
		return nil
	}
	s.taken = digest
	rules, err := parseFile(s.settings.File, data, err, groups)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.status.File = err.Error()
		return err
	}
	if !reflect.DeepEqual(rules, s.judge.rules) { // else what is held would begin anew for nothing
		s.judge.Use(rules)
	}
	s.status.File, s.status.Rules = "", len(rules.Rules)
	return nil
}

// Status returns the present state.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// startWait is how long nothing is said of NATS that is not there yet.
const startWait = 5 * time.Second

// Run looks and publishes until ctx ends. It outlives every outage of NATS, and a stream
// that is deleted and made anew.
func (s *Service) Run(ctx context.Context, js jetstream.JetStream) error {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	begun, told := time.Now(), ""
	for ctx.Err() == nil {
		err := s.connected(ctx, js, pause)
		if ctx.Err() != nil {
			break
		}
		s.mu.Lock()
		s.status.Error = err.Error()
		s.mu.Unlock()
		if told != err.Error() && time.Since(begun) > startWait {
			told = err.Error()
			s.settings.Log.Warn("alerts: cannot go on; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// connected works until something fails or the connection is lost.
func (s *Service) connected(ctx context.Context, js jetstream.JetStream, pause backoff.BackOff) error {
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
	err := s.work(working, js, pause)
	nc.RemoveStatusListener(changes)
	close(stop)
	wait.Wait()
	if cause := context.Cause(working); errors.Is(cause, consume.ErrAway) {
		err = cause
	}
	cancel(nil)
	return err
}

// work reads what the stream holds, and goes on from there until something fails.
func (s *Service) work(ctx context.Context, js jetstream.JetStream, pause backoff.BackOff) error {
	stream, err := s.stream(ctx, js)
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.settings.Stream, err)
	}
	created := stream.CachedInfo().Created
	s.judge.Forget()
	s.mu.Lock()
	s.status.Recent = nil
	s.mu.Unlock()
	last, err := s.fold(ctx, stream, 0)
	if err != nil {
		return err
	}
	tick := time.NewTicker(s.settings.Every)
	defer tick.Stop()
	for {
		if last, err = s.round(ctx, js, stream, created, last); err != nil {
			return err
		}
		pause.Reset()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round looks once, and publishes what is due. It returns the sequence that the stream
// ends with.
func (s *Service) round(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, created time.Time, last uint64) (uint64, error) {
	if err := s.read(); err != nil {
		s.settings.Log.Warn("alerts: the changed file is not usable, and the rules are as they were", "error", err)
	}
	info, err := stream.Info(ctx)
	switch {
	case err != nil:
		return last, fmt.Errorf("stream %s: %w", s.settings.Stream, err)
	case !info.Created.Equal(created), info.State.LastSeq < last:
		return last, fmt.Errorf("stream %s was made anew", s.settings.Stream)
	case info.State.LastSeq > last: // another process
		if last, err = s.fold(ctx, stream, last); err != nil {
			return last, err
		}
	}
	now, venues, ok := s.settings.Source.Venues()
	if ok {
		for _, e := range s.judge.Look(now, venues) {
			last, err = s.publish(ctx, js, e, last)
			if errors.Is(err, errFirst) {
				break // the next round reads what it is
			}
			if err != nil {
				return last, err
			}
		}
	}
	raised := s.judge.Raised()
	s.mu.Lock()
	s.status.Error, s.status.Raised = "", raised
	s.mu.Unlock()
	return last, nil
}

// errFirst: another process has published an alert since the stream was read.
var errFirst = errors.New("another process was first")

// publish puts an event into the stream, which must end with the given sequence: so no
// second process, and no message whose ack was lost, makes it twice.
func (s *Service) publish(ctx context.Context, js jetstream.JetStream, e alerts.Event, last uint64) (uint64, error) {
	body, err := alerts.Encode(e)
	if err != nil {
		return last, err
	}
	m := nats.NewMsg(s.subjects.Of(e))
	m.Data = body
	m.Header.Set(jetstream.MsgIDHeader, e.ID)
	m.Header.Set("Content-Type", events.ContentType)
	ack, err := js.PublishMsg(ctx, m, jetstream.WithExpectStream(s.settings.Stream), jetstream.WithExpectLastSequence(last))
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, err == nil && ack.Duplicate:
		return last, errFirst
	case err != nil:
		return last, fmt.Errorf("publishing an alert: %w", err)
	}
	s.take(e)
	a := &e.Data.Alert
	s.settings.Log.Info("alert "+string(e.Kind), "rule", a.Rule, "account", e.Account, "location", a.LocationID, "value", a.Value, "threshold", a.Threshold)
	return ack.Sequence, nil
}

// fold reads the events after a sequence.
func (s *Service) fold(ctx context.Context, stream jetstream.Stream, after uint64) (last uint64, err error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return after, fmt.Errorf("stream %s: %w", s.settings.Stream, err)
	}
	last = info.State.LastSeq // what has left the stream counts too
	err = consume.Past(ctx, stream, consume.FromSequence(after+1), []string{s.subjects.All()}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		last = max(last, meta.Sequence.Stream)
		if e, err := alerts.Decode(m.Data()); err == nil {
			s.take(e)
		}
		return true, nil
	})
	if err != nil {
		return last, fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	return last, nil
}

// take notes an event that is in the stream.
func (s *Service) take(e alerts.Event) {
	s.judge.Take(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Recent = append([]alerts.Event{e}, s.status.Recent[:min(len(s.status.Recent), recent-1)]...)
}

// stream returns the stream of alerts, which is made where it does not exist.
func (s *Service) stream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, s.settings.Stream)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || s.settings.Declared {
		return stream, err
	}
	stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: s.settings.Stream, Description: "guestflow: alerts of locations", Subjects: []string{s.subjects.All()},
		Storage: jetstream.FileStorage, MaxAge: s.settings.MaxAge, Replicas: s.settings.Replicas, AllowDirect: true,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
		return js.Stream(ctx, s.settings.Stream)
	}
	return stream, err
}
