// Package objects reads what was saved in an object store of JetStream, however large it is
// and however slow the server, and tells what cannot be read now from what never can.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrDamaged: parts of an object are missing, or not as they were stored. It may also be that
// a server of a cluster was asked which does not know yet what was stored instead.
var ErrDamaged = errors.New("parts of it are missing or damaged")

// wait bounds how long reading may take. Without a deadline the client library gives all of an
// object 5 s. patience bounds how long nothing may come: where the server ends amid an object,
// nothing does any more.
const (
	wait     = 2 * time.Minute
	patience = 20 * time.Second
)

var errStalled = errors.New("nothing more of it comes")

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
	body, err := read(ctx, store, name, patience)
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, err
}

// read reads an object until ctx ends or nothing comes for as long as patience. The client
// library looks at ctx between two parts alone, and may wait for one until the deadline: whoever
// reads is then left to that.
func read(ctx context.Context, store jetstream.ObjectStore, name string, patience time.Duration) ([]byte, error) {
	object, err := store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	came, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := body.ReadFrom(noting{object, came})
		done <- errors.Join(err, object.Close())
	}()
	stalled := time.NewTimer(patience)
	defer stalled.Stop()
	for {
		select {
		case err := <-done:
			return body.Bytes(), err
		case <-came:
			stalled.Reset(patience)
		case <-stalled.C:
			return nil, errStalled
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// noting is a reader that tells when something came.
type noting struct {
	io.Reader
	came chan<- struct{}
}

func (n noting) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	select {
	case n.came <- struct{}{}:
	default:
	}
	return got, err
}

// Patience is how long something must not have been readable to count as lost: what replaces
// it may be under way.
const Patience = time.Minute
