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

	"github.com/guestflow/guestflow/internal/chain"
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

func (s *Service) checkpoints(ctx context.Context, js jetstream.JetStream) (*objects.Store, error) {
	return objects.Open(ctx, js, jetstream.ObjectStoreConfig{
		Bucket: s.settings.State, Replicas: s.settings.Replicas, Description: "guestflow: checkpoint of the visits",
	}, s.settings.Declared)
}

// load returns nil where there is no checkpoint, or none that can be read.
func (s *Service) load(ctx context.Context, js jetstream.JetStream) (*checkpoint, error) {
	store, err := s.checkpoints(ctx, js)
	if err != nil {
		return nil, err
	}
	packed, err := store.Get(ctx, checkpointName)
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

func (s *Service) save(ctx context.Context, js jetstream.JetStream, c checkpoint) error {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level is a valid one
	if err := json.NewEncoder(w).Encode(c); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	store, err := s.checkpoints(ctx, js) // where nobody answers, that is known soon
	if err != nil {
		return fmt.Errorf("saving the checkpoint: %w", err)
	}
	if err := store.Put(ctx, checkpointName, &packed); err != nil {
		return fmt.Errorf("saving the checkpoint in %s: %w", s.settings.State, err)
	}
	return nil
}

// A checkpoint holds every guest who is remembered, so one is worth its while only where
// reading the events since the last one again would take a good part of that: one event in
// savingShare guests and visits, or any where the last one is savingMost intervals old.
const (
	savingShare = 10
	savingMost  = 10
)

// worthSaving reports whether a checkpoint is due.
func (w *work) worthSaving() bool {
	open, _ := w.reducer.Open()
	kept := open
	for _, a := range w.reducer.accounts {
		kept += len(a.guests)
	}
	read := w.reducer.Sequence() - w.saved.sequence // as many events at most
	return read*savingShare >= uint64(kept) || w.s.settings.Now().Sub(w.saved.at) >= savingMost*w.s.settings.CheckpointEvery
}

// checkpoint saves the state as it is now.
func (w *work) checkpoint(ctx context.Context) error {
	if err := w.arrive(); err != nil {
		return err
	}
	if err := w.depart(ctx); err != nil {
		return err
	}
	return w.arrive()
}

// depart begins to save the state once all that it has made is stored. Visits go on
// meanwhile: a large state takes its time.
func (w *work) depart(ctx context.Context) error {
	// Steps of an earlier process that are still to be repeated are behind the state.
	if w.known != nil && w.behind == 0 {
		if err := w.caughtUp(ctx); err != nil {
			return err
		}
	}
	if w.known != nil {
		return nil
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := w.alone(ctx); err != nil {
		return err
	}
	c := checkpoint{
		Input: w.input.Created, Anchor: w.anchor, Visits: w.output.Created, Last: w.writer.Last(), Snapshot: w.reducer.Snapshot(),
		Horizons: w.counts.horizons(), Skews: w.skews(),
	}
	w.saved.sequence, w.saved.at = c.Snapshot.Sequence, w.s.settings.Now()
	done := make(chan error, 1)
	w.saving = done
	go func() { done <- w.s.save(ctx, w.js, c) }()
	return nil
}

// arrive waits for the checkpoint that is on its way, where one is.
func (w *work) arrive() error {
	if w.saving == nil {
		return nil
	}
	err := <-w.saving
	w.saving = nil
	return err
}

// alone makes sure that no other process has published since: the state lacks what that one
// decided, which happened before the state for all that a later start can tell.
func (w *work) alone(ctx context.Context) error {
	output, err := w.js.Stream(ctx, w.s.settings.Visits)
	if err != nil {
		return fmt.Errorf("stream %s: %w", w.s.settings.Visits, err)
	}
	if is := output.CachedInfo(); is.State.LastSeq != w.writer.Last() || !is.Created.Equal(w.output.Created) {
		return fmt.Errorf("publishing visits: %w", chain.ErrOther)
	}
	return nil
}

// endTime bounds the last checkpoint.
const endTime = 10 * time.Second

// end saves the state where the service was asked to stop.
func (w *work) end(ctx context.Context, asked bool) error {
	if !asked {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if err := w.checkpoint(ctx); err != nil {
		w.s.settings.Log.Warn("visits: no checkpoint of the end; the next start reads a little more", "error", err)
	}
	return nil
}
