package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Past calls each with every message that the stream holds now, from a place on, that
// matches one of the subjects: in order and one at a time, until each returns false
// or an error, which Past returns. Any other error means that the rest could not be
// read, and says from where. Messages that get lost on the way are read again, and what
// a server of a cluster does not have yet is read from the stream's leader.
func Past(ctx context.Context, stream jetstream.Stream, from From, subjects []string, each func(jetstream.Msg, *jetstream.MsgMetadata) (more bool, err error)) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	p := past{stream: stream, from: from, subjects: subjects, last: info.State.LastSeq, place: max(from.sequence, 1) - 1, each: each}
	read := reads(reading)
	for silent := 0; ; {
		before := p.read
		lost, err := p.stretch(ctx, read)
		if p.failed != nil {
			return p.failed
		}
		if silent++; p.read > before {
			silent = 0
		}
		if err == nil && lost && silent == 2 {
			err = errSilent
		}
		if err != nil {
			return fmt.Errorf("reading stream %s after sequence %d: %w", info.Config.Name, p.place, err)
		}
		switch {
		case lost:
		case p.ended || p.place >= p.last || !replicated(info) || p.leader:
			return nil
		default:
			read, p.leader = leading, true
		}
	}
}

// ErrLagging: a consumer lives on one server of a cluster, which may hold less of the stream
// than its leader for a while; one that was started again, nothing at all.
var ErrLagging = errors.New("the server that was read has not caught up with the stream's leader; try again")

// Complete returns ErrLagging where whoever read a stream's messages of some subjects, all up
// to a sequence, and was told that there are no more, misses some up to the last.
func Complete(ctx context.Context, stream jetstream.Stream, subjects []string, read, last uint64) error {
	if read >= last || !replicated(stream.CachedInfo()) {
		return nil
	}
	p := past{stream: stream, from: FromSequence(read + 1), subjects: subjects, last: last, place: read}
	p.each = func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error) { return false, ErrLagging }
	lost, err := p.stretch(ctx, leading)
	if err == nil && lost {
		err = errSilent
	}
	return err
}

// AllRead returns ErrLagging where a stream holds messages of some subjects behind a sequence,
// as its leader says.
func AllRead(ctx context.Context, stream jetstream.Stream, subjects []string, behind uint64) error {
	open := reading
	if replicated(stream.CachedInfo()) {
		open = leading
	}
	consumer, err := open(ctx, stream, FromSequence(behind+1), subjects)
	if err != nil {
		return err
	}
	there := consumer.CachedInfo()
	discard(stream, there.Name)
	if there.NumPending > 0 {
		return ErrLagging
	}
	return nil
}

// replicated reports whether several servers hold a stream.
func replicated(info *jetstream.StreamInfo) bool {
	return info.Cluster != nil && len(info.Cluster.Replicas) > 0
}

// leading makes a consumer as reading does, on the server that leads the stream. Where one
// lives is the cluster's choice, anew each time.
func leading(ctx context.Context, stream jetstream.Stream, from From, subjects []string) (jetstream.Consumer, error) {
	var others sync.WaitGroup // at once: without the right to, each takes its time
	defer others.Wait()
	for range mostConsumers {
		consumer, err := reading(ctx, stream, from, subjects)
		if err != nil {
			return nil, err
		}
		info, err := stream.Info(ctx)
		at := consumer.CachedInfo()
		if err == nil && info.Cluster != nil && at.Cluster != nil && info.Cluster.Leader != "" && info.Cluster.Leader == at.Cluster.Leader {
			return consumer, nil
		}
		others.Go(func() { discard(stream, at.Name) })
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrLagging
}

// mostConsumers are made until one lives on the stream's leader: of five servers, 1 in 1,300
// calls finds none.
const mostConsumers = 32

// errSilent: there are messages, and none comes.
var errSilent = errors.New("the server has more messages and sends none; try again")

// past is a call of Past.
type past struct {
	stream   jetstream.Stream
	from     From
	subjects []string
	last     uint64 // sequence of the stream when it began
	each     func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)

	leader bool   // it reads the server that leads the stream
	read   int    // messages so far
	ended  bool   // it came to the last one, or each wants no more
	place  uint64 // sequence of the last of them
	failed error  // what each returned
}

// reads makes a consumer: reading or leading.
type reads func(context.Context, jetstream.Stream, From, []string) (jetstream.Consumer, error)

// fetched is how many messages are asked for at once.
const fetched = 256

// stretch reads with one consumer, up to the end of what its server has or until it shows
// that messages were lost on the way.
func (p *past) stretch(ctx context.Context, read reads) (lost bool, err error) {
	consumer, err := read(ctx, p.stream, p.from, p.subjects)
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
