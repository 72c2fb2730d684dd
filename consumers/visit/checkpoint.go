package visit

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/objects"
)

// checkpoint is the state at one sequence of both streams.
type checkpoint struct {
	Input    time.Time `json:"input"`  // when the stream of session events was created
	Anchor   string    `json:"anchor"` // message id at the state's sequence
	Visits   time.Time `json:"visits"` // when the stream of visits was created
	Last     uint64    `json:"last"`   // sequence of the last visit event
	Snapshot Snapshot  `json:"snapshot"`
	// Horizons are what is known of the accounts' platforms.
	Horizons map[string]Horizon `json:"horizons,omitempty"`
	// Skews are by how much this machine's clock was ahead of the accounts' platforms, as the
	// latest events showed.
	Skews map[string]time.Duration `json:"skews,omitempty"`
}

const checkpointName = "checkpoint"

func (s *Service) checkpoints(ctx context.Context, js jetstream.JetStream) (jetstream.ObjectStore, error) {
	name := s.settings.State
	store, err := js.ObjectStore(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !s.settings.Declared {
		store, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: name, Replicas: s.settings.Replicas, Description: "guestflow: checkpoint of the visits",
		})
	}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", name, err)
	}
	return store, nil
}

// load returns nil where there is no checkpoint, or none that can be read.
func (s *Service) load(ctx context.Context, js jetstream.JetStream) (*checkpoint, error) {
	store, err := s.checkpoints(ctx, js)
	if err != nil {
		return nil, err
	}
	packed, err := objects.Get(ctx, js, store, s.settings.State, checkpointName)
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return nil, nil
	case s.lost(err):
		s.settings.Log.Warn("visits: the checkpoint cannot be read; reading the streams from their start", "error", err)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("checkpoint in %s: %w", s.settings.State, err)
	}
	var c checkpoint
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		err = json.NewDecoder(r).Decode(&c)
	}
	if err != nil {
		s.settings.Log.Warn("visits: the checkpoint cannot be read; reading the streams from their start", "error", err)
		return nil, nil
	}
	return &c, nil
}

// lost reports whether the checkpoint was damaged each time that it was read, for a while.
func (s *Service) lost(err error) bool {
	now := s.settings.Now()
	switch {
	case !errors.Is(err, objects.ErrDamaged):
		s.damaged = time.Time{}
	case s.damaged.IsZero():
		s.damaged = now
	default:
		return now.Sub(s.damaged) >= objects.Patience
	}
	return false
}

// saveTime bounds how long saving may take. Without a deadline the client library gives each
// part of an object 5 s, all of which are sent at once: a large one would never be saved
// where the server is slow.
const saveTime = 2 * time.Minute

func (s *Service) save(ctx context.Context, js jetstream.JetStream, c checkpoint) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, saveTime)
		defer cancel()
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level is a valid one
	if err := json.NewEncoder(w).Encode(c); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	store, err := s.checkpoints(ctx, js)
	if err == nil {
		_, err = store.PutBytes(ctx, checkpointName, packed.Bytes())
	}
	if err != nil {
		return fmt.Errorf("saving the checkpoint in %s: %w", s.settings.State, err)
	}
	return nil
}
