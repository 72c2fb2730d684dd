package occupancy

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

// warmUp is how many sequences before the checkpoint are read again at a start,
// so that browsers find the latest events, and resume, without a replay of their
// own. The state ignores them.
const warmUp = 512

// follow reads the stream from where the state stands until something fails.
func (s *Service) follow(ctx context.Context, js jetstream.JetStream) error {
	if !js.Conn().IsConnected() {
		return consume.ErrAway // without it each request waits for its time limit
	}
	err := s.read(ctx, js)
	if errors.Is(err, consume.ErrAway) {
		return consume.ErrAway
	}
	return err
}

// read is follow on a connection. It looks at the stream anew each time it begins: it
// may be another by then.
func (s *Service) read(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, s.settings.Stream)
	if err != nil {
		return fmt.Errorf("looking up stream %s: %w", s.settings.Stream, err)
	}
	info := stream.CachedInfo()
	holes, err := s.findHoles(ctx, js, stream, info)
	if err != nil {
		return err
	}
	if err := s.align(ctx, js, stream, info, holes); err != nil {
		return err
	}
	s.mu.Lock()
	s.holes = holes
	s.mu.Unlock()
	from := s.sequence() + 1
	if _, oldest := s.feed.after(0); oldest == 0 {
		from = max(1, from-min(from, warmUp))
	}
	r, err := consume.Open(ctx, js.Conn(), stream, consume.FromSequence(max(from, info.State.FirstSeq, 1)), s.filterSubject())
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	defer r.Close()
	// The server that is read may lag behind the stream's leader: what it has is not all.
	whole := func(read uint64) error {
		if s.isReady() {
			return nil
		}
		return consume.Complete(ctx, stream, []string{s.filterSubject()}, read, info.State.LastSeq)
	}
	err = nil
	if r.Pending == 0 {
		err = whole(r.Behind)
	}
	switch {
	case err == nil:
		s.behind(r.Pending)
	case !errors.Is(err, consume.ErrLagging):
		return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	for {
		msg, meta, err := r.Next()
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
		}
		s.receive(msg, meta)
		if meta.NumPending > 0 {
			continue
		}
		switch err := whole(meta.Sequence.Stream); {
		case err == nil:
			s.live()
		case !errors.Is(err, consume.ErrLagging):
			return fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
		}
	}
}

func (s *Service) isReady() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ready
}

func (s *Service) receive(msg jetstream.Msg, meta *jetstream.MsgMetadata) {
	m := Message{Sequence: meta.Sequence.Stream, Stored: meta.Timestamp}
	e, body, err := s.decode(msg)
	if m.Event = e; err != nil {
		s.settings.Log.Warn("occupancy: message is no event; skipped", "stream", s.settings.Stream, "sequence", m.Sequence, "subject", msg.Subject(), "error", err)
	}
	s.take(m, body, msg.Headers().Get(jetstream.MsgIDHeader), meta.NumPending, err == nil)
}

// decode returns an event, and its document, without who is forgotten.
func (s *Service) decode(msg jetstream.Msg) (e events.Event, body []byte, err error) {
	body = msg.Data()
	if e, err = events.Decode(body); err == nil && s.settings.Forgotten.Cleanse(&e) {
		body, err = events.Encode(e)
	}
	return e, body, err
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

// align makes sure that the state is one of this very stream: a stream made
// anew, or one that lost its tail, has other events under the same sequences. Who
// was online stays known where guestflow itself made it again.
func (s *Service) align(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo, holes holes) error {
	s.mu.RLock()
	fresh, created := s.created.IsZero(), s.created
	s.mu.RUnlock()
	if fresh {
		if err := s.restore(ctx, js); err != nil {
			return err
		}
		s.mu.RLock()
		created = s.created
		s.mu.RUnlock()
	}
	why, again := "", false
	switch seq := s.sequence(); {
	case created.IsZero():
		why = "nothing is known yet"
	case !created.Equal(info.Created):
		again = info.Config.Metadata[events.MetadataMade] == events.MadeAgain
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
	s.stream = stream
	if why != "" {
		epoch := strconv.FormatInt(info.Created.UnixNano(), 36)
		if created.Equal(info.Created) { // the same sequences mean other events now
			epoch += "-" + strconv.FormatInt(s.settings.Now().UnixNano(), 36)
		}
		s.settings.Log.Info("occupancy: reading the stream from its start", "stream", s.settings.Stream, "why", why, "sessions_kept", again)
		if s.anchor, s.created, s.status.Epoch = "", info.Created, epoch; again {
			s.state.Renumber()
		} else {
			s.begin()
		}
		s.bucket = written{}
	}
	s.feed.restart(s.status.Epoch)
	if holes.erased.Lost(s.state.Sequence(), info.State.FirstSeq) {
		s.status.Exact = false
		s.settings.Log.Warn("occupancy: events were dropped from the stream before they were read; sessions that began before may be missing until they change. Keep the stream longer than the longest outage (STREAM_MAX_AGE)",
			"stream", s.settings.Stream, "first_kept", info.State.FirstSeq, "last_read", s.state.Sequence())
		if s.state.Sequence() > 0 {
			s.state.Miss(info.State.FirstSeq - 1)
		}
	}
	return nil
}

// begin forgets all that was read; s.mu is held.
func (s *Service) begin() {
	s.state = NewOccupancy(s.settings.Limits)
	if s.feeding = false; s.ready {
		s.ready, s.whole = false, make(chan struct{})
	}
	s.status.Exact = true
}

// anchored reports whether the message at the state's sequence is the one that was
// applied. One that was deleted since says nothing against the state.
func (s *Service) anchored(ctx context.Context, stream jetstream.Stream, seq uint64) (bool, error) {
	msg, err := stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading message %d of stream %s: %w", seq, s.settings.Stream, err)
	}
	return msg.Header.Get(jetstream.MsgIDHeader) == s.anchor, nil
}
