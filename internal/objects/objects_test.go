package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
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

func saved(t *testing.T, body []byte) *Store {
	t.Helper()
	s, err := Open(t.Context(), natstest.New(t).JetStream(), jetstream.ObjectStoreConfig{Bucket: "state"}, false)
	if err == nil {
		err = s.Put(t.Context(), "o", bytes.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReadingEndsWithItsContext, though the client library looks at that between two parts
// alone.
func TestReadingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	store := saved(t, []byte("body"))
	s := &stuck{ObjectStore: store.objects, read: make(chan struct{}), end: t.Context()}
	store.objects = s
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.read; cancel() }()
	if _, err := store.Get(ctx, "o"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
}

// TestReadingEndsWhereNothingComes: it does not wait for the whole time that a large object
// may take.
func TestReadingEndsWhereNothingComes(t *testing.T) {
	t.Parallel()
	store := saved(t, []byte("body"))
	s := &stuck{ObjectStore: store.objects, read: make(chan struct{}), end: t.Context()}
	if _, err := read(t.Context(), s, "o", time.Millisecond); !errors.Is(err, errStalled) {
		t.Errorf("error is %v, want that nothing came", err)
	}
}

// TestWhatWasSavedIsRead, in however many parts.
func TestWhatWasSavedIsRead(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("guest"), 100_000)
	s := saved(t, body)
	if got, err := s.Get(t.Context(), "o"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
	}
	if _, err := s.Get(t.Context(), "other"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("error is %v, want that there is none", err)
	}
}

// ending is an object of which a first part is saved when the context ends.
type ending struct {
	parts int
	end   context.CancelFunc
}

func (e *ending) Read(p []byte) (int, error) {
	if e.parts++; e.parts > 1 {
		e.end()
	}
	return len(p), nil
}

// TestPartsOfNoObjectAreRemoved: whoever ends amid saving leaves them behind. Those of others,
// who may be about to save, stay for a while.
func TestPartsOfNoObjectAreRemoved(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("guest"), 100_000)
	s := saved(t, body)
	if err := s.Put(t.Context(), "another", bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	kinds := func() int {
		stream, err := s.stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(s.parts("*")))
		if err != nil {
			t.Fatal(err)
		}
		return len(info.State.Subjects)
	}
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.Put(ctx, "o", &ending{end: cancel}); !errors.Is(err, context.Canceled) {
			t.Fatalf("error is %v, want that of the context", err)
		}
	}
	if err := s.Put(t.Context(), "o", bytes.NewReader(body)); err != nil || kinds() != 5 {
		t.Errorf("%d objects and what is left of some, want 5: %v", kinds(), err)
	}
	if err := s.put(t.Context(), "o", bytes.NewReader(body), 0); err != nil || kinds() != 2 {
		t.Errorf("%d objects and what is left of some, want 2: %v", kinds(), err)
	}
	for _, name := range []string{"o", "another"} {
		if got, err := s.Get(t.Context(), name); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(body), err)
		}
	}
}

// unopened is a store that does not say that it gives an object.
type unopened struct{ jetstream.ObjectStore }

func (unopened) Get(ctx context.Context, _ string, _ ...jetstream.GetObjectOpt) (jetstream.ObjectResult, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestReadingEndsWhereItDoesNotBegin: without the right to make a consumer there is no answer.
func TestReadingEndsWhereItDoesNotBegin(t *testing.T) {
	t.Parallel()
	if _, err := read(t.Context(), unopened{}, "o", time.Millisecond); !errors.Is(err, errStalled) {
		t.Errorf("error is %v, want that nothing came", err)
	}
}

// TestMissingRightIsSaid: the server does not answer what it forbids.
func TestMissingRightIsSaid(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"$JS.API.STREAM.INFO.OBJ_state", "$JS.API.DIRECT.GET.OBJ_state.>"} {
		server := natstest.Run(t, &server.Options{JetStream: true, Users: []*server.User{{Username: "all", Password: "x"}, {
			Username: "some", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{right}}},
		}}})
		as := func(user string) jetstream.JetStream {
			nc, err := nats.Connect(server.ClientURL(), nats.UserInfo(user, "x"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(500*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			return js
		}
		c := jetstream.ObjectStoreConfig{Bucket: "state"}
		if _, err := Open(t.Context(), as("all"), c, false); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), as("some"), c, false)
		if err == nil {
			_, err = s.Get(t.Context(), "o")
		}
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), strings.TrimSuffix(right, ".>")) {
			t.Errorf("without %s: %v", right, err)
		}
	}
}
