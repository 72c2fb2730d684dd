package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// batch is a number of entries that the server stores together or not at all.
// All but the last go out ahead, while the batch before is still on its way; the
// last commits, and carries what is expected of the stream. The server checks
// that when it commits, against the stream without the batch.
type batch struct {
	entries []Entry
	id      string    // empty for a single entry, which goes as an ordinary message
	commit  *nats.Msg // the last message
	opening uint64    // token of the first message, whose answer is empty or says why not
	token   uint64    // token of the commit
	sent    time.Time
}

func (a *attempt) publishBatches(ctx context.Context) error {
	answerCtx, cancel := a.finishing(ctx)
	defer cancel()
	var flying *batch
	for {
		next, err := a.exchange(ctx, answerCtx, flying)
		if err != nil {
			return err
		}
		landed := flying
		flying = next
		switch {
		case landed != nil:
			// The server commits the next batch meanwhile.
			err = a.advance()
		case next != nil:
		case a.turn:
			err = errTurn
		case ctx.Err() == nil && a.untilEmpty:
			return nil
		default:
			err = a.idle(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// exchange takes the answer to the batch under way, nil for none, and commits the next
// one, which it returns; nil where there is none.
func (a *attempt) exchange(ctx, answerCtx context.Context, flying *batch) (next *batch, err error) {
	if ctx.Err() == nil && !a.turn {
		next, err = a.stage()
	}
	if flying != nil {
		if err := a.land(answerCtx, flying); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, errors.Join(err, a.advance())
	}
	if next != nil {
		if err := a.commit(next); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// stage takes the next entries and sends all but the last. It returns nil when
// the outbox is empty.
func (a *attempt) stage() (*batch, error) {
	entries, err := a.take(a.batchLimit)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	b := &batch{entries: entries, sent: a.Clock.Now()}
	last := len(entries) - 1
	if last > 0 {
		b.id = nuid.Next()
	}
	id := []string{b.id}
	for i := range entries {
		m := a.messages.of(&entries[i])
		if b.id != "" {
			m.Header[headerBatchID] = id
			m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		}
		switch i {
		case last:
			b.commit = m
			m.Reply, b.token = a.answers.ask()
			continue
		case 0:
			m.Reply, b.opening = a.answers.ask()
		}
		if err := a.nc.PublishMsg(m); err != nil {
			return nil, fmt.Errorf("send event %s: %w", entries[i].ID, err)
		}
	}
	return b, nil
}

// commit sends the last message.
func (a *attempt) commit(b *batch) error {
	expectLastOf(b.commit, a.filter, a.at.last)
	if b.id != "" {
		b.commit.Header[headerBatchCommit] = []string{"1"}
	}
	if err := a.nc.PublishMsg(b.commit); err != nil {
		return fmt.Errorf("send event %s: %w", b.entries[len(b.entries)-1].ID, err)
	}
	a.sent(len(b.entries))
	return nil
}

// land waits until b is in the stream.
func (a *attempt) land(ctx context.Context, b *batch) error {
	timer := time.NewTimer(a.AckWait)
	defer timer.Stop()
	var opening error
	for {
		got, err := a.answers.next(ctx, timer)
		switch {
		case err != nil:
			return err
		case got.token == b.opening && b.opening != 0:
			opening = got.err
			continue
		case got.token != b.token:
			continue
		}
		if err := a.landed(b, got); err != nil {
			if opening != nil {
				// The commit fails since the batch was refused at its first
				// message, which says why.
				err = opening
			}
			return a.doubt(err, b.entries)
		}
		if got.Duplicate {
			got.Seq = a.at.last
		}
		a.published(b.entries, got.Seq, a.Clock.Now().Sub(b.sent))
		return nil
	}
}

func (a *attempt) landed(b *batch, got answer) error {
	switch {
	case got.err != nil:
		return got.err
	case got.Stream != a.Stream:
		return otherStream(got.Stream, a.Stream)
	case b.id != "" && (got.Batch != b.id || got.Count != len(b.entries)):
		return fmt.Errorf("stream %s: the server stored a batch of %d as single messages; set the way to publish to chained", a.Stream, len(b.entries))
	case got.Duplicate:
		a.hasAlready(&b.entries[0], got.Seq)
	}
	return nil
}

// hasAlready notes that the server took an event for a duplicate although this
// outbox never published it: it came from an earlier data directory.
func (a *attempt) hasAlready(e *Entry, seq uint64) {
	a.Log.Warn("the stream has the event already, from another outbox", "account", a.Account, "stream", a.Stream, "event", e.ID, "sequence", seq)
}

func otherStream(answers, want string) error {
	return fmt.Errorf("stream %s answers in place of stream %s: delete the one that is not needed", answers, want)
}
