package occupancy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// silent is a NATS of which some part does not answer until the test has ended.
type silent struct {
	jetstream.JetStream
	bucket, checkpoints bool
	asked               *atomic.Int32
	answers             <-chan struct{}
}

var errSilent = errors.New("no answer")

func (n silent) wait(ctx context.Context) error {
	n.asked.Add(1)
	select {
	case <-n.answers:
	case <-ctx.Done():
	}
	return errSilent
}

type silentBucket struct {
	jetstream.KeyValue
	silent
}

func (n silent) KeyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := n.JetStream.KeyValue(ctx, name)
	if n.bucket && err == nil {
		kv = silentBucket{kv, n}
	}
	return kv, err
}

func (b silentBucket) Put(ctx context.Context, _ string, _ []byte) (uint64, error) {
	return 0, b.wait(ctx)
}

type silentStore struct {
	jetstream.ObjectStore
	silent
}

func (n silent) ObjectStore(ctx context.Context, name string) (jetstream.ObjectStore, error) {
	store, err := n.JetStream.ObjectStore(ctx, name)
	if n.checkpoints && err == nil {
		store = silentStore{store, n}
	}
	return store, err
}

func (s silentStore) Put(ctx context.Context, _ jetstream.ObjectMeta, _ io.Reader) (*jetstream.ObjectInfo, error) {
	return nil, s.wait(ctx)
}

// shown is the newest event of the figures that browsers get.
func shown(t *testing.T, s *Service) (sequence uint64) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	for _, f := range s.feed.frames {
		for _, p := range f.places {
			sequence = max(sequence, decode[Location](t, p.body).Sequence)
		}
	}
	return sequence
}

// TestNobodyWaitsForWhatIsSlow: a checkpoint of a large state takes minutes where the way to
// the server is narrow, and a bucket without a leader answers nothing.
func TestNobodyWaitsForWhatIsSlow(t *testing.T) {
	for name, of := range map[string]silent{"bucket": {bucket: true}, "checkpoints": {checkpoints: true}} {
		t.Run(name, func(t *testing.T) {
			js := connect(t, startServer(t, t.TempDir(), -1))
			makeStream(t, js)
			v := newVenue(21, 6, 40)
			publish(t, js, v.messages(60, time.Second)...)
			// Both are there, as they are after a former run.
			s, stop := running(t, js, quickSettings())
			until(t, "live", reaches(s, 60))
			until(t, "the bucket is written", func() bool { s.mu.RLock(); defer s.mu.RUnlock(); return s.bucket.Sequence == 60 })
			stop()

			answers := make(chan struct{})
			of.JetStream, of.asked, of.answers = js, &atomic.Int32{}, answers
			settings := quickSettings()
			settings.CheckpointEvery = settings.WriteEvery
			s, stop = running(t, of, settings)
			defer stop()
			defer close(answers)
			publish(t, js, v.messages(10, time.Second)...)
			until(t, "it is asked in vain", func() bool { return of.asked.Load() > 0 })
			publish(t, js, v.messages(10, time.Second)...)
			until(t, "browsers know", func() bool { return shown(t, s) == 80 })
			if of.bucket {
				until(t, "a checkpoint is saved", func() bool { s.mu.RLock(); defer s.mu.RUnlock(); return s.saved.Sequence == 80 })
			} else {
				until(t, "the bucket is written", func() bool { s.mu.RLock(); defer s.mu.RUnlock(); return s.bucket.Sequence == 80 })
			}
		})
	}
}

// TestBucketThatTakesNothingIsNotAskedForEachLocation: each time would take its time.
func TestBucketThatTakesNothingIsNotAskedForEachLocation(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n := silent{asked: &atomic.Int32{}}
	w := bucketWriter{s: New(quickSettings()), store: silentBucket{nil, n}, hashes: map[Place]uint64{}}
	bodies := map[Place][]byte{}
	for i := range 200 {
		bodies[Place{"a", fmt.Sprint(i)}] = nil
	}
	if err := w.put(ended, bodies); !errors.Is(err, errSilent) || n.asked.Load() > 16 {
		t.Errorf("asked for %d locations: %v", n.asked.Load(), err)
	}
}
