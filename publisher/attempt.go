package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// finishWait is how long Run waits for answers after its context ended.
const finishWait = 2 * time.Second

// attempt is one stretch of publishing, from reading the stream to the first
// doubt about what it holds.
type attempt struct {
	*Publisher
	nc      *nats.Conn
	answers *answers
	created time.Time
	cursor  Cursor   // as the store has it
	at      position // what the stream is known to hold
	handed  uint64   // outbox number of the last entry taken
	way     Way
	// paced: the way may change; turn: it is about to.
	paced, turn bool
	// untilEmpty: stop when the outbox is empty.
	untilEmpty bool
	progress   bool
}

// attempt reports whether anything was found out or published before the error.
// The error is nil when the outbox is empty and that was to be reached.
func (p *Publisher) attempt(ctx context.Context, untilEmpty bool) (progress bool, err error) {
	if err := p.awaitConnection(ctx); err != nil {
		return false, err
	}
	a := &attempt{Publisher: p, nc: p.js.Conn(), untilEmpty: untilEmpty}
	if a.answers, err = listen(a.nc, Right{p.filter, "the events"}, 2*p.MaxBatch+16); err != nil {
		return false, err
	}
	defer a.answers.close()
	if err := a.reconcile(ctx); err != nil {
		return a.progress, err
	}
	switch a.way {
	case Atomic:
		err = a.publishBatches(ctx)
	case Fast:
		err = a.publishFast(ctx)
	default:
		err = a.publishChained(ctx)
	}
	if err == nil {
		a.goesOn()
	}
	return a.progress, err
}

// reconcile reads the stream and moves the cursor to what it holds.
func (a *attempt) reconcile(ctx context.Context) error {
	a.cursor = a.store.Cursor()
	s, err := a.see(ctx)
	if err != nil {
		return err
	}
	v := decide(a.cursor, a.own, s)
	if behind := a.NeedsState && knowsNothing(a.cursor, a.own, s); behind || v.fenced {
		return &FencedError{Account: a.Account, Stream: a.Stream, Sequence: s.last.seq, Writer: s.last.writer, Own: a.own, Behind: behind}
	}
	a.created, a.at = s.created, v.at
	if err := a.settleWay(s); err != nil {
		return err
	}
	switch {
	case v.gone:
		if err := a.rewind(s, "the stream was deleted, and is made again: publishing what is still kept"); err != nil {
			return err
		}
	case v.lost:
		if s.replicas > 1 && !a.unsettled {
			a.unsettled = true
			return fmt.Errorf("stream %s: %w", a.Stream, errUnsettled)
		}
		if err := a.rewind(s, "the stream lost acknowledged events; publishing them again"); err != nil {
			return err
		}
	case v.at.outbox > a.cursor.OutboxSeq:
		if err := a.recognise(s.last); err != nil {
			return err
		}
	}
	a.unsettled = false
	a.handed = a.at.outbox
	a.status.update(func(s *State) {
		s.InFlight = 0
		s.Settled, s.Way = true, a.way
		s.OutboxSeq, s.StreamSeq = a.at.outbox, a.at.last
	})
	return nil
}

// see looks at the stream, and makes it where it is missing.
func (a *attempt) see(ctx context.Context) (sight, error) {
	look := func() (sight, error) {
		ctx, cancel := context.WithTimeout(ctx, a.AckWait)
		defer cancel()
		return a.look(ctx, a.cursor)
	}
	s, err := look()
	if a.Make == nil || !errors.Is(err, ErrStreamMissing) {
		return s, err
	}
	making, cancel := context.WithTimeout(ctx, 2*a.AckWait)
	defer cancel()
	if err := a.Make(making); err != nil {
		return s, fmt.Errorf("%w: it was deleted, and cannot be made again: %w", ErrStreamMissing, err)
	}
	return look()
}

// goesOn notes that nothing holds publishing up: an event went, or none waits. That
// the stream can be read is not enough, since it may take nothing.
func (a *attempt) goesOn() {
	a.status.update(func(s *State) {
		if s.Err != nil {
			a.Log.Info("publishing goes on", "account", a.Account, "stream", a.Stream, "outbox", a.at.outbox)
		}
		s.Err, s.ErrAt, s.Lasting = nil, time.Time{}, false
	})
}

func (a *attempt) settleWay(s sight) error {
	fast := s.fastAllowed() && !a.Clock.Now().Before(a.fastFrom)
	switch {
	case a.Way == Atomic && !s.atomic:
		return fmt.Errorf("stream %s: %w; run `nats stream edit %s --allow-batch` on nats-server 2.12 or later, or do not insist on atomic publishing", a.Stream, errNotAtomic, a.Stream)
	case a.Way == Fast && !s.fastAllowed():
		return fmt.Errorf("stream %s: %w; run `nats stream edit %s --allow-fast` on nats-server 2.14 or later for a stream without replicas, or do not insist on fast batches", a.Stream, errNotFast, a.Stream)
	case a.Way == Fast && !fast:
		a.way = Chained
	case a.Way != Auto:
		a.way = a.Way
	case s.atomic && s.replicas > 1:
		a.way = Atomic
	case s.atomic:
		if a.way, a.paced = a.pace.start(a.Clock.Now()), true; a.way == Chained && fast {
			a.way = Fast
		}
	case fast:
		a.way = Fast
	default:
		a.way = Chained
	}
	return nil
}

// recognise moves the cursor to m, the stream's last message of this outbox, of
// which no answer came, after checking that it is this outbox's entry indeed: a
// data directory may have been copied.
func (a *attempt) recognise(m mark) error {
	last, err := a.store.Take(m.outbox-1, 1)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	if len(last) == 0 || last[0].Seq != m.outbox || last[0].ID != m.id {
		return &FencedError{Account: a.Account, Stream: a.Stream, Sequence: m.seq, Writer: "a copy of " + m.writer, Own: a.own}
	}
	for seq := a.cursor.OutboxSeq; seq < m.outbox; {
		entries, err := a.store.Take(seq, int(min(uint64(a.MaxBatch), m.outbox-seq)))
		if err != nil || len(entries) == 0 {
			return fmt.Errorf("read the outbox after %d: %w", seq, err)
		}
		seq = entries[len(entries)-1].Seq
		a.note(entries, 0)
	}
	return a.advance()
}

// rewind goes back to what is left of the account in the stream, or as far as
// the outbox reaches.
func (a *attempt) rewind(s sight, why string) error {
	left, was := a.at.outbox, a.cursor.OutboxSeq
	entries, err := a.store.Take(left, 1)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	first := was + 1
	if len(entries) > 0 {
		first = min(first, entries[0].Seq)
	}
	if left == 0 {
		// Nothing of this outbox is in the stream, which then does not tell how
		// much of what is no longer kept was lost, and how much aged out before.
		left = first - 1
	}
	a.at.outbox = first - 1
	a.Log.Warn(why, "account", a.Account, "stream", a.Stream,
		"stream_end", s.end, "acknowledged", a.cursor.StreamSeq, "outbox_from", first, "outbox_to", was, "no_longer_kept_to", first-1)
	if err := a.store.Rewind(a.at.outbox); err != nil {
		return fmt.Errorf("move the cursor back: %w", err)
	}
	a.healTo = max(a.healTo, was)
	if first > left+1 {
		a.Log.Error("the stream lost acknowledged events that the outbox no longer has", "account", a.Account, "stream", a.Stream,
			"outbox_from", left+1, "outbox_to", first-1)
		a.status.update(func(s *State) { s.Lost += first - left - 1 })
		if a.Observer != nil {
			a.Observer.Lost(left+1, first-1)
		}
	}
	a.progress = true
	return a.advance()
}

// advance stores the position as the cursor.
func (a *attempt) advance() error {
	c := Cursor{OutboxSeq: a.at.outbox, StreamSeq: a.at.rests, StreamCreated: a.created, At: a.Clock.Now()}
	if err := a.store.Acked(c); err != nil {
		return fmt.Errorf("store the cursor: %w", err)
	}
	a.cursor = c
	return nil
}

// take returns the next entries, at most limit and MaxBatchBytes of them.
func (a *attempt) take(limit int) ([]Entry, error) {
	if a.singly > a.handed {
		limit = 1
	}
	entries, err := a.store.Take(a.handed, limit)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	size := 0
	for i := range entries {
		err := tooLarge(&entries[i], a.nc.MaxPayload())
		if size += messageSize(&entries[i]); i > 0 && (err != nil || size > a.MaxBatchBytes) {
			entries = entries[:i]
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(entries) > 0 {
		a.handed = entries[len(entries)-1].Seq
	}
	return entries, nil
}

// published moves the position: entries are in the stream, the last of them at
// the stream's sequence last.
func (a *attempt) published(entries []Entry, last uint64, took time.Duration) {
	a.at.outbox, a.at.last, a.at.rests, a.at.end = entries[len(entries)-1].Seq, last, last, last
	a.note(entries, took)
	a.sent(-len(entries))
	if a.paced && !a.turn {
		a.turn = a.pace.sent(len(entries), a.MaxBatch, a.Clock.Now())
	}
}

// note tells of entries that are in the stream up to the position.
func (a *attempt) note(entries []Entry, took time.Duration) {
	a.progress = true
	healed := 0
	for healed < len(entries) && entries[healed].Seq <= a.healTo {
		healed++
	}
	now := a.Clock.Now()
	a.status.update(func(s *State) {
		s.OutboxSeq, s.StreamSeq, s.PublishedAt = a.at.outbox, a.at.last, now
		s.Published += uint64(len(entries))
		s.Healed += uint64(healed)
	})
	a.goesOn()
	if a.Observer != nil {
		a.Observer.Published(Batch{Entries: entries, Took: took, Way: a.way, Healed: healed})
	}
}

func (a *attempt) sent(n int) {
	a.status.update(func(s *State) { s.InFlight += n })
}

// idle waits for more entries. It returns nil when there may be some.
func (a *attempt) idle(ctx context.Context) error {
	a.goesOn()
	if a.paced && a.pace.pause(a.Clock.Now()) {
		return errTurn
	}
	select {
	case <-a.store.Wake():
		return nil
	case <-a.answers.status:
		return ErrDisconnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finishing returns the context for waiting for answers. That of Run outlives
// ctx by finishWait, so that what is in flight when ctx ends is waited for.
func (a *attempt) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.untilEmpty {
		return context.WithCancel(ctx)
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(finishWait, cancel) })
	return longer, cancel
}

// doubt turns an error of sending or answering into what the next attempt needs
// to know.
func (a *attempt) doubt(err error, entries []Entry) error {
	switch {
	case refusedWith(err, codeBatchDuplicate) && len(entries) > 1:
		// The server has seen one of them, perhaps from another data directory.
		a.singly = entries[len(entries)-1].Seq
	case refusedWith(err, codeBatchTooLarge):
		a.batchLimit = max(1, a.batchLimit/2)
	case refusedWith(err, codeFastInFlight):
		a.fastFrom = a.Clock.Now().Add(fastPause)
		a.Log.Info("the stream takes no more fast batches: publishing in a chain for a while", "account", a.Account, "stream", a.Stream, "error", err)
	case errors.Is(err, nats.ErrNoResponders):
		return a.missing()
	case refusedWith(err, codeSealed):
		return fmt.Errorf("stream %s: %w, which cannot be undone; name another (GUESTFLOW_STREAM, GUESTFLOW_SUBJECT_PREFIX), or delete it with its events: nats stream rm %s", a.Stream, ErrStreamSealed, a.Stream)
	case refusedWith(err, codeMessageTooLarge):
		return fmt.Errorf("event %s (outbox %d) or one of the %d after it: %w: %w; raise the stream's max_msg_size: nats stream edit %s --max-msg-size=-1",
			entries[0].ID, entries[0].Seq, len(entries)-1, ErrTooLarge, err, a.Stream)
	}
	if full := noRoom(err, a.Stream); full != nil {
		return full
	}
	return err
}
