package subject

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/forgotten"
)

// Erasure returns which messages are to be erased, as the list of who is forgotten tells
// of it.
func (f *Found) Erasure() (all []forgotten.Erased) {
	at := map[string]int{}
	for _, m := range f.Messages {
		i, known := at[m.Stream]
		if !known {
			i = len(all)
			at[m.Stream] = i
			all = append(all, forgotten.Erased{Stream: m.Stream, Created: f.created[m.Stream]})
		}
		all[i].Sequences = append(all[i].Sequences, m.Sequence)
	}
	return all
}

// Erase deletes messages, and has the server overwrite them. What has gone already is no
// error. It reports how many it deleted, of each stream.
func Erase(ctx context.Context, js jetstream.JetStream, of []forgotten.Erased) (map[string]int, error) {
	deleted := map[string]int{}
	for _, e := range of {
		stream, err := js.Stream(ctx, e.Stream)
		if err != nil {
			return deleted, fmt.Errorf("stream %s: %w", e.Stream, err)
		}
		if !stream.CachedInfo().Created.Equal(e.Created) {
			return deleted, fmt.Errorf("stream %s was made anew meanwhile; do it again", e.Stream)
		}
		for _, n := range e.Sequences {
			err := stream.SecureDeleteMsg(ctx, n)
			if err == nil {
				deleted[e.Stream]++
				continue
			}
			if m, unread := message(ctx, stream, n); m != nil || unread != nil {
				return deleted, fmt.Errorf("stream %s: delete message %d: %w", e.Stream, n, err)
			}
		}
	}
	return deleted, nil
}
