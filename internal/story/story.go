// Package story tells the whole life of one session from the stream alone: its events
// in order, when each happened and when it reached the stream, and what proves it.
//
// It reads, and changes nothing. A session has no subject of its own, so all events of
// the chosen accounts and times are looked through.
package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

// Story is what the stream holds of one session of one account.
type Story struct {
	Account   string `json:"account"`
	SessionID string `json:"session_id"`
	// Chapters are its events, in the order of the stream; never empty.
	Chapters []Chapter `json:"events"`
}

// Chapter is one event of a session.
type Chapter struct {
	// Sequence is its place in the stream, and Stored when it got there, by the clock of
	// the NATS server.
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored_at"`
	// Happened bounds when the change happened, by the platform's clock.
	Happened Span `json:"happened"`
	// Delay bounds the time from Happened to Stored. It compares two clocks.
	Delay Delay `json:"delay"`
	// Missing is how many events of the session should stand between this one and the
	// one before, and do not: they are older than what is kept, or were removed.
	Missing int64 `json:"missing_before,omitempty"`
	// Wrong says why the event cannot follow the one before it; empty where it can.
	Wrong string       `json:"wrong,omitempty"`
	Event events.Event `json:"-"`
}

// Span is a stretch of time in which something happened. Without NotBefore nothing is
// known of how early; where both are equal the platform itself told the time.
type Span struct {
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after"`
}

// Exact reports whether the time is the platform's own.
func (s Span) Exact() bool { return s.NotBefore.Equal(s.NotAfter) }

// Delay is how long something took. AtMost is negative where that is not known.
type Delay struct {
	AtLeast time.Duration `json:"-"`
	AtMost  time.Duration `json:"-"`
}

// MarshalJSON writes seconds; what is not known is absent.
func (d Delay) MarshalJSON() ([]byte, error) {
	text := fmt.Sprintf(`{"at_least_seconds":%.3f`, d.AtLeast.Seconds())
	if d.AtMost >= 0 {
		text += fmt.Sprintf(`,"at_most_seconds":%.3f`, d.AtMost.Seconds())
	}
	return []byte(text + "}"), nil
}

// happened bounds when the change of e happened. The time of an event is the platform's
// own, or that of the look that saw it: then it happened after the last look that did
// not.
func happened(e *events.Event) Span {
	o := &e.Data.Observed
	if !e.Time.Equal(o.At) {
		return Span{NotBefore: e.Time, NotAfter: e.Time}
	}
	return Span{NotBefore: o.NotYetAt, NotAfter: o.At}
}

func delayOf(s Span, stored time.Time) Delay {
	d := Delay{AtLeast: max(0, stored.Sub(s.NotAfter)), AtMost: -1}
	if !s.NotBefore.IsZero() {
		d.AtMost = max(0, stored.Sub(s.NotBefore))
	}
	return d
}

// ErrNothing: the stream holds no event of the session.
var ErrNothing = errors.New("the stream holds no event of this session")

// Query says of which session to tell.
type Query struct {
	Session string
	Account string // empty for any: session ids of two accounts may be equal
	// From is where in the stream to begin; the zero value is its start.
	From     time.Time
	Subjects events.Subjects
}

// Tell reads the stories of a session: one for each account that has it, mostly one.
// Without any the error is ErrNothing. What the stream holds when Tell begins is read,
// not what comes later.
func Tell(ctx context.Context, stream jetstream.Stream, q Query) ([]*Story, error) {
	from := consume.FromStart()
	if !q.From.IsZero() {
		from = consume.FromTime(q.From)
	}
	may := mayHold(q.Session)
	byAccount := map[string]*teller{}
	var all []*Story
	err := consume.Past(ctx, stream, from, []string{q.Subjects.Filter(q.Account, "", "")}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if !may(m.Data()) {
			return true, nil
		}
		e, err := events.Decode(m.Data())
		if err != nil || e.Data.Session.ID != q.Session {
			return true, nil // what is no event tells of no session
		}
		t := byAccount[e.Account]
		if t == nil {
			t = &teller{story: &Story{Account: e.Account, SessionID: q.Session}}
			byAccount[e.Account] = t
			all = append(all, t.story)
		}
		t.add(e, meta)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("session %q: %w", q.Session, ErrNothing)
	}
	return all, nil
}

// mayHold tells bodies that cannot be of the session without decoding them: an id of
// letters and digits stands in a document as it is.
func mayHold(session string) func(body []byte) bool {
	plain := session != "" && strings.Trim(session, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
	if !plain {
		return func([]byte) bool { return true }
	}
	quoted := []byte(`"` + session + `"`)
	return func(body []byte) bool { return bytes.Contains(body, quoted) || bytes.Contains(body, []byte(`\u`)) }
}

// teller writes one story.
type teller struct {
	story *Story
	state events.State
}

func (t *teller) add(e events.Event, meta *jetstream.MsgMetadata) {
	c := Chapter{Sequence: meta.Sequence.Stream, Stored: meta.Timestamp.UTC(), Happened: happened(&e), Event: e}
	c.Delay = delayOf(c.Happened, c.Stored)
	switch after, err := t.state.Apply(e); {
	case err == nil:
		t.state = after
	case errors.Is(err, events.ErrGap):
		c.Missing = e.Data.Revision - t.state.Revision - 1
		t.state = events.StateOf(e)
	default:
		c.Wrong = err.Error()
		if !errors.Is(err, events.ErrStale) {
			t.state = events.StateOf(e)
		}
	}
	t.story.Chapters = append(t.story.Chapters, c)
}
