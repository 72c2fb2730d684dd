package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

// stuck is a store whose objects give a byte, and then nothing until the test ends, as the
// client library's do where the server ends amid them.
type stuck struct {
	jetstream.ObjectStore
	read chan struct{} // closed when a byte was read
	end  context.Context
}

type stuckObject struct {
	jetstream.ObjectResult
	*stuck
	given bool
}

func (s *stuck) Get(context.Context, string, ...jetstream.GetObjectOpt) (jetstream.ObjectResult, error) {
	return &stuckObject{stuck: s}, nil
}

func (s *stuck) GetBytes(ctx context.Context, name string, opts ...jetstream.GetObjectOpt) ([]byte, error) {
	o, _ := s.Get(ctx, name, opts...)
	return io.ReadAll(o)
}

func (o *stuckObject) Read(p []byte) (int, error) {
	if !o.given {
		o.given = true
		return copy(p, "x"), nil
	}
	close(o.read)
	<-o.end.Done()
	return 0, o.end.Err()
}

func (o *stuckObject) Close() error { return nil }

func saved(t *testing.T, body []byte) (jetstream.JetStream, jetstream.ObjectStore) {
	t.Helper()
	js := natstest.New(t).JetStream()
	store, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "state"})
	if err == nil {
		_, err = store.PutBytes(t.Context(), "o", body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return js, store
}

// TestReadingEndsWithItsContext, though the client library looks at that between two parts
// alone.
func TestReadingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	js, store := saved(t, []byte("body"))
	s := &stuck{ObjectStore: store, read: make(chan struct{}), end: t.Context()}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.read; cancel() }()
	if _, err := Get(ctx, js, s, "state", "o"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
}

// TestReadingEndsWhereNothingComes: it does not wait for the whole time that a large object
// may take.
func TestReadingEndsWhereNothingComes(t *testing.T) {
	t.Parallel()
	_, store := saved(t, []byte("body"))
	s := &stuck{ObjectStore: store, read: make(chan struct{}), end: t.Context()}
	if _, err := read(t.Context(), s, "o", time.Millisecond); !errors.Is(err, errStalled) {
		t.Errorf("error is %v, want that nothing came", err)
	}
}

// TestWhatWasSavedIsRead, in however many parts.
func TestWhatWasSavedIsRead(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("guest"), 100_000)
	js, store := saved(t, body)
	if got, err := Get(t.Context(), js, store, "state", "o"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
	}
	if _, err := Get(t.Context(), js, store, "state", "other"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("error is %v, want that there is none", err)
	}
}
