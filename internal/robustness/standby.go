package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/lease"
)

// leaseTime is how long a lease lives that nobody renews.
const leaseTime = 10 * time.Second

// shared is a life's account as two processes share it: the one that the life is about,
// and one on another machine that stands by, and has nothing to do as long as the first
// renews its lease.
func (l *life) shared(stop <-chan struct{}) {
	bucket := &bucket{keys: make(map[string]kept)}
	ctx, cancel := context.WithCancel(context.Background())
	var sharing sync.WaitGroup
	share := func(owner string, kv jetstream.KeyValue, run func(context.Context, *lease.Lease)) {
		s := &lease.Sharer{
			KV: kv, Owner: owner, TTL: leaseTime, Names: func() []string { return []string{"default"} }, Run: run, Log: slog.New(slog.DiscardHandler),
		}
		sharing.Go(func() { _ = s.Share(ctx) }) // The bucket can always be watched.
	}
	share("first", bucket, func(ctx context.Context, _ *lease.Lease) { <-ctx.Done() })
	time.Sleep(leaseTime)
	kv := jetstream.KeyValue(bucket)
	if l.mutant.leases != nil {
		kv = l.mutant.leases(kv)
	}
	share("second", kv, l.second)
	<-stop
	cancel()
	sharing.Wait()
}

// second runs the account on the other machine.
func (l *life) second(ctx context.Context, _ *lease.Lease) {
	p, err := l.start(filepath.Join(filepath.Dir(l.dir), "second"))
	if err != nil {
		return // The life's own process tells of what hinders it, too.
	}
	select {
	case <-ctx.Done():
	case <-p.over:
	}
	_ = p.stop(false)
}

// bucket is a key-value bucket in memory, as far as leases need one: a write may expect a
// revision, keys expire, and nobody is told that they did.
type bucket struct {
	jetstream.KeyValue // the rest, which nothing calls
	mu                 sync.Mutex
	last               uint64
	keys               map[string]kept
	watchers           []*watcher
}

// kept is a key's value; it is the entry that watchers get, too.
type kept struct {
	jetstream.KeyValueEntry
	key      string
	value    []byte
	revision uint64
	at       time.Time
	op       jetstream.KeyValueOp
}

func (k kept) Key() string                     { return k.key }
func (k kept) Value() []byte                   { return k.value }
func (k kept) Revision() uint64                { return k.revision }
func (k kept) Created() time.Time              { return k.at }
func (k kept) Operation() jetstream.KeyValueOp { return k.op }

type watcher struct{ updates chan jetstream.KeyValueEntry }

func (w *watcher) Updates() <-chan jetstream.KeyValueEntry { return w.updates }
func (w *watcher) Stop() error                             { return nil }

// write puts a value where the key has a revision, 0 for none; any is any.
func (b *bucket) write(key string, value []byte, op jetstream.KeyValueOp, any bool, expected uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if is := b.live(key).revision; !any && is != expected {
		return 0, &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence, Description: fmt.Sprintf("wrong last sequence: %d", is)}
	}
	b.last++
	k := kept{key: key, value: value, revision: b.last, at: time.Now(), op: op}
	if b.keys[key] = k; op != jetstream.KeyValuePut {
		delete(b.keys, key)
	}
	for _, w := range b.watchers {
		w.updates <- k
	}
	return b.last, nil
}

// live is a key that has not expired; the zero one where there is none.
func (b *bucket) live(key string) kept {
	if k := b.keys[key]; time.Since(k.at) < leaseTime {
		return k
	}
	return kept{}
}

func (b *bucket) Put(_ context.Context, key string, value []byte) (uint64, error) {
	return b.write(key, value, jetstream.KeyValuePut, true, 0)
}

func (b *bucket) Create(_ context.Context, key string, value []byte, _ ...jetstream.KVCreateOpt) (uint64, error) {
	return b.write(key, value, jetstream.KeyValuePut, false, 0)
}

func (b *bucket) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(key, value, jetstream.KeyValuePut, false, revision)
}

func (b *bucket) Delete(_ context.Context, key string, _ ...jetstream.KVDeleteOpt) error {
	_, err := b.write(key, nil, jetstream.KeyValueDelete, true, 0)
	return err
}

func (b *bucket) Get(_ context.Context, key string) (jetstream.KeyValueEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.live(key); k.revision > 0 {
		return k, nil
	}
	return nil, jetstream.ErrKeyNotFound
}

// WatchAll watches until ctx ends, which closes the channel of updates as the client's does.
func (b *bucket) WatchAll(ctx context.Context, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &watcher{updates: make(chan jetstream.KeyValueEntry, 4096)} // more than a life has
	for key := range b.keys {
		if k := b.live(key); k.revision > 0 {
			w.updates <- k
		}
	}
	w.updates <- nil // so far what was there
	b.watchers = append(b.watchers, w)
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.watchers = slices.DeleteFunc(b.watchers, func(other *watcher) bool { return other == w })
		close(w.updates)
	})
	return w, nil
}

// lawless takes a lease whoever has it: it sees nobody's, and takes every write for
// done.
type lawless struct{ jetstream.KeyValue }

func (l lawless) WatchAll(ctx context.Context, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	w := &watcher{updates: make(chan jetstream.KeyValueEntry)}
	context.AfterFunc(ctx, func() { close(w.updates) })
	return w, nil
}

func (l lawless) Create(ctx context.Context, key string, value []byte, _ ...jetstream.KVCreateOpt) (uint64, error) {
	return l.Put(ctx, "unseen."+key, value)
}

func (l lawless) Update(ctx context.Context, key string, value []byte, _ uint64) (uint64, error) {
	return l.Put(ctx, "unseen."+strings.TrimPrefix(key, "unseen."), value)
}
