package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Past calls each with every message that the stream holds now, from a place on, that
// matches one of the subjects: in order and one at a time, until each returns false
// or an error, which Past returns. Any other error means that the rest could not be
// read, and says from where. Messages that get lost on the way are read again.
func Past(ctx context.Context, stream jetstream.Stream, from From, subjects []string, each func(jetstream.Msg, *jetstream.MsgMetadata) (more bool, err error)) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	p := past{stream: stream, from: from, subjects: subjects, last: info.State.LastSeq, place: max(from.sequence, 1) - 1, each: each}
	for silent := 0; ; {
		read := p.read
		lost, err := p.stretch(ctx)
		if p.failed != nil {
			return p.failed
		}
		if silent++; p.read > read {
			silent = 0
		}
		if err == nil && !lost && !p.ended && (p.read > 0 || from.time.IsZero()) {
			err = Complete(ctx, stream, subjects, p.place, p.last)
			if lost = errors.Is(err, ErrLagging); lost && silent < 2 {
				err = nil
			}
		}
		if err == nil && lost && silent == 2 {
			err = errSilent
		}
		if err != nil {
			return fmt.Errorf("reading stream %s after sequence %d: %w", info.Config.Name, p.place, err)
		}
		if !lost {
			return nil
		}
	}
}

// ErrLagging: a consumer lives on one server of a cluster, which may hold less of the stream
// than its leader for a while; one that was started again, nothing at all.
var ErrLagging = errors.New("the server that was read has not caught up with the stream's leader; try again")

// Complete returns ErrLagging where whoever read a stream's messages of some subjects, all up
// to a sequence, and was told that there are no more, misses some up to the last. Of a part of
// the stream's subjects it cannot tell, and returns nil.
func Complete(ctx context.Context, stream jetstream.Stream, subjects []string, read, last uint64) error {
	known := stream.CachedInfo()
	whole := len(subjects) == 0 || slices.Equal(known.Config.Subjects, subjects)
	if read >= last || !whole || known.Cluster == nil || len(known.Cluster.Replicas) == 0 {
		return nil
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true)) // by the leader
	if err != nil {
		return err
	}
	if info.State.Msgs == 0 {
		return nil
	}
	read = max(read, info.State.FirstSeq-1)
	deleted := uint64(0)
	for _, sequence := range info.State.Deleted {
		if sequence > read && sequence <= last {
			deleted++
		}
	}
	if read < last && deleted < last-read {
		return ErrLagging
	}
	return nil
}

// errSilent: there are messages, and none comes.
var errSilent = errors.New("the server has more messages and sends none; try again")

// past is a call of Past.
type past struct {
	stream   jetstream.Stream
	from     From
	subjects []string
	last     uint64 // sequence of the stream when it began
	each     func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)

	read   int    // messages so far
	ended  bool   // it came to the last one, or each wants no more
	place  uint64 // sequence of the last of them
	failed error  // what each returned
}

// fetched is how many messages are asked for at once.
const fetched = 256

// stretch reads with one consumer, up to the end or until it shows that messages were
// lost on the way.
func (p *past) stretch(ctx context.Context) (lost bool, err error) {
	consumer, err := reading(ctx, p.stream, p.from, p.subjects)
	if err != nil {
		return false, err
	}
	defer discard(p.stream, consumer.CachedInfo().Name)
	expect := uint64(1)
	for left := consumer.CachedInfo().NumPending; left > 0; {
		messages, err := consumer.FetchNoWait(int(min(left, fetched)))
		if err != nil {
			return false, err
		}
		first := expect
		for msg := range messages.Messages() {
			meta, err := msg.Metadata()
			switch {
			case err != nil:
				return false, err
			case meta.Sequence.Consumer != expect:
				return true, nil
			case meta.Sequence.Stream > p.last:
				p.ended = true
				return false, nil
			}
			expect++
			left = meta.NumPending
			if more, err := p.take(msg, meta); err != nil || !more {
				return false, err
			}
		}
		if err := errors.Join(messages.Error(), ctx.Err()); err != nil {
			return false, err
		}
		if expect == first {
			// Either the rest was deleted meanwhile, or the answer did not come in
			// time, which the client library does not tell: another consumer knows.
			return true, nil
		}
	}
	return false, nil
}

func (p *past) take(msg jetstream.Msg, meta *jetstream.MsgMetadata) (more bool, err error) {
	p.read++
	p.place = meta.Sequence.Stream
	p.from = FromSequence(p.place + 1)
	more, p.failed = p.each(msg, meta)
	p.ended = !more
	return more, p.failed
}
