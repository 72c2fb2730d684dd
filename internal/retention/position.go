package retention

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/internal/chain"
)

// place is where a copy stands.
type place struct {
	after uint64 // sequence of the source that was copied last
	last  uint64 // sequence of the copy
	// known are ids of events that the copy has and the source may have once more.
	known map[string]bool
}

// position finds out where copying goes on.
func (c *copying) position(ctx context.Context, source, target jetstream.Stream) (p place, err error) {
	info, err := target.Info(ctx)
	if err != nil {
		return p, err
	}
	p.last = info.State.LastSeq
	var created int64
	var id string
	note := func(sequence uint64, h nats.Header) error {
		if sequence > p.last {
			return chain.ErrOther
		}
		stamp, number, _ := strings.Cut(h.Get(HeaderCopied), " ")
		created, err = strconv.ParseInt(stamp, 10, 64)
		if err == nil {
			p.after, err = strconv.ParseUint(number, 10, 64)
		}
		if id = h.Get(jetstream.MsgIDHeader); err != nil {
			return fmt.Errorf("stream %s: message %d was not put there by guestflow; delete it", info.Config.Name, sequence)
		}
		return nil
	}
	from := info.State.FirstSeq
	if m, err := target.GetLastMsgForSubject(ctx, c.source.filter(c.copy.Prefix(c.source.Prefix))); err == nil {
		if err := note(m.Sequence, m.Header); err != nil {
			return p, err
		}
		from = m.Sequence + 1
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return p, err
	}
	// Any server of a cluster may have told of the last one, also one that lags.
	err = consume.Past(ctx, target, consume.FromSequence(max(from, 1)), nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		return true, note(meta.Sequence.Stream, m.Headers())
	})
	if err != nil || p.after == 0 {
		return p, err
	}
	// The copy may have come on since the source was looked at.
	is, err := source.Info(ctx)
	if err != nil {
		return p, err
	}
	again := is.Config.Metadata[events.MetadataMade] == events.MadeAgain
	same, err := c.same(ctx, source, p.after, created, id)
	if err != nil || same && !again {
		return p, err
	}
	if !same {
		p.after = 0
	}
	p.known, err = ids(ctx, target, p.last)
	return p, err
}

// same reports whether the source is the one of which the last copy was made, and has not
// lost its tail since.
func (c *copying) same(ctx context.Context, source jetstream.Stream, sequence uint64, created int64, id string) (bool, error) {
	if is := source.CachedInfo(); is.Created.UnixNano() != created || is.State.LastSeq < sequence {
		return false, nil
	}
	m, err := source.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) { // it was deleted, or has gone by its age
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_, is, _, err := c.stripped(m.Data)
	return err == nil && is == id, nil
}

// ids are those of the messages of a copy up to a sequence: a stream that was made again, or
// had lost its tail, gets events once more.
func ids(ctx context.Context, stream jetstream.Stream, last uint64) (map[string]bool, error) {
	all := map[string]bool{}
	err := consume.Past(ctx, stream, consume.FromStart(), nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if meta.Sequence.Stream > last {
			return false, chain.ErrOther
		}
		all[m.Headers().Get(jetstream.MsgIDHeader)] = true
		return true, nil
	})
	return all, err
}
