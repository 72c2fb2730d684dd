package occupancy

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/erased"
)

// holes knows which sequences are missing from the stream. Where every message of
// the stream is read, each sequence that is not seen is; where some are, those that
// the server calls deleted.
type holes struct {
	all     bool
	deleted []uint64 // ascending
	// erased are those that were deleted to forget people: nothing that counts is lost
	// with them.
	erased erased.List
}

// between reports whether a message is missing between two sequences.
func (h holes) between(after, before uint64) bool {
	if h.all {
		return h.erased.Lost(after, before)
	}
	return slices.ContainsFunc(within(h.deleted, after, before), func(n uint64) bool {
		_, forgiven := slices.BinarySearch(h.erased, n)
		return !forgiven
	})
}

// within are those of a list between two sequences.
func within(list []uint64, after, before uint64) []uint64 {
	from, _ := slices.BinarySearch(list, after+1)
	to, _ := slices.BinarySearch(list, before)
	return list[min(from, to):to]
}

// findHoles asks for them as far as needed, before the stream is read.
func (s *Service) findHoles(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo) (h holes, err error) {
	if h.erased, err = erased.From(ctx, js, info); err != nil {
		if ctx.Err() != nil || !js.Conn().IsConnected() {
			return h, err
		}
		s.settings.Log.Warn("occupancy: what was deleted to forget people counts as lost, which makes sessions uncertain that are not", "error", err)
	}
	h.all = slices.Equal(info.Config.Subjects, []string{s.filterSubject()}) && len(info.Config.Sources) == 0
	if h.all || info.State.NumDeleted == 0 {
		return h, nil
	}
	if info, err = stream.Info(ctx, jetstream.WithDeletedDetails(true)); err != nil {
		return h, fmt.Errorf("asking which messages of stream %s were deleted: %w", s.settings.Stream, err)
	}
	h.deleted = info.State.Deleted
	slices.Sort(h.deleted)
	return h, nil
}
