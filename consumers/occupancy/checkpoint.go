package occupancy

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/objects"
)

// checkpoint is the state at one sequence of one stream. It lies in an object
// store, since a state outgrows what one message can hold; the store replaces an
// object as a whole and checks its digest.
type checkpoint struct {
	Created  time.Time `json:"created"` // of the stream
	Filter   string    `json:"filter"`
	Epoch    string    `json:"epoch"`
	Anchor   string    `json:"anchor"`
	Exact    bool      `json:"exact"`
	Snapshot Snapshot  `json:"snapshot"`
}

func (s *Service) checkpointStore(ctx context.Context, js jetstream.JetStream) (*objects.Store, error) {
	return objects.Open(ctx, js, jetstream.ObjectStoreConfig{
		Bucket: s.settings.Bucket + "-state", Replicas: s.settings.Replicas, Description: "guestflow: checkpoints of the occupancy of a stream",
	}, s.settings.Declared)
}

func (s *Service) checkpointName() string { return s.settings.Stream + "/" + s.filterSubject() }

// restore takes the state from the checkpoint, if there is one that can be read. Without it
// the stream is read from its start, which tells of nobody whose events have left it: so an
// error means that the checkpoint may be read later.
func (s *Service) restore(ctx context.Context, js jetstream.JetStream) error {
	c, err := s.load(ctx, js)
	var o *Occupancy
	if err == nil {
		c.Snapshot.Forget(s.settings.Forgotten)
		o, err = Restore(s.settings.Limits, c.Snapshot)
	}
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return nil
	case err == nil:
	case errors.Is(err, errUnreadable), errors.Is(err, ErrSnapshot), errors.Is(err, jetstream.ErrBucketNotFound),
		errors.Is(err, nats.ErrPermissionViolation), s.hopeless():
		s.settings.Log.Warn("occupancy: no checkpoint to go on from", "error", err)
		return nil
	default:
		return err
	}
	s.hopeful = time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.created, s.anchor = o, c.Created, c.Anchor
	s.status.Epoch, s.status.Exact = c.Epoch, c.Exact
	s.saved.Sequence = o.Sequence()
	return nil
}

// hopeless notes that the checkpoint could not be read, and reports whether it could not for
// so long that what there is has to do.
func (s *Service) hopeless() bool {
	now := s.settings.Now()
	if s.hopeful.IsZero() {
		s.hopeful = now
	}
	return now.Sub(s.hopeful) >= objects.Patience
}

// errUnreadable: the checkpoint is there as it was stored, and is none.
var errUnreadable = errors.New("it is no checkpoint")

func (s *Service) load(ctx context.Context, js jetstream.JetStream) (c checkpoint, err error) {
	store, err := s.checkpointStore(ctx, js)
	if err != nil {
		return c, err
	}
	packed, err := store.Get(ctx, s.checkpointName())
	if err != nil {
		return c, fmt.Errorf("checkpoint %s: %w", s.checkpointName(), err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		err = json.NewDecoder(r).Decode(&c)
	}
	if err != nil {
		return c, fmt.Errorf("checkpoint %s: %w: %w", s.checkpointName(), errUnreadable, err)
	}
	return c, nil
}

// checkpoints is the goroutine that saves the state now and then, and when ctx has ended.
func (s *Service) checkpoints(ctx context.Context, js jetstream.JetStream) {
	due := time.NewTicker(s.settings.CheckpointEvery)
	defer due.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-due.C:
			if s.worthSaving() {
				s.report("saving the state", s.save(ctx, js))
			}
		}
	}
	if !js.Conn().IsConnected() {
		return // the next start reads on from the checkpoint before
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.report("saving the state", s.save(last, js))
}

// A checkpoint holds every session, so one is worth its while only where reading the
// events since the last one again would take a good part of that: one event in
// savingShare sessions, or any where the last one is savingMost intervals old.
const (
	savingShare = 3
	savingMost  = 10
)

// worthSaving reports whether a checkpoint is due.
func (s *Service) worthSaving() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	events := s.state.Sequence() - s.saved.Sequence // as many at most
	return events*savingShare >= uint64(s.state.online()) || s.settings.Now().Sub(s.saved.At) >= savingMost*s.settings.CheckpointEvery
}

// write writes a checkpoint as JSON that has no sessions yet, and those of each of its
// accounts, one by one: all of them together would take as much memory again as the state.
func (c *checkpoint) write(w io.Writer, rosters []*roster) error {
	out := list{w: w}
	out.json = json.NewEncoder(&out.room)
	whole := *c
	whole.Snapshot.Accounts = []accountSnapshot{}
	out.open(&whole, "]}}")
	var of sessionSnapshot // of one after the other
	for i := range c.Snapshot.Accounts {
		out.comma(i)
		a := c.Snapshot.Accounts[i]
		a.Sessions = []sessionSnapshot{}
		out.open(&a, "]}")
		n := 0
		for v := range rosters[i].each() {
			out.comma(n)
			of = rosters[i].snapshot(v)
			out.open(&of, "")
			n++
		}
		out.put([]byte("]}"))
	}
	out.put([]byte("]}}"))
	return out.err
}

// list writes JSON piece by piece, until an error.
type list struct {
	w    io.Writer
	room bytes.Buffer // what json writes to
	json *json.Encoder
	err  error
}

// open writes a value that ends with an empty list, all but its end.
func (l *list) open(v any, end string) {
	l.room.Reset()
	if err := l.json.Encode(v); l.err == nil {
		l.err = err
	}
	l.put(bytes.TrimSuffix(bytes.TrimSuffix(l.room.Bytes(), []byte("\n")), []byte(end)))
}

func (l *list) comma(i int) {
	if i > 0 {
		l.put([]byte{','})
	}
}

func (l *list) put(b []byte) {
	if l.err == nil {
		_, l.err = l.w.Write(b)
	}
}

// save writes the state as it is now.
func (s *Service) save(ctx context.Context, js jetstream.JetStream) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.RLock()
	same := s.state.Sequence() == s.saved.Sequence
	s.mu.RUnlock()
	if same {
		return nil
	}
	return s.replace(ctx, js)
}

// replace is save, also where no event came since the last checkpoint; s.saving is held.
func (s *Service) replace(ctx context.Context, js jetstream.JetStream) error {
	s.mu.RLock()
	if s.created.IsZero() {
		s.mu.RUnlock()
		return nil
	}
	c := checkpoint{
		Created: s.created, Filter: s.filterSubject(), Epoch: s.status.Epoch, Anchor: s.anchor, Exact: s.status.Exact,
	}
	var rosters []*roster
	c.Snapshot, rosters = s.state.freeze()
	s.mu.RUnlock()

	err := s.put(ctx, js, func(w io.Writer) error { return c.write(w, rosters) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.saved.Error = err.Error()
		return err
	}
	s.saved = written{Sequence: c.Snapshot.Sequence, At: s.settings.Now().UTC()}
	return nil
}

// put replaces the checkpoint, which goes to the server while it is written: of a million
// sessions it has more than a hundred megabytes.
func (s *Service) put(ctx context.Context, js jetstream.JetStream, write func(io.Writer) error) error {
	store, err := s.checkpointStore(ctx, js) // where nobody answers, that is known soon
	if err != nil {
		return fmt.Errorf("saving checkpoint %s: %w", s.checkpointName(), err)
	}
	r, w := io.Pipe()
	var writing sync.WaitGroup
	writing.Go(func() {
		packed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
		err := write(packed)
		if err == nil {
			err = packed.Close()
		}
		w.CloseWithError(err)
	})
	err = store.Put(ctx, s.checkpointName(), r)
	r.CloseWithError(err) // ends the writer, too, where the server did not take it all
	writing.Wait()
	if err != nil {
		return fmt.Errorf("saving checkpoint %s: %w", s.checkpointName(), err)
	}
	return nil
}
