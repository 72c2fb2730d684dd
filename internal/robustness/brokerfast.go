package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// fastBatch is one of fast ingest that is under way: its messages are stored as they
// come, and only how far that went is kept.
type fastBatch struct {
	came, stored uint64 // number in the batch of the last message of each
	told         uint64 // number up to which an answer on the way told
	seq          uint64 // of the stream, of the last one stored
	pending      int    // messages that came and were not stored, for good
	every, most  uint64 // messages between two answers on the way; the client's limit of it
	commits      bool
	at           time.Time
}

// fastIdle is how long a batch without a message is kept. One that was to end, and of
// which a message was not stored, stays for good: the server (2.15.2) stops its timer.
const fastIdle = 10 * time.Second

// step is a message's place in its batch, as its reply subject tells it:
// <inbox>.<id>.<flow>.<fail or ok>.<number>.<operation>.$FI
type step struct {
	id      string
	flow    uint64
	number  uint64
	commits bool
}

// fastStep reads it. fast is false for a message of no fast batch; ok is false where the
// pattern is none of the server's. Of gap modes and operations it knows those that the
// product sends.
func fastStep(reply string) (s step, fast, ok bool) {
	text, fast := strings.CutSuffix(reply, ".$FI")
	if !fast {
		return step{}, false, false
	}
	words := strings.Split(text, ".")
	if len(words) < 6 {
		return step{}, true, false
	}
	words = words[len(words)-5:]
	operation, number := words[4], words[3]
	s.id, s.commits = words[0], operation == "2"
	var err error
	if s.number, err = strconv.ParseUint(number, 10, 64); err != nil || s.number == 0 || words[2] != "fail" {
		return step{}, true, false
	}
	if s.flow, err = strconv.ParseUint(words[1], 10, 16); err != nil {
		return step{}, true, false
	}
	switch operation {
	case "0":
		ok = s.number == 1
	case "1":
		ok = s.number > 1
	case "2":
		ok = true
	}
	return s, true, ok
}

// publishFast takes a message of a fast batch as the server does on a stream without
// replicas, and returns what it answers: nothing, one thing or several.
func (l *log) publishFast(m *message, s step, valid bool, now time.Time) []any {
	switch {
	case !l.batched:
		return []any{refused(400, 10205, "batch publish is disabled")}
	case !valid:
		return []any{refused(400, 10206, "batch publish pattern is invalid")}
	}
	for id, b := range l.fast {
		if !b.commits && now.Sub(b.at) >= fastIdle {
			delete(l.fast, id)
		}
	}
	b := l.fast[s.id]
	if b == nil {
		if s.number != 1 {
			return []any{refused(400, 10208, "batch publish ID unknown")}
		}
		if len(l.fast) >= l.fastLimit {
			return []any{refused(429, 10211, "batch publish too many inflight")}
		}
		b = &fastBatch{most: s.flow}
		l.fast[s.id] = b
		if b.every = min(500, s.flow); len(l.fast) > 1 {
			b.every = 1
		}
	}
	if !b.commits {
		b.at = now
	}
	if b.commits {
		return nil // It ended early; the client waits for the answer.
	}
	if b.came+1 != s.number {
		gap := map[string]any{"type": "gap", "last_seq": b.came + 1, "seq": s.number}
		return append([]any{gap}, l.endFast(s.id, b)...)
	}
	b.came++
	var answers []any
	switch {
	case s.commits:
		// Before this message is stored, as the server has it: so it tells nothing yet.
		b.commits = true
	case s.number == 1:
		answers = append(answers, b.flowing(0))
	}
	return append(answers, l.storeFast(m, s, b, now)...)
}

// storeFast judges a message that stands where its batch has to go on.
func (l *log) storeFast(m *message, s step, b *fastBatch, now time.Time) []any {
	why, first := l.judgeFast(m, now)
	switch {
	case first != nil:
		return l.repeatedFast(s, b, first)
	case why != nil && b.came == 1:
		delete(l.fast, s.id)
		return []any{why}
	case why != nil:
		told := map[string]any{"type": "err", "seq": s.number, "error": why["error"]}
		if b.came--; b.pending == 0 {
			b.stored = b.came
		}
		return append([]any{told}, l.endFast(s.id, b)...)
	}
	b.pending++
	if want := m.header.Get(jetstream.ExpectedLastMsgIDHeader); want != "" && want != l.lastID {
		// It is looked at when it is stored, and then is a failed write: the batch goes on.
		return []any{refused(400, 10070, "wrong last msg ID: "+l.lastID)}
	}
	l.add(m)
	b.seq, b.pending = m.seq, b.pending-1
	all := b.pending == 0
	if b.stored = s.number; all {
		b.stored = b.came
	}
	if b.commits && b.stored == b.came {
		delete(l.fast, s.id)
		answer := l.ack(m)
		answer["batch"], answer["count"] = s.id, b.came
		return []any{answer}
	}
	return b.flow(len(l.fast))
}

// judgeFast is why a message may not be stored, or the one that is there already.
func (l *log) judgeFast(m *message, now time.Time) (why map[string]any, first *message) {
	if want := m.header.Get(jetstream.ExpectedStreamHeader); want != "" && want != events.DefaultStream {
		return refused(400, 10060, "expected stream does not match"), nil
	}
	if first := l.duplicate(m, now); first != nil {
		return nil, first
	}
	if want, ok := number(m, jetstream.ExpectedLastSeqHeader); ok && want != l.last {
		return refused(400, 10071, "wrong last sequence: "+strconv.FormatUint(l.last, 10)), nil
	}
	return nil, nil
}

// repeatedFast leaves out a message that the stream has, and counts it.
func (l *log) repeatedFast(s step, b *fastBatch, first *message) []any {
	var answers []any
	if b.pending == 0 {
		b.stored = s.number
		answers = b.flow(len(l.fast))
	}
	switch {
	case !b.commits:
		return answers
	case b.came == 1:
		delete(l.fast, s.id)
		answer := l.ack(first)
		answer["duplicate"], answer["batch"], answer["count"] = true, s.id, s.number
		return append(answers, answer)
	}
	return append(answers, l.endFast(s.id, b)...)
}

// endFast ends a batch, with the answer for what is stored of it; with none where that
// is not all that came.
func (l *log) endFast(id string, b *fastBatch) []any {
	if b.commits = true; b.came != b.stored {
		return nil
	}
	delete(l.fast, id)
	return []any{map[string]any{"stream": events.DefaultStream, "seq": b.seq, "batch": id, "count": b.came}}
}

// flow is the answer on the way, where one is due; batches is how many are under way.
func (b *fastBatch) flow(batches int) []any {
	if b.stored < b.told+b.every {
		return nil
	}
	b.told += (b.stored - b.told) / b.every * b.every
	most := min(b.most, uint64(max(1, 500/batches)))
	if b.every < most {
		b.every = min(most, 2*b.every)
	} else if b.every > most {
		b.every = max(most, b.every/2)
	}
	return []any{b.flowing(b.told)}
}

func (b *fastBatch) flowing(seq uint64) map[string]any {
	return map[string]any{"type": "ack", "seq": seq, "msgs": b.every}
}
