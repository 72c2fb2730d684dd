package occupancy

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// holes knows which sequences are missing from the stream. Where every message of
// the stream is read, each sequence that is not seen is; where some are, those that
// the server calls deleted.
type holes struct {
	all     bool
	deleted []uint64 // ascending
}

// between reports whether a message is missing between two sequences.
func (h holes) between(after, before uint64) bool {
	if h.all {
		return before > after+1
	}
	i, _ := slices.BinarySearch(h.deleted, after+1)
	return i < len(h.deleted) && h.deleted[i] < before
}

// findHoles asks for them as far as needed, before the stream is read.
func (s *Service) findHoles(ctx context.Context, stream jetstream.Stream, info *jetstream.StreamInfo) (h holes, err error) {
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
