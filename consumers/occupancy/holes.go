package occupancy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/forgotten"
)

// holes knows which sequences are missing from the stream. Where every message of
// the stream is read, each sequence that is not seen is; where some are, those that
// the server calls deleted.
type holes struct {
	all     bool
	deleted []uint64 // ascending
	// erased are those that were deleted to forget people: nothing that counts is lost
	// with them. Ascending.
	erased []uint64
}

// between reports whether a message is missing between two sequences.
func (h holes) between(after, before uint64) bool {
	if h.all {
		return h.lost(after, before)
	}
	return slices.ContainsFunc(within(h.deleted, after, before), func(n uint64) bool {
		_, erased := slices.BinarySearch(h.erased, n)
		return !erased
	})
}

// lost reports whether a sequence between two is that of no message which was erased.
func (h holes) lost(after, before uint64) bool {
	return before > after+1+uint64(len(within(h.erased, after, before)))
}

// within are those of a list between two sequences.
func within(list []uint64, after, before uint64) []uint64 {
	from, _ := slices.BinarySearch(list, after+1)
	to, _ := slices.BinarySearch(list, before)
	return list[min(from, to):to]
}

// findHoles asks for them as far as needed, before the stream is read.
func (s *Service) findHoles(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, info *jetstream.StreamInfo) (h holes, err error) {
	if h.erased, err = findErased(ctx, js, info); err != nil {
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

// erasedWait bounds reading the list of who is forgotten.
const erasedWait = 5 * time.Second

// findErased asks the list of who is forgotten for messages of the stream.
func findErased(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) (all []uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, erasedWait) // without the right to ask there is no answer
	defer cancel()
	list, err := js.Stream(ctx, forgotten.DefaultStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err == nil {
		err = consume.Past(ctx, list, consume.FromStart(), []string{forgotten.ListSubject}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
			var entry forgotten.Entry
			if json.Unmarshal(m.Data(), &entry) != nil {
				return true, nil
			}
			for _, e := range entry.Erased {
				if e.Stream == info.Config.Name && e.Created.Equal(info.Created) {
					all = append(all, e.Sequences...)
				}
			}
			return true, nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", forgotten.DefaultStream, err)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
