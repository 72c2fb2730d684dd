package publisher

import (
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// Headers of every message, beside Nats-Msg-Id (the event's id),
// Nats-Expected-Stream and Content-Type.
const (
	// HeaderSeq is the entry's sequence number in the outbox, decimal.
	HeaderSeq = "Guestflow-Seq"
	// HeaderAccount is the account as configured, percent-encoded like the subject
	// token.
	HeaderAccount = "Guestflow-Account"
	// HeaderOutbox is the random name of the outbox that HeaderSeq counts in: another
	// process, or this one with a new data directory, has another.
	HeaderOutbox = "Guestflow-Outbox"
	// HeaderTraceparent is the W3C's Trace Context of the event, where events are traced:
	// the attribute of CloudEvents' extension for distributed tracing.
	HeaderTraceparent = "traceparent"
)

// Headers of atomic batches (nats-server 2.12).
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

// headerRoom is what the headers of one message take at most, in bytes, event id
// and subjects aside.
const headerRoom = 768

// messages turns entries into messages of one account and stream.
type messages struct {
	subjects                events.Subjects
	stream, account, outbox []string
	traceparent             func(event string) string // nil for none
}

func newMessages(stream, account, outbox string, s events.Subjects) messages {
	return messages{subjects: s, stream: []string{stream}, account: []string{events.EncodeToken(account).String()}, outbox: []string{outbox}}
}

var contentType = []string{events.ContentType}

func (m messages) of(e *Entry) *nats.Msg {
	msg := &nats.Msg{
		Subject: e.Subject(m.subjects),
		Data:    e.Body,
		Header: nats.Header{
			jetstream.MsgIDHeader:          {e.ID},
			jetstream.ExpectedStreamHeader: m.stream,
			HeaderSeq:                      {strconv.FormatUint(e.Seq, 10)},
			HeaderAccount:                  m.account,
			HeaderOutbox:                   m.outbox,
			"Content-Type":                 contentType,
		},
	}
	if m.traceparent != nil {
		msg.Header[HeaderTraceparent] = []string{m.traceparent(e.ID)}
	}
	return msg
}

func expectLastOf(m *nats.Msg, filter string, seq uint64) {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(seq, 10)}
	m.Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{filter}
}

// tooLarge returns the error for an entry that the connected server would
// refuse, or nil.
func tooLarge(e *Entry, limit int64) error {
	if size := messageSize(e); limit > 0 && int64(size) > limit {
		return fmt.Errorf("event %s (outbox %d): %w: about %d bytes, max_payload is %d; raise max_payload in the server's configuration", e.ID, e.Seq, ErrTooLarge, size, limit)
	}
	return nil
}

func messageSize(e *Entry) int { return len(e.Body) + len(e.ID) + headerRoom }

// mark is what a stored message says about its place in an account's log. The
// zero mark stands for no message.
type mark struct {
	seq    uint64 // in the stream
	writer string // the outbox that it came from; empty when guestflow did not write it
	outbox uint64 // its sequence number there
	id     string
}

// Wrote reports whether a message of the stream is guestflow's, whichever process wrote it.
func Wrote(h nats.Header) bool { return markOf(0, h).writer != "" }

func markOf(seq uint64, h nats.Header) mark {
	m := mark{seq: seq, id: h.Get(jetstream.MsgIDHeader)}
	n, err := strconv.ParseUint(h.Get(HeaderSeq), 10, 64)
	if writer := h.Get(HeaderOutbox); err == nil && n > 0 && writer != "" {
		m.writer, m.outbox = writer, n
	}
	return m
}
