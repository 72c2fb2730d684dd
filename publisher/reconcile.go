package publisher

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// position is where publishing goes on.
type position struct {
	outbox uint64 // entries up to here are in the stream
	last   uint64 // stream sequence of the account's last message, 0 for none
	// rests is that of the last one that guestflow wrote, where there is one: what the
	// cursor is to rest on.
	rests uint64
	end   uint64 // last sequence of the stream, or more when it was read late
}

// sight is what the stream shows of an account.
type sight struct {
	created  time.Time
	replicas int
	atomic   bool
	batched  bool   // takes fast batches
	end      uint64 // last sequence of the stream, read before the rest
	tail     uint64 // stream sequence of the account's last message, whoever wrote it
	last     mark   // the account's last message that guestflow wrote
	// reused: another message stands at the cursor's stream sequence.
	reused bool
	// again: the stream takes the place of one that was lost or deleted: guestflow made it,
	// or an operator promoted a mirror and said so in its metadata.
	again bool
}

// verdict is what to make of a sight.
type verdict struct {
	at     position
	lost   bool // the stream lost a tail that it had acknowledged
	gone   bool // the stream was deleted, and guestflow made it again
	fenced bool
}

// decide compares the cursor with the stream. own names this outbox.
func decide(c Cursor, own string, s sight) verdict {
	v := verdict{at: position{outbox: c.OutboxSeq, last: s.tail, rests: cmp.Or(s.last.seq, s.tail), end: s.end}}
	fresh := c.OutboxSeq == 0 && c.StreamSeq == 0
	foreign := s.last.writer != "" && s.last.writer != own
	ours := s.last.writer == own
	// A promoted mirror has the sequences of what it copied, and may lack its tail.
	same := s.created.Equal(c.StreamCreated) || s.again && ours
	if ours {
		// More than the cursor has when an answer, or the cursor's last writes, were
		// lost; less when the server said that it had the cursor's entry already,
		// from another outbox.
		v.at.outbox = max(c.OutboxSeq, s.last.outbox)
	}
	switch {
	case fresh:
		// A store that never published takes the account over from whoever wrote
		// last. That one is fenced by this one's messages.
	case !same:
		// Made anew by somebody: what was acknowledged before is not sent again. By
		// guestflow, in place of one that was missing: what is still kept is.
		v.fenced = foreign
		if v.gone = s.again && s.last.writer == ""; v.gone {
			v.at.outbox = 0
		}
	case s.last.seq == c.StreamSeq && c.OutboxSeq == 0:
		// The state was rebuilt from the stream up to here, whoever wrote it.
	case s.last.seq >= c.StreamSeq:
		v.fenced = foreign
	case s.end < c.StreamSeq || s.reused:
		v.lost = s.last.outbox < c.OutboxSeq || !ours
		if v.lost {
			v.at.outbox = 0
		}
		if v.lost && ours {
			v.at.outbox = s.last.outbox
		}
	}
	return v
}

// look reads the stream. The stream's end comes first: an older message that
// arrives between the requests then breaks the chain instead of being taken for
// part of it.
func (p *Publisher) look(ctx context.Context, c Cursor) (sight, error) {
	stream, err := p.js.Stream(ctx, p.Stream)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return sight{}, p.missing()
		}
		return sight{}, fmt.Errorf("stream %s: read its state: %w", p.Stream, unanswered(ctx, p.js.Conn(), Right{api(p.js, "STREAM.INFO."+p.Stream), "the stream's state"}, err))
	}
	info := stream.CachedInfo()
	s := sight{created: info.Created, replicas: info.Config.Replicas, atomic: info.Config.AllowAtomicPublish, batched: info.Config.AllowBatchPublish, end: info.State.LastSeq,
		again: info.Config.Metadata[events.MetadataMade] == events.MadeAgain}
	if s.last, err = p.message(ctx, getRequest{LastFor: p.filter}); err != nil {
		return sight{}, err
	}
	s.tail = s.last.seq
	same := s.created.Equal(c.StreamCreated)
	var rebuilt uint64 // the state was, up to here, whoever wrote that
	if same && c.OutboxSeq == 0 {
		rebuilt = c.StreamSeq
	}
	if s.last.writer == "" && s.tail > rebuilt && !c.StreamCreated.IsZero() {
		// Somebody published on the account's subjects by hand.
		if s.last, err = p.lastWritten(ctx, s.last, rebuilt); err != nil {
			return sight{}, err
		}
		p.Log.Warn("messages on the account's subjects that guestflow did not write", "account", p.Account, "stream", p.Stream, "sequence", s.tail)
	}
	if (same || s.again) && s.last.seq < c.StreamSeq && s.end >= c.StreamSeq {
		at, err := p.message(ctx, getRequest{Seq: c.StreamSeq})
		if err != nil {
			return sight{}, err
		}
		s.reused = at.seq != 0
	}
	return s, nil
}

// lastWritten is the account's last message that guestflow wrote, from m on backwards, or the
// one at a sequence. It is the zero mark where there is none.
func (p *Publisher) lastWritten(ctx context.Context, m mark, orAt uint64) (_ mark, err error) {
	for m.writer == "" && m.seq > 0 && m.seq != orAt && err == nil {
		m, err = p.before(ctx, m.seq)
	}
	return m, err
}

// before is the account's last message before a sequence of the stream. The server tells
// of the next one alone, so it is looked for in ever longer stretches, and within the one
// that has it in halves.
func (p *Publisher) before(ctx context.Context, end uint64) (found mark, err error) {
	from := end
	for length := uint64(1); found.seq == 0 && from > 1; length *= 2 {
		from -= min(length, from-1)
		if found, err = p.between(ctx, from, end); err != nil {
			return mark{}, err
		}
	}
	for from, to := found.seq+1, end; found.seq != 0 && from < to; {
		middle := from + (to-from)/2
		m, err := p.between(ctx, middle, to)
		if err != nil {
			return mark{}, err
		}
		if m.seq == 0 {
			to = middle
		} else {
			found, from = m, m.seq+1
		}
	}
	return found, nil
}

// between is the account's first message of a stretch of the stream, the end excluded.
func (p *Publisher) between(ctx context.Context, from, end uint64) (mark, error) {
	m, err := p.message(ctx, getRequest{Seq: from, NextFor: p.filter})
	if err != nil || m.seq >= end {
		return mark{}, err
	}
	return m, nil
}

// getRequest is the body of $JS.API.STREAM.MSG.GET.
type getRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
}

// message reads one stored message from the stream's leader; none is the zero
// mark. Direct gets would be answered by any replica, which may lag.
func (p *Publisher) message(ctx context.Context, r getRequest) (mark, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return mark{}, err
	}
	m, err := p.js.Conn().RequestWithContext(ctx, api(p.js, "STREAM.MSG.GET."+p.Stream), body)
	if err != nil {
		return mark{}, fmt.Errorf("stream %s: read the account's last message: %w", p.Stream, unanswered(ctx, p.js.Conn(), Right{api(p.js, "STREAM.MSG.GET."+p.Stream), "the last event"}, err))
	}
	var reply struct {
		Error   *refusal `json:"error"`
		Message struct {
			Seq    uint64 `json:"seq"`
			Header string `json:"hdrs"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return mark{}, fmt.Errorf("stream %s: read the account's last message: %w", p.Stream, err)
	}
	if reply.Error != nil {
		if reply.Error.ErrCode == codeNoMessage {
			return mark{}, nil
		}
		return mark{}, fmt.Errorf("stream %s: read the account's last message: %w", p.Stream, reply.Error)
	}
	var header nats.Header
	if reply.Message.Header != "" {
		raw, err := base64.StdEncoding.DecodeString(reply.Message.Header)
		if err != nil {
			return mark{}, fmt.Errorf("stream %s: headers of message %d: %w", p.Stream, reply.Message.Seq, err)
		}
		if header, err = nats.DecodeHeadersMsg(raw); err != nil {
			return mark{}, fmt.Errorf("stream %s: headers of message %d: %w", p.Stream, reply.Message.Seq, err)
		}
	}
	return markOf(reply.Message.Seq, header), nil
}

// api returns the subject of a JetStream request.
func api(js jetstream.JetStream, request string) string {
	o := js.Options()
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "." + request
	case o.Domain != "":
		return "$JS." + o.Domain + ".API." + request
	}
	return "$JS.API." + request
}
