// Package objects reads what was saved in an object store of JetStream, however large it is
// and however slow the server, and tells what cannot be read now from what never can.
package objects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrDamaged: parts of an object are missing, or not as they were stored. It may also be that
// a server of a cluster was asked which does not know yet what was stored instead.
var ErrDamaged = errors.New("parts of it are missing or damaged")

// wait bounds how long reading may take. Without a deadline the client library gives all of an
// object 5 s.
const wait = 2 * time.Minute

// Get returns an object, jetstream.ErrObjectNotFound where there is none, or ErrDamaged.
func Get(ctx context.Context, js jetstream.JetStream, store jetstream.ObjectStore, bucket, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	is, err := store.GetInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	// The client library waits in vain for parts that are not there.
	stream, err := js.Stream(ctx, "OBJ_"+bucket)
	if err != nil {
		return nil, err
	}
	parts := "$O." + bucket + ".C." + is.NUID
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(parts))
	if err != nil {
		return nil, err
	}
	if n := info.State.Subjects[parts]; n != uint64(is.Chunks) {
		return nil, fmt.Errorf("%d of %d parts: %w", n, is.Chunks, ErrDamaged)
	}
	body, err := store.GetBytes(ctx, name)
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, err
}

// Patience is how long something must not have been readable to count as lost: what replaces
// it may be under way.
const Patience = time.Minute
