package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/chain"
)

// slow is a NATS to which checkpoints are on their way until the test lets them arrive.
type slow struct {
	jetstream.JetStream
	asked   *atomic.Int32
	answers <-chan struct{}
}

type slowStore struct {
	jetstream.ObjectStore
	slow
}

func (n slow) ObjectStore(ctx context.Context, name string) (jetstream.ObjectStore, error) {
	store, err := n.JetStream.ObjectStore(ctx, name)
	if err != nil {
		return nil, err
	}
	return slowStore{store, n}, nil
}

func (s slowStore) Put(ctx context.Context, meta jetstream.ObjectMeta, r io.Reader) (*jetstream.ObjectInfo, error) {
	s.asked.Add(1)
	select {
	case <-s.answers:
		return s.ObjectStore.Put(ctx, meta, r)
	case <-ctx.Done():
		return nil, errors.New("not saved")
	}
}

// TestVisitsDoNotWaitForACheckpoint: that of very many guests takes minutes where the way to
// the server is narrow, and who arrives meanwhile is to be welcomed.
func TestVisitsDoNotWaitForACheckpoint(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(17, 5)), 8, 120)
	tr := newTrial(t, told.messages())
	if _, err := tr.js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: DefaultState}); err != nil {
		t.Fatal(err)
	}
	answers, asked := make(chan struct{}), &atomic.Int32{}
	s, stop := tr.startOn(slow{tr.server.JetStream(), asked, answers}, tr.settings())
	tr.publish(20)
	until(t, "a checkpoint is on its way", func() bool { return asked.Load() > 0 })
	tr.publish(len(tr.list))
	until(t, "every event is in", tr.reached(s))
	if n := asked.Load(); n != 1 {
		t.Errorf("%d checkpoints are on their way at a time", n)
	}
	close(answers)
	same(t, tr.ended(s), all)
	stop()
	again, _ := tr.start()
	until(t, "every event is in", tr.reached(again))
	same(t, tr.stored(), all)
}

// TestServicesDoNotRace: of several processes that make the same visits, those that another one
// is ahead of let it go on for a while, since each time they begin anew with the checkpoint.
func TestServicesDoNotRace(t *testing.T) {
	t.Parallel()
	pauses := newPauses()
	var wait time.Duration
	for range 20 {
		wait = waitAfter(fmt.Errorf("publishing a visit: %w", chain.ErrOther), true, pauses)
	}
	if wait < mostPause/2 {
		t.Errorf("it waits for %v where another process was faster each time, want half of %v at least", wait, mostPause)
	}
	if wait = waitAfter(consume.ErrAway, true, pauses); wait > 2*leastPause {
		t.Errorf("it waits for %v where the connection was lost after it went on, want about %v", wait, leastPause)
	}
}

// TestBeginningAnewDelaysNoDecision: a process that another one is ahead of again and again
// begins anew each time. That is no silence after which time waits, and time is asked as soon
// as all is in.
func TestBeginningAnewDelaysNoDecision(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, story(t, `
		started s1 g1 m1 a 1
		ended s1 g1 m1 a 2`))
	settings := tr.settings()
	settings.TickEvery = time.Hour
	s, _ := tr.startWith(settings)
	tr.publish(2)
	until(t, "every event is in", tr.reached(s))
	anew := func(minute int) {
		tr.looked.Store(sec(60 * minute).UnixMilli())
		tr.server.Stop()
		until(t, "the connection is lost", func() bool { return !s.Status().Live })
		tr.server.Start()
		until(t, "every event is in", tr.reached(s))
	}
	anew(40) // the visit is over since 34, if nothing else has shown by 42
	anew(42)
	until(t, "the visit is over", func() bool { return s.Status().Open == 0 })
	if out := tr.stored(); len(out) != 2 || out[1].Event.Kind != visits.Ended {
		t.Errorf("the stream has %+v", out)
	}
}
