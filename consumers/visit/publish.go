package visit

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
)

// Headers of a visit event that the next start needs.
const (
	// HeaderInput is the sequence of the last session event that was applied.
	HeaderInput = "Guestflow-Input"
	// HeaderClock is the time of the Tick that caused the event, where one did.
	HeaderClock = "Guestflow-Clock"
	// HeaderAnswer is the Answer that caused the event, where one did.
	HeaderAnswer = "Guestflow-Answer"
)

// message puts an output into the form in which it is published.
func message(subjects visits.Subjects, o Output) (*nats.Msg, error) {
	body, err := visits.Encode(o.Event)
	if err != nil {
		return nil, err
	}
	h := nats.Header{}
	h.Set(jetstream.MsgIDHeader, o.Event.ID)
	h.Set("Content-Type", events.ContentType)
	h.Set(HeaderInput, strconv.FormatUint(o.Input, 10))
	if !o.Clock.IsZero() {
		h.Set(HeaderClock, o.Clock.Format(time.RFC3339Nano))
	}
	if o.Answer != nil {
		h.Set(HeaderAnswer, o.Answer.String())
	}
	return &nats.Msg{Subject: subjects.Of(o.Event), Header: h, Data: body}, nil
}

// published is what the stream of visits holds beyond the checkpoint.
type published struct {
	ids   map[string]bool
	last  uint64 // sequence; 0 where there is nothing
	steps []step // in the order of publishing
}

// step is a Tick or an Answer that has published something.
type step struct {
	account string
	input   uint64
	at      time.Time // of the Tick
	answer  Answer    // the zero one where it was a Tick
}

// repeat takes the step again.
func (s *step) repeat(r *Reducer) []Output {
	if s.answer != (Answer{}) {
		return r.Answer(s.account, s.answer)
	}
	return r.Tick(s.account, s.at)
}

// readPublished reads the visit events after a sequence.
func readPublished(ctx context.Context, stream jetstream.Stream, subjects visits.Subjects, after uint64) (*published, error) {
	p := &published{ids: map[string]bool{}}
	err := consume.Past(ctx, stream, consume.FromSequence(after+1), []string{subjects.All()}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		p.add(m.Subject(), subjects, m.Headers())
		p.last = meta.Sequence.Stream
		return true, nil
	})
	return p, err
}

func (p *published) add(subject string, subjects visits.Subjects, h nats.Header) {
	p.ids[h.Get(jetstream.MsgIDHeader)] = true
	at, noTick := time.Parse(time.RFC3339Nano, h.Get(HeaderClock))
	answer, noAnswer := parseAnswer(h.Get(HeaderAnswer))
	if noTick != nil && noAnswer != nil {
		return // a session event caused it
	}
	input, err := strconv.ParseUint(h.Get(HeaderInput), 10, 64)
	account, _, _, wrong := subjects.Parse(subject)
	if err != nil || wrong != nil {
		return // nothing that this package published
	}
	t := step{account, input, at, answer}
	if n := len(p.steps); n == 0 || p.steps[n-1] != t {
		p.steps = append(p.steps, t)
	}
}
