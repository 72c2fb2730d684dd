// Package objects saves and reads what lies in an object store of JetStream, however large it
// is and however slow the server, and tells what cannot be read now from what never can.
package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrDamaged: parts of an object are missing, or not as they were stored. It may also be that
// a server of a cluster was asked which does not know yet what was stored instead.
var ErrDamaged = errors.New("parts of it are missing or damaged")

// wait bounds how long reading, or saving, may take. Without a deadline the client library
// gives all of an object that is read 5 s, and each part that is saved, though it sends all of
// them at once. patience bounds how long nothing may come: where the server ends amid an
// object, nothing does any more.
const (
	wait     = 2 * time.Minute
	patience = 20 * time.Second
)

var errStalled = errors.New("nothing more of it comes")

// Store is an object store.
type Store struct {
	js      jetstream.JetStream
	objects jetstream.ObjectStore
	bucket  string
}

// Open finds the store, or makes it unless it is declared elsewhere.
func Open(ctx context.Context, js jetstream.JetStream, c jetstream.ObjectStoreConfig, declared bool) (*Store, error) {
	found, err := js.ObjectStore(ctx, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !declared {
		found, err = js.CreateObjectStore(ctx, c)
	}
	s := &Store{js, found, c.Bucket}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", c.Bucket, s.why(err))
	}
	return s, nil
}

// why adds what the server forbids to an error of waiting for its answer: it does not answer
// then.
func (s *Store) why(err error) error {
	forbids := s.js.Conn().LastError()
	if (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errStalled)) &&
		errors.Is(forbids, nats.ErrPermissionViolation) && strings.Contains(forbids.Error(), s.bucket) {
		return fmt.Errorf("%w: %w", err, forbids)
	}
	return err
}

// stream is that which the store is kept in.
func (s *Store) stream(ctx context.Context) (jetstream.Stream, error) {
	return s.js.Stream(ctx, "OBJ_"+s.bucket)
}

// parts is the subject of an object's parts, "*" of those of all.
func (s *Store) parts(nuid string) string { return "$O." + s.bucket + ".C." + nuid }

// Get returns an object, jetstream.ErrObjectNotFound where there is none, or ErrDamaged. The
// error is nats.ErrPermissionViolation, too, where a right is missing.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	body, err := s.get(ctx, name)
	return body, s.why(err)
}

func (s *Store) get(ctx context.Context, name string) ([]byte, error) {
	is, err := s.objects.GetInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	// The client library waits in vain for parts that are not there.
	stream, err := s.stream(ctx)
	if err != nil {
		return nil, err
	}
	parts := s.parts(is.NUID)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(parts))
	if err != nil {
		return nil, err
	}
	if n := info.State.Subjects[parts]; n != uint64(is.Chunks) {
		return nil, fmt.Errorf("%d of %d parts: %w", n, is.Chunks, ErrDamaged)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	body, err := read(ctx, s.objects, name, patience)
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, err
}

// read reads an object until ctx ends or nothing comes for as long as patience. The client
// library looks at ctx between two parts alone, and may wait for one until the deadline: whoever
// reads is then left to that.
func read(ctx context.Context, store jetstream.ObjectStore, name string, patience time.Duration) ([]byte, error) {
	var body bytes.Buffer
	came, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		object, err := store.Get(ctx, name)
		if err == nil {
			_, err = body.ReadFrom(noting{object, came})
			err = errors.Join(err, object.Close())
		}
		done <- err
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

// Put stores what r has in the place of a former object of that name.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) error {
	return s.put(ctx, name, r, abandoned)
}

func (s *Store) put(ctx context.Context, name string, r io.Reader, abandoned time.Duration) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	if _, err := s.objects.Put(ctx, jetstream.ObjectMeta{Name: name}, r); err != nil {
		return err
	}
	_ = s.sweep(ctx, abandoned) // the next time does
	return nil
}

// abandoned is the age of parts that nobody can be about to make an object of.
const abandoned = 2 * wait

// sweep removes the parts of no object. Whoever ends while it saves one leaves them there for
// ever, and so does the client library where its context ends; they may name people.
func (s *Store) sweep(ctx context.Context, age time.Duration) error {
	stream, err := s.stream(ctx)
	if err != nil {
		return err
	}
	parts, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.parts("*")))
	if err != nil || len(parts.State.Subjects) <= 1 {
		return err
	}
	// What became an object meanwhile is among the objects.
	objects, err := stream.Info(ctx, jetstream.WithSubjectFilter("$O."+s.bucket+".M.*"))
	if err != nil {
		return err
	}
	var now time.Time // by the server's clock: the object that was just saved is the latest
	for subject := range objects.State.Subjects {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err
		}
		var is jetstream.ObjectInfo
		if err := json.Unmarshal(m.Data, &is); err != nil {
			return err
		}
		delete(parts.State.Subjects, s.parts(is.NUID))
		if m.Time.After(now) {
			now = m.Time
		}
	}
	for subject := range parts.State.Subjects {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && now.Sub(m.Time) < age {
			continue
		}
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
