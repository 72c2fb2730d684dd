package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Operations of a fast batch, and how many of its messages go between two of the
// server's acknowledgements, which show that it is at work.
const (
	fastStart  = 0
	fastAppend = 1
	fastCommit = 2
	fastFlow   = 100
)

// fastPause is how long Chained stands in where the stream takes no more fast batches.
// One that was to end, and of which a message was not stored, counts as under way until
// the server ends (nats-server 2.15.2): each other writer that comes between may leave
// one, and 1,000 are all that a stream takes unless configured.
const fastPause = 10 * time.Minute

// lot is a number of entries that go out as a fast batch: the server stores them as
// they come and answers once, for the last.
//
// The protocol ends a batch at a gap, yet counts an event that it leaves out as a
// duplicate, and goes on behind one that it failed to write. So each message is
// tied to the one before as those of a chain are, over the ends of batches too, and
// an answer counts only where the stream ends as far on as there are entries.
type lot struct {
	entries []Entry
	id      string
	token   uint64
	end     uint64 // last sequence of the stream once all are in it
	sent    time.Time
}

// publishFast keeps two lots on their way.
func (a *attempt) publishFast(ctx context.Context) error {
	answerCtx, cancel := a.finishing(ctx)
	defer cancel()
	err := a.passFast(ctx, answerCtx)
	a.resize(err)
	var refused *refusal
	if errors.As(err, &refused) {
		// What came before is in the stream, and nobody said so.
		if lookErr := a.reconcile(answerCtx); errors.Is(lookErr, ErrFenced) {
			return lookErr
		}
	}
	return err
}

// passFast sends lots until something is in doubt, or the outbox is empty and that
// was to be reached.
func (a *attempt) passFast(ctx, answerCtx context.Context) error {
	var flying *lot
	for {
		next, err := a.sendLot(ctx, flying)
		if flying != nil {
			if landErr := a.landLot(answerCtx, flying); landErr != nil {
				return landErr
			}
			err = errors.Join(err, a.advance())
		}
		if err != nil {
			return err
		}
		idle := flying == nil && next == nil
		if flying = next; !idle {
			continue
		}
		switch {
		case a.turn:
			return errTurn
		case ctx.Err() == nil && a.untilEmpty:
			return nil
		}
		if err := a.idle(ctx); err != nil {
			return err
		}
	}
}

// sendLot takes the next entries and sends them behind those on their way. It
// returns nil when there are none, or they have to wait.
func (a *attempt) sendLot(ctx context.Context, flying *lot) (*lot, error) {
	if ctx.Err() != nil || a.turn || flying != nil && a.singly >= flying.entries[0].Seq {
		// What is sent singly may turn out to be in the stream already, and then is
		// not what the next one follows.
		return nil, nil
	}
	entries, err := a.take(a.window)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	if flying == nil {
		if err := a.unreplicated(ctx); err != nil {
			return nil, err
		}
	}
	l := &lot{entries: entries, id: nuid.Next(), end: a.at.end, sent: a.Clock.Now()}
	m := a.messages.reusable()
	if flying == nil {
		m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(a.at.end, 10)}
	} else {
		l.end = flying.end
		m.Header[jetstream.ExpectedLastMsgIDHeader] = []string{flying.entries[len(flying.entries)-1].ID}
	}
	l.end += uint64(len(entries))
	var reply string
	reply, l.token = a.answers.ask()
	reply += "." + l.id + "." + strconv.Itoa(fastFlow) + ".fail."
	text := []byte(reply)
	for i := range entries {
		if i > 0 {
			// The id stands for the stream, too.
			delete(m.Header, jetstream.ExpectedStreamHeader)
			delete(m.Header, jetstream.ExpectedLastSeqHeader)
			m.Header[jetstream.ExpectedLastMsgIDHeader] = []string{entries[i-1].ID}
		}
		operation := fastAppend
		switch i {
		case len(entries) - 1:
			operation = fastCommit
		case 0:
			operation = fastStart
		}
		a.messages.fill(m, &entries[i])
		text = strconv.AppendInt(text[:len(reply)], int64(i+1), 10)
		text = append(text, '.', byte('0'+operation))
		m.Reply = string(append(text, ".$FI"...))
		if err := a.nc.PublishMsg(m); err != nil {
			return nil, fmt.Errorf("send event %s: %w", entries[i].ID, err)
		}
	}
	a.sent(len(entries))
	return l, nil
}

// unreplicated returns errTurn where the stream is replicated by now, where messages
// must not be tied to each other by their ids (see chain).
func (a *attempt) unreplicated(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.AckWait)
	defer cancel()
	stream, err := a.js.Stream(ctx, a.Stream)
	if err != nil {
		return fmt.Errorf("stream %s: read its configuration: %w", a.Stream, err)
	}
	if stream.CachedInfo().Config.Replicas > 1 {
		return errTurn
	}
	return nil
}

// landLot waits until l is in the stream.
func (a *attempt) landLot(ctx context.Context, l *lot) error {
	timer := time.NewTimer(a.AckWait)
	defer timer.Stop()
	for {
		got, err := a.answers.next(ctx, timer)
		switch {
		case err != nil:
			return err
		case got.token < l.token || got.token > l.token && got.err == nil:
			continue
		case got.err != nil:
			return a.doubt(got.err, l.entries)
		case got.Type == "ack":
			timer.Reset(a.AckWait)
			continue
		case got.Type != "":
			return fmt.Errorf("stream %s: message %d of a fast batch did not reach the server: %w", a.Stream, got.Seq, errNoAnswer)
		}
		if err := a.landedLot(l, got); err != nil {
			return err
		}
		a.published(l.entries, got.Seq, a.Clock.Now().Sub(l.sent))
		return nil
	}
}

// landedLot checks the final answer.
func (a *attempt) landedLot(l *lot, got answer) error {
	n := len(l.entries)
	switch {
	case got.Stream != a.Stream:
		return otherStream(got.Stream, a.Stream)
	case got.Duplicate && n > 1:
		a.singly = l.entries[0].Seq
		return &refusal{ErrCode: codeBatchDuplicate, Description: "the stream has event " + l.entries[0].ID + " already"}
	case got.Duplicate:
		a.hasAlready(&l.entries[0], got.Seq)
		return nil
	case got.Batch != l.id:
		return fmt.Errorf("stream %s: the server stored a fast batch of %d as single messages; set the way to publish to chained", a.Stream, n)
	case got.Seq != l.end:
		// Less: some were left out. The stream tells which.
		return &refusal{ErrCode: codeWrongLastSeq, Description: fmt.Sprintf("the stream ends at %d behind a fast batch of %d, not at %d", got.Seq, n, l.end)}
	}
	return nil
}

// fastAllowed reports whether the stream takes fast batches that tell what is in it.
func (s sight) fastAllowed() bool { return s.batched && s.replicas <= 1 }

// resize sets how much may be in flight after a stretch that ended with err.
func (a *attempt) resize(err error) {
	switch {
	case outrun(err):
		a.window = max(1, a.window/2)
		if a.paced {
			a.pace.disturbed(a.Clock.Now())
		}
	case err == nil || a.progress:
		a.window = min(a.MaxBatch, a.window+a.window/8+1)
	}
}

// reusable returns a message for fill, one after the other: what is published is
// copied by then.
func (m messages) reusable() *nats.Msg {
	one := func() []string { return make([]string, 1) }
	return &nats.Msg{Header: nats.Header{
		jetstream.MsgIDHeader:          one(),
		jetstream.ExpectedStreamHeader: m.stream,
		HeaderSeq:                      one(),
		HeaderAccount:                  m.account,
		HeaderOutbox:                   m.outbox,
		"Content-Type":                 contentType,
	}}
}

// fill puts an entry into a reusable message.
func (m messages) fill(msg *nats.Msg, e *Entry) {
	msg.Subject, msg.Data = e.Subject(m.subjects), e.Body
	msg.Header[jetstream.MsgIDHeader][0] = e.ID
	msg.Header[HeaderSeq][0] = strconv.FormatUint(e.Seq, 10)
}
