package occupancy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// warmUp is how many sequences before the checkpoint are read again at a start,
// so that browsers find the latest events, and resume, without a replay of their
// own. The state ignores them.
const warmUp = 512

// errSkipped: the consumer lost its place, as an ordered consumer may.
var errSkipped = errors.New("messages were skipped on the way; reading again from the last one")

// follow reads the stream from where the state stands until something fails.
//
// It is an ordered consumer (no acks, in memory, checked for gaps) that looks at
// the stream anew each time it begins, which the client library's own one does
// not: it would wait for ever at a sequence of a stream that no longer exists.
func (s *Service) follow(ctx context.Context, js jetstream.JetStream) error {
	ctx, release := connected(ctx, js.Conn())
	defer release()
	err := s.read(ctx, js)
	if cause := context.Cause(ctx); errors.Is(cause, errAway) {
		return cause
	}
	return err
}

// errAway: the client library waits in silence for its server to come back.
var errAway = errors.New("the connection to the NATS server is lost; it is made again as soon as the server answers")

// connected returns a context that ends with errAway when the connection is lost.
func connected(ctx context.Context, nc *nats.Conn) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	changes := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	if !nc.IsConnected() {
		cancel(errAway)
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-changes:
			cancel(errAway)
		case <-stop:
		}
	})
	return ctx, func() {
		nc.RemoveStatusListener(changes)
		close(stop)
		wait.Wait()
		cancel(nil)
	}
}

// read is follow on a context that ends with the connection.
func (s *Service) read(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, s.settings.Stream)
	if err != nil {
		return fmt.Errorf("looking up stream %s: %w", s.settings.Stream, err)
	}
	info := stream.CachedInfo()
	if err := s.align(ctx, js, stream, info); err != nil {
		return err
	}
	from := s.state.Sequence() + 1
	if _, oldest := s.feed.after(0); oldest == 0 {
		from = max(1, from-min(from, warmUp))
	}
	consumer, err := stream.CreateConsumer(ctx, s.consumer(max(from, info.State.FirstSeq, 1), s.filterSubject()))
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	defer s.discard(js.Conn(), stream, consumer)
	s.behind(consumer.CachedInfo().NumPending)

	messages, err := consumer.Messages(jetstream.PullMaxMessages(2000), jetstream.PullHeartbeat(2*time.Second), jetstream.PullExpiry(30*time.Second))
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	defer messages.Stop()
	for expected := uint64(1); ; expected++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
		}
		if meta.Sequence.Consumer != expected {
			return errSkipped
		}
		s.receive(msg, meta)
	}
}

func (s *Service) receive(msg jetstream.Msg, meta *jetstream.MsgMetadata) {
	m := Message{Sequence: meta.Sequence.Stream, Stored: meta.Timestamp}
	e, err := events.Decode(msg.Data())
	if m.Event = e; err != nil {
		s.settings.Log.Warn("occupancy: message is no event; skipped", "stream", s.settings.Stream, "sequence", m.Sequence, "subject", msg.Subject(), "error", err)
	}
	s.take(m, msg.Data(), msg.Headers().Get(jetstream.MsgIDHeader), meta.NumPending, err == nil)
	if meta.NumPending == 0 {
		s.live()
	}
}

// behind notes how much there is to read.
func (s *Service) behind(n uint64) {
	s.mu.Lock()
	s.status.Behind = n
	rebuilding := n > 0 && !s.ready
	if rebuilding {
		s.enter(Rebuilding)
	}
	s.mu.Unlock()
	switch {
	case n == 0:
		s.live()
	case rebuilding:
		s.announce()
	}
}

func (s *Service) filterSubject() string {
	return s.subjects.Filter(s.settings.Account, "", "")
}

func (s *Service) consumer(from uint64, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: jetstream.AckNonePolicy, FilterSubject: filter,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	}
}

// discard deletes a consumer that is no longer read. Where that cannot be, the
// server does it after a minute.
func (s *Service) discard(nc *nats.Conn, stream jetstream.Stream, c jetstream.Consumer) {
	if !nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := stream.DeleteConsumer(ctx, c.CachedInfo().Name); err != nil {
		s.settings.Log.Debug("occupancy: consumer left to expire", "consumer", c.CachedInfo().Name, "error", err)
	}
}

// align makes sure that the state is one of this very stream: a stream made
// anew, or one that lost its tail, has other events under the same sequences.
func (s *Service) align(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo) error {
	s.mu.RLock()
	fresh, created := s.created.IsZero(), s.created
	s.mu.RUnlock()
	if fresh {
		s.restore(ctx, js)
		s.mu.RLock()
		created = s.created
		s.mu.RUnlock()
	}
	why := ""
	switch seq := s.state.Sequence(); {
	case created.IsZero():
		why = "nothing is known yet"
	case !created.Equal(info.Created):
		why = "the stream was made anew"
	case seq > info.State.LastSeq:
		why = "the stream has lost its latest events"
	case seq >= info.State.FirstSeq && seq > 0:
		same, err := s.anchored(ctx, stream, seq)
		if err != nil {
			return err
		}
		if !same {
			why = "the stream has other events than those that were read"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.conn = stream, js.Conn()
	if why != "" {
		epoch := strconv.FormatInt(info.Created.UnixNano(), 36)
		if created.Equal(info.Created) { // the same sequences mean other events now
			epoch += "-" + strconv.FormatInt(s.settings.Now().UnixNano(), 36)
		}
		s.settings.Log.Info("occupancy: reading the stream from its start", "stream", s.settings.Stream, "why", why)
		s.state, s.anchor, s.created = NewOccupancy(s.settings.Limits), "", info.Created
		if s.feeding = false; s.ready {
			s.ready, s.whole = false, make(chan struct{})
		}
		s.status.Exact, s.status.Epoch = true, epoch
		s.bucket = written{}
	}
	s.feed.restart(s.status.Epoch)
	if s.state.Sequence()+1 < info.State.FirstSeq {
		s.status.Exact = false
		s.settings.Log.Warn("occupancy: events were dropped from the stream before they were read; sessions that began before may be missing until they change. Keep the stream longer than the longest outage (STREAM_MAX_AGE)",
			"stream", s.settings.Stream, "first_kept", info.State.FirstSeq, "last_read", s.state.Sequence())
	}
	return nil
}

// anchored reports whether the message at the state's sequence is still the one
// that was applied.
func (s *Service) anchored(ctx context.Context, stream jetstream.Stream, seq uint64) (bool, error) {
	msg, err := stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading message %d of stream %s: %w", seq, s.settings.Stream, err)
	}
	return msg.Header.Get(jetstream.MsgIDHeader) == s.anchor, nil
}
