package webhook

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

func TestRecentRemembersForItsTime(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	r := newRecent(time.Minute)
	r.add(1, start)
	r.add(2, start.Add(59*time.Second))
	r.add(3, start.Add(118*time.Second))
	if !r.has(2) || !r.has(3) {
		t.Error("forgets what is less than a minute old")
	}
	r.add(4, start.Add(178*time.Second))
	if r.has(1) || r.has(2) {
		t.Error("remembers what is older than two minutes")
	}
}

// handedOut is a message as a consumer hands it out.
type handedOut struct {
	jetstream.Msg // panics on what the test does not expect
	body          []byte
	meta          jetstream.MsgMetadata
	acks          int
}

func (m *handedOut) Data() []byte                              { return m.body }
func (m *handedOut) Metadata() (*jetstream.MsgMetadata, error) { return &m.meta, nil }
func (m *handedOut) Ack() error                                { m.acks++; return nil }
func (m *handedOut) Subject() string                           { return "guest" }

// TestSettledEventIsNotSentAgain: what the server hands out again although its end
// was told, since the ack was lost or late, is acked once more. A consumer that
// starts anew, for a replay, hands out what it means.
func TestSettledEventIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for deliveries, wantAcks := range map[uint64]int{1: 0, 2: 1} {
		m := &handedOut{meta: jetstream.MsgMetadata{NumDelivered: deliveries, Sequence: jetstream.SequencePair{Stream: 7}}}
		body, err := events.Encode(sample(events.Started, "s", 1))
		if err != nil {
			t.Fatal(err)
		}
		m.body = body
		e := routed(t, "https://crm.example/hook")
		o, err := (&Dispatcher{}).options()
		if err != nil {
			t.Fatal(err)
		}
		r := newRunner(e, o, nil, nil, slog.New(slog.DiscardHandler))
		r.finish(outcome{job: &job{seq: 7}})
		r.take(m)
		if taken := len(r.ready) > 0; m.acks != wantAcks || taken != (wantAcks == 0) {
			t.Errorf("handed out %d times: %d acks, taken: %v", deliveries, m.acks, taken)
		}
	}
}
