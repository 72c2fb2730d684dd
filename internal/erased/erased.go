// Package erased tells which messages of a stream were deleted to forget people. What counts
// is not lost with them, though whoever reads the stream finds them missing.
//
// Data comes from the list of who is forgotten.
package erased

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

// List has sequences in ascending order.
type List []uint64

// wait bounds reading the list of who is forgotten.
const wait = 5 * time.Second

// From asks the list of who is forgotten for messages of a stream.
func From(ctx context.Context, js jetstream.JetStream, of *jetstream.StreamInfo) (all List, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait) // without the right to ask there is no answer
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
				if e.Stream == of.Config.Name && e.Created.Equal(of.Created) {
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

// Lost reports whether a sequence between two is that of no message which was erased.
func (l List) Lost(after, before uint64) bool {
	from, _ := slices.BinarySearch(l, after+1)
	to, _ := slices.BinarySearch(l, before)
	return before > after+1+uint64(max(0, to-from))
}
