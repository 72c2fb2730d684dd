package publisher

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// flight is a message of the chain that was sent and not answered yet.
type flight struct {
	entry Entry
	token uint64
	sent  time.Time
}

// chain is a window of messages in flight, each of which the server takes only
// behind the one before. A message that is sent while none is in flight names the
// stream's end.
//
// The others name the id of the message before. In a replicated stream that must
// not be: nats-server (2.15 at least) checks the id when it applies a message that
// the replicas have agreed on already, takes a mismatch for a write error, and
// stops the stream on all of them. There one message is in flight at a time.
type chain struct {
	*attempt
	flying  []flight
	limit   int     // of messages in flight, until there are none
	waiting []Entry // taken and not sent yet
	// unsaved is the number of entries in the stream since the cursor was stored.
	unsaved int
}

func (a *attempt) publishChained(ctx context.Context) error {
	c := &chain{attempt: a}
	answerCtx, cancel := a.finishing(ctx)
	defer cancel()
	err := c.run(ctx, answerCtx)
	a.resize(err)
	if c.unsaved > 0 {
		if saveErr := a.advance(); err == nil {
			err = saveErr
		}
	}
	return err
}

func (c *chain) run(ctx, answerCtx context.Context) error {
	for {
		if empty, err := c.step(ctx, answerCtx); empty || err != nil {
			return err
		}
	}
}

// step sends what there is room for, takes the answers that came, and notes what was
// stored. It reports that the outbox is empty only where that ends the chain.
func (c *chain) step(ctx, answerCtx context.Context) (empty bool, err error) {
	if ctx.Err() == nil && !c.turn {
		if err := c.fill(ctx); err != nil {
			return false, err
		}
	}
	if len(c.flying) > 0 {
		if err := c.land(answerCtx); err != nil {
			return false, err
		}
		if c.unsaved < c.MaxBatch && len(c.flying) > 0 {
			return false, nil
		}
	}
	if c.unsaved > 0 {
		if err := c.advance(); err != nil {
			return false, err
		}
		c.unsaved = 0
		return false, nil
	}
	switch {
	case c.turn && len(c.flying) == 0:
		return false, errTurn
	case len(c.flying) > 0 || len(c.waiting) > 0 && ctx.Err() == nil:
		return false, nil
	case ctx.Err() == nil && c.untilEmpty:
		return true, nil
	}
	return false, c.idle(ctx)
}

// fill sends while the window and the outbox allow.
func (c *chain) fill(ctx context.Context) error {
	if len(c.flying) == 0 {
		c.limit = 1
	}
	for {
		if len(c.waiting) == 0 && len(c.flying) < c.window {
			var err error
			if c.waiting, err = c.take(min(c.window, 256)); err != nil && len(c.flying) > 0 {
				return nil
			} else if err != nil {
				return err
			}
		}
		if len(c.flying) == 0 && len(c.waiting) > 1 {
			var err error
			if c.limit, err = c.mayFly(ctx); err != nil {
				return err
			}
		}
		if len(c.waiting) == 0 || len(c.flying) >= c.limit {
			return nil
		}
		if err := c.send(c.waiting[0]); err != nil {
			return err
		}
		c.waiting = c.waiting[1:]
	}
}

// mayFly returns how many messages may be in flight. It asks the server how often
// the stream is replicated, since an operator may change that at any time.
func (c *chain) mayFly(ctx context.Context) (int, error) {
	if c.window == 1 || c.singly > c.at.outbox {
		return 1, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.AckWait)
	defer cancel()
	stream, err := c.js.Stream(ctx, c.Stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: read its configuration: %w", c.Stream, err)
	}
	if stream.CachedInfo().Config.Replicas > 1 {
		return 1, nil
	}
	return c.window, nil
}

func (c *chain) send(e Entry) error {
	m := c.messages.of(&e)
	if n := len(c.flying); n == 0 {
		m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(c.at.end, 10)}
	} else {
		m.Header[jetstream.ExpectedLastMsgIDHeader] = []string{c.flying[n-1].entry.ID}
	}
	f := flight{entry: e, sent: c.Clock.Now()}
	m.Reply, f.token = c.answers.ask()
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("send event %s: %w", e.ID, err)
	}
	c.flying = append(c.flying, f)
	c.sent(1)
	return nil
}

// land waits for the next answer, and reads all that are there.
func (c *chain) land(ctx context.Context) error {
	timer := time.NewTimer(c.AckWait)
	defer timer.Stop()
	landed := 0
	last := c.at.end
	sent := c.flying[0].sent
	var failed error
	for landed == 0 || landed < len(c.flying) && c.answers.waiting() {
		got, err := c.answers.next(ctx, timer)
		if err != nil {
			failed = err
			break
		}
		// The server answers in order.
		first := &c.flying[landed]
		if got.token != first.token {
			continue
		}
		if failed = c.check(got, &first.entry); failed != nil {
			break
		}
		if !got.Duplicate {
			last = got.Seq
		}
		landed++
	}
	if landed > 0 {
		entries := make([]Entry, landed)
		for i := range entries {
			entries[i] = c.flying[i].entry
		}
		c.flying = c.flying[landed:]
		c.unsaved += landed
		c.published(entries, last, c.Clock.Now().Sub(sent))
	}
	return failed
}

// check returns the error of an answer to the first message in flight.
func (c *chain) check(got answer, e *Entry) error {
	switch {
	case got.err != nil:
		return c.doubt(got.err, []Entry{*e})
	case got.Stream != c.Stream:
		return otherStream(got.Stream, c.Stream)
	case got.Duplicate && c.singly < e.Seq:
		// Those behind it expect it to be the last, and are refused.
		c.singly = e.Seq
		return &refusal{ErrCode: codeBatchDuplicate, Description: "the stream has event " + e.ID + " already"}
	case got.Duplicate:
		c.hasAlready(e, got.Seq)
	}
	return nil
}
