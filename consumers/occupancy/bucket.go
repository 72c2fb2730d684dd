package occupancy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/group"
)

// Key is the key of a location in the bucket: account and location id, joined by
// a dot, in which every byte but letters, digits, '-' and '_' is written as '='
// and two hexadecimal digits. An empty one is "=".
func Key(p Place) string { return keyToken(p.Account) + "." + keyToken(p.Location) }

func keyToken(s string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// reviewEvery is how many rounds of writing pass between two looks at every
// location: counts of the last minutes fall without an event.
const reviewEvery = 10

// bucketWriter keeps the bucket equal to the state.
type bucketWriter struct {
	s       *Service
	store   jetstream.KeyValue
	created time.Time // of the bucket's stream
	epoch   string    // of the state that the bucket shows
	seed    maphash.Seed
	hashes  map[Place]uint64 // of what is in the bucket
}

// mostDue is how many changes wait for the bucket; the next review finds the rest.
const mostDue = 100_000

// show is the goroutine that tells browsers what the state says, and the bucket's what has
// changed. It waits for nobody.
func (s *Service) show(ctx context.Context, changed chan<- []Place) {
	round := time.NewTicker(s.settings.WriteEvery)
	defer round.Stop()
	var due []Place
	for {
		select {
		case <-ctx.Done():
			return
		case <-round.C:
		}
		places, ok := s.publish()
		if !ok {
			continue
		}
		if due = append(due, places...); len(due) > mostDue {
			due = nil
		}
		select {
		case changed <- due:
			due = nil
		default: // the bucket is being written
		}
	}
}

// fill is the goroutine that keeps the bucket equal to the state.
func (s *Service) fill(ctx context.Context, js jetstream.JetStream, changed <-chan []Place) {
	w := &bucketWriter{s: s, seed: maphash.MakeSeed(), hashes: map[Place]uint64{}}
	var due []Place // to be written, the bucket having failed
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case places := <-changed:
			due = append(due, places...)
		}
		err := w.round(ctx, js, due, n%reviewEvery == 0)
		if err == nil || len(due) > mostDue {
			due = nil
		}
		s.mu.Lock()
		before := s.bucket.Error
		s.bucket.Error = ""
		if err != nil {
			s.bucket.Error = err.Error()
		}
		again := s.bucket.Error == before
		s.mu.Unlock()
		if !again {
			s.report("writing the bucket", err)
		}
	}
}

func (s *Service) report(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.settings.Log.Warn("occupancy: "+what+" failed; trying again", "error", err)
	}
}

// publish tells the browsers what has changed since the last time. It reports
// false while there is nothing whole to tell.
func (s *Service) publish() ([]Place, bool) {
	s.mu.Lock()
	if !s.ready {
		s.mu.Unlock()
		return nil, false
	}
	changed, now := s.state.Changed(), s.now()
	parts := make([]placed, 0, len(changed))
	for _, p := range changed {
		if l, ok := s.state.Location(p, now, 0); ok {
			if body, err := json.Marshal(l); err == nil {
				parts = append(parts, placed{p, body})
			}
		}
	}
	totals, err := json.Marshal(s.state.Totals(nil, now, 0))
	s.mu.Unlock()
	if len(parts) > 0 && err == nil {
		s.feed.add(&frame{places: parts, totals: totals, totalsOf: s.totalsOf})
	}
	return changed, true
}

// totalsOf are the totals of a set of locations now, as JSON.
func (s *Service) totalsOf(set *group.Set) []byte {
	s.mu.RLock()
	totals := s.state.Totals(set, s.now(), 0)
	s.mu.RUnlock()
	body, err := json.Marshal(totals)
	if err != nil {
		return []byte("[]") // they always marshal
	}
	return body
}

// round writes the given locations, or all on a review, as far as they differ
// from what the bucket has.
func (w *bucketWriter) round(ctx context.Context, js jetstream.JetStream, due []Place, review bool) error {
	if w.store == nil || review {
		if err := w.open(ctx, js); err != nil {
			w.store = nil
			return err
		}
	}
	s := w.s
	s.mu.RLock()
	if w.epoch != s.status.Epoch || len(w.hashes) == 0 {
		review = true
	}
	if review {
		due = s.state.Places("")
	}
	now, epoch, sequence := s.now(), s.status.Epoch, s.state.Sequence()
	bodies := map[Place][]byte{}
	for _, p := range due {
		if l, ok := s.state.Location(p, now, 0); ok {
			body, err := json.Marshal(l)
			if err == nil && maphash.Bytes(w.seed, body) != w.hashes[p] {
				bodies[p] = body
			}
		}
	}
	s.mu.RUnlock()
	if w.epoch != epoch {
		if err := w.sweep(ctx, due); err != nil {
			return err
		}
	}
	if err := w.put(ctx, bodies); err != nil {
		w.store = nil
		return err
	}
	w.epoch = epoch
	s.mu.Lock()
	s.bucket.Sequence, s.bucket.At = sequence, s.settings.Now().UTC()
	s.mu.Unlock()
	return nil
}

// open finds the bucket, makes it where it is missing, and forgets what was
// written to one that is gone.
func (w *bucketWriter) open(ctx context.Context, js jetstream.JetStream) error {
	name := w.s.settings.Bucket
	store, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !w.s.settings.Declared {
		store, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, Replicas: w.s.settings.Replicas, Description: "guestflow: present occupancy, one JSON value a location",
		})
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	status, err := store.Status(ctx)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	if b, ok := status.(*jetstream.KeyValueBucketStatus); ok && !b.StreamInfo().Created.Equal(w.created) {
		w.created, w.epoch = b.StreamInfo().Created, ""
		clear(w.hashes)
	}
	w.store = store
	return nil
}

// sweep deletes the keys of locations that the state does not know: they are of
// an earlier stream.
func (w *bucketWriter) sweep(ctx context.Context, known []Place) error {
	keep := map[string]bool{}
	for _, p := range known {
		keep[Key(p)] = true
	}
	clear(w.hashes)
	mine := ">"
	if a := w.s.settings.Account; a != "" {
		mine = keyToken(a) + ".>"
	}
	keys, err := w.store.ListKeysFiltered(ctx, mine)
	if err != nil {
		return fmt.Errorf("bucket %s: listing keys: %w", w.s.settings.Bucket, err)
	}
	var gone []string
	for key := range keys.Keys() {
		if !keep[key] {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		if err := w.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("bucket %s: deleting %s: %w", w.s.settings.Bucket, key, err)
		}
	}
	return nil
}

// put writes the values, several at a time.
func (w *bucketWriter) put(ctx context.Context, bodies map[Place][]byte) error {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		first error
		slots = make(chan struct{}, 16)
	)
	failed := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return first != nil
	}
	for p, body := range bodies {
		if slots <- struct{}{}; failed() { // the others would wait in vain
			break
		}
		wait.Go(func() {
			defer func() { <-slots }()
			_, err := w.store.Put(ctx, Key(p), body)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				w.hashes[p] = maphash.Bytes(w.seed, body)
			} else if first == nil {
				first = fmt.Errorf("bucket %s: writing %s: %w", w.s.settings.Bucket, Key(p), err)
			}
		})
	}
	wait.Wait()
	return first
}
