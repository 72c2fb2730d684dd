package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

// estate is the processes of a test, and who runs what.
type estate struct {
	t      *testing.T
	server *natstest.Server
	names  []string
	single []string // of processes that begin
	ttl    time.Duration
	kept   time.Duration // how long the server keeps a lease, where that is not the ttl

	mu      sync.Mutex
	running map[string]string // name → owner
	clean   map[string]bool   // how the newest holder came to it
	carried map[string]string
}

type process struct {
	js    jetstream.JetStream
	stop  context.CancelFunc
	ended chan error
}

func newEstate(t *testing.T, names int) *estate {
	e := &estate{t: t, server: natstest.New(t), ttl: 2 * time.Second, running: map[string]string{}, clean: map[string]bool{}, carried: map[string]string{}}
	for i := range names {
		e.names = append(e.names, fmt.Sprintf("account %d", i))
	}
	return e
}

// start begins a process with a connection of its own.
func (e *estate) start(owner string) *process {
	e.t.Helper()
	js := e.server.JetStream()
	kv, err := Open(e.t.Context(), js, DefaultBucket, cmp.Or(e.kept, e.ttl), 1, false)
	if err != nil {
		e.t.Fatal(err)
	}
	p := e.share(owner, kv)
	p.js = js
	return p
}

// share begins a process with a bucket.
func (e *estate) share(owner string, kv jetstream.KeyValue) *process {
	s := &Sharer{
		KV: kv, Owner: owner, TTL: e.ttl, Names: func() []string { return e.names }, Single: e.single, Log: slog.New(slog.NewTextHandler(e.t.Output(), nil)),
		Carry: func(string) []byte { return []byte(`"by ` + owner + `"`) },
		Run:   func(ctx context.Context, l *Lease) { e.run(ctx, owner, l) },
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &process{stop: stop, ended: make(chan error, 1)}
	go func() { p.ended <- s.Share(ctx) }()
	e.t.Cleanup(stop)
	return p
}

// run notes who runs a name, and that nobody else does.
func (e *estate) run(ctx context.Context, owner string, l *Lease) {
	e.mu.Lock()
	if other := e.running[l.Name]; other != "" {
		e.t.Errorf("%s runs %s while %s does", owner, l.Name, other)
	}
	e.running[l.Name], e.clean[l.Name], e.carried[l.Name] = owner, l.Clean, string(l.Carried)
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running[l.Name] = ""
}

// eventually waits until each owner runs as many names as wanted, all in all every one.
func (e *estate) eventually(want map[string]int) {
	e.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		got := map[string]int{}
		for _, owner := range e.running {
			if owner != "" {
				got[owner]++
			}
		}
		e.mu.Unlock()
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			e.t.Fatalf("who runs what: %v, want %v", got, want)
		}
	}
}

// TestProcessesShareEvenly, whoever comes and goes: a process that ends in good order
// hands over at once, with what it carries; of one that vanishes the leases lapse first.
func TestProcessesShareEvenly(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 7)
	a := e.start("a")
	e.eventually(map[string]int{"a": 7})
	b := e.start("b")
	e.eventually(map[string]int{"a": 4, "b": 3})
	e.start("c")
	e.eventually(map[string]int{"a": 3, "b": 2, "c": 2})

	a.stop()
	if err := <-a.ended; err != nil {
		t.Error(err)
	}
	e.eventually(map[string]int{"b": 4, "c": 3})
	for _, name := range e.names {
		if !e.clean[name] {
			t.Errorf("%s came to its holder by lapse, though the former one ended in good order", name)
		}
	}

	vanished := time.Now()
	b.js.Conn().Close() // it can tell nobody
	if err := <-b.ended; err == nil {
		t.Error("a process without a connection goes on")
	}
	e.eventually(map[string]int{"c": 7})
	if took := time.Since(vanished); took < e.ttl/2 {
		t.Errorf("the leases of a process that vanished were taken after %v already, and live %v", took, e.ttl)
	}
	lapsed := 0
	for _, name := range e.names {
		if !e.clean[name] {
			lapsed++
			// What a left is carried on until b wrote down something of its own.
			if e.carried[name] != `"by b"` && e.carried[name] != `"by a"` {
				t.Errorf("%s carries %s", name, e.carried[name])
			}
		}
	}
	if lapsed != 4 {
		t.Errorf("%d leases lapsed, want 4", lapsed)
	}
}

// TestLeaseThatLapsedIsNotValid, and what ran under it is told to end, although the
// bucket cannot be reached.
func TestLeaseThatLapsedIsNotValid(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1)
	js := e.server.JetStream()
	kv, err := Open(t.Context(), js, DefaultBucket, e.ttl, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan *Lease, 1)
	s := &Sharer{KV: kv, Owner: "a", TTL: e.ttl, Names: func() []string { return e.names }, Run: func(ctx context.Context, l *Lease) {
		held <- l
		<-ctx.Done()
		held <- l
	}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Share(ctx) }()
	if l := <-held; !l.Valid() {
		t.Error("a lease that was just taken is not valid")
	}
	e.server.Stop()
	if l := <-held; l.Valid() {
		t.Error("it is valid beyond its time")
	}
	stop()
	<-ended
}

// silent is a bucket whose writes get no answer while it is off.
type silent struct {
	jetstream.KeyValue
	off    atomic.Bool
	claims atomic.Int32 // that were made while it was off
}

func (b *silent) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	if b.off.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return b.KeyValue.Put(ctx, key, value)
}

func (b *silent) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.off.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return b.KeyValue.Update(ctx, key, value, revision)
}

func (b *silent) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	if b.off.Load() {
		b.claims.Add(1)
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return b.KeyValue.Create(ctx, key, value, opts...)
}

// TestWhatRunsEndsWithItsLease, although the process waits for answers about leases of
// many others that do not come.
func TestWhatRunsEndsWithItsLease(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 60)
	kv, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, e.ttl, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	bucket := &silent{KeyValue: kv}
	var names atomic.Int32
	names.Store(1)
	held, over := make(chan *Lease), make(chan int32)
	s := &Sharer{KV: bucket, Owner: "a", TTL: e.ttl, Names: func() []string { return e.names[:names.Load()] }, Run: func(ctx context.Context, l *Lease) {
		held <- l
		<-ctx.Done()
		over <- bucket.claims.Load()
	}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Share(ctx) }()
	<-held
	bucket.off.Store(true)
	names.Store(60)
	if n := <-over; n > 2*atOnce {
		t.Errorf("it went on while %d leases were asked for in vain", n)
	}
	stop()
	<-ended
}

func TestBucketOfAnotherLengthIsRefused(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1)
	e.start("a")
	e.eventually(map[string]int{"a": 1})
	if _, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, 2*e.ttl, 1, false); err == nil {
		t.Error("no error")
	} else {
		t.Log(err)
	}
}

// TestLapsedLeaseIsTakenOnTime, although the server keeps it for longer: its clock for what
// expires is coarse, and busy with other things.
func TestLapsedLeaseIsTakenOnTime(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 3)
	if _, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, time.Hour, 1, false); err != nil {
		t.Fatal(err)
	}
	e.kept = time.Hour
	a := e.start("a")
	e.eventually(map[string]int{"a": 3})
	e.start("b")
	e.eventually(map[string]int{"a": 2, "b": 1})
	a.js.Conn().Close() // it can tell nobody
	<-a.ended
	e.eventually(map[string]int{"b": 3})
}

// TestSlowBucketHidesNobody: another process has told that it lives while this one waited
// for the answers of the bucket. It gets its share.
func TestSlowBucketHidesNobody(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 2)
	kv, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, e.ttl, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sharer{
		KV: kv, Owner: "a", TTL: e.ttl, Names: func() []string { return e.names }, Run: func(ctx context.Context, _ *Lease) { <-ctx.Done() },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	s.begin()
	updates := make(chan jetstream.KeyValueEntry, 1)
	s.watch.updates, s.settled = updates, true
	s.balance(t.Context())
	if len(s.held) != 2 {
		t.Fatalf("alone it holds %d of 2", len(s.held))
	}
	if _, err := kv.Put(t.Context(), processPrefix+"b", nil); err != nil {
		t.Fatal(err)
	}
	told, err := kv.Get(t.Context(), processPrefix+"b")
	if err != nil {
		t.Fatal(err)
	}
	s.seen[processPrefix+"b"] = entry{owner: "b", at: time.Now().Add(-2 * e.ttl)}
	updates <- told
	s.spoke = time.Now()
	if err := s.turn(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
	leaving := 0
	for _, l := range s.held {
		if l.leaving {
			leaving++
		}
	}
	if leaving != 1 {
		t.Errorf("it gives up %d of 2, want 1", leaving)
	}
	for _, l := range s.held {
		l.cancel()
	}
	for range s.held {
		<-s.ended
	}
}

// TestWhatIsCarriedOutlivesAShortHolder: one that vanishes before it wrote down what it did
// itself takes nothing along. Where others may have held it since, nobody is said to have ended in
// good order.
func TestWhatIsCarriedOutlivesAShortHolder(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 1)
	kv, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, e.ttl, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	left := record{Owner: "a", At: time.Now().UTC().Add(-time.Second), Released: true, Carried: []byte(`"by a"`)}
	revision, err := kv.Put(t.Context(), key("x"), left.encode())
	if err != nil {
		t.Fatal(err)
	}
	b := &Sharer{KV: kv, Owner: "b", TTL: time.Hour, Carry: func(string) []byte { return []byte(`"by b"`) }}
	held, err := b.take(t.Context(), "x", entry{revision: revision, record: left})
	if err != nil || !held.Clean || string(held.Carried) != `"by a"` {
		t.Fatalf("it comes with %s, clean %v: %v", held.Carried, held.Clean, err)
	}
	now, err := kv.Get(t.Context(), key("x"))
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(now.Value(), &r); err != nil || r.Owner != "b" || string(r.Carried) != `"by a"` || !r.At.Equal(left.At) || r.Released {
		t.Errorf("the bucket has %s: %v", now.Value(), err)
	}

	if err := kv.Purge(t.Context(), key("x")); err != nil { // as if it had expired
		t.Fatal(err)
	}
	if held, err = b.take(t.Context(), "x", entry{revision: revision, record: left}); err != nil {
		t.Fatal(err)
	}
	if held.Clean || string(held.Carried) != `"by a"` || !held.CarriedAt.Equal(left.At) {
		t.Errorf("what expired is carried on as %s at %v, clean %v", held.Carried, held.CarriedAt, held.Clean)
	}
}

// dumb is a bucket of which the first watch says nothing while it is off, as one does that
// the server has lost.
type dumb struct {
	jetstream.KeyValue
	off     atomic.Bool
	watches atomic.Int32
}

type dumbWatcher struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (w dumbWatcher) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

func (b *dumb) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	watcher, err := b.KeyValue.WatchAll(ctx, opts...)
	if err != nil || b.watches.Add(1) > 1 {
		return watcher, err
	}
	w := dumbWatcher{watcher, make(chan jetstream.KeyValueEntry)}
	go func() {
		defer close(w.updates)
		for u := range watcher.Updates() {
			if !b.off.Load() {
				w.updates <- u
			}
		}
	}()
	return w, nil
}

// TestLostWatchIsReplaced: a process whose watch says nothing any more takes nobody for dead. It
// watches anew, and the names stay with whom they were.
func TestLostWatchIsReplaced(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 4)
	e.start("a")
	e.eventually(map[string]int{"a": 4})
	kv, err := Open(t.Context(), e.server.JetStream(), DefaultBucket, e.ttl, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	bucket := &dumb{KeyValue: kv}
	p := e.share("b", bucket)
	e.eventually(map[string]int{"a": 2, "b": 2})
	bucket.off.Store(true)
	c := e.start("c") // b does not hear of it
	e.eventually(map[string]int{"a": 2, "b": 1, "c": 1})
	if bucket.watches.Load() < 2 {
		t.Error("b heard of c without a new watch")
	}
	c.stop()
	<-c.ended
	e.eventually(map[string]int{"a": 2, "b": 2})
	p.stop()
	<-p.ended
}

// TestSingleNameIsRunByOne of the processes that have it, beside its share, and by another of
// them when that one goes.
func TestSingleNameIsRunByOne(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 3)
	e.single = []string{"letters"}
	a := e.start("a")
	e.eventually(map[string]int{"a": 4})
	b := e.start("b")
	e.eventually(map[string]int{"a": 3, "b": 1})
	e.single = nil
	e.start("c") // does not have it
	e.eventually(map[string]int{"a": 2, "b": 1, "c": 1})
	a.stop()
	<-a.ended
	e.eventually(map[string]int{"b": 3, "c": 1})
	b.stop()
	<-b.ended
	e.eventually(map[string]int{"c": 3})
}

// TestLapsing looks again when the first thing of others may lapse, not only when its own
// leases have to be renewed.
func TestLapsing(t *testing.T) {
	t.Parallel()
	s := &Sharer{Owner: "a", TTL: time.Hour}
	for _, c := range []struct {
		ages  map[string]time.Duration // since the last word of each owner
		least time.Duration
	}{
		{nil, 59 * time.Minute},
		{map[string]time.Duration{"a": 50 * time.Minute}, 59 * time.Minute},
		{map[string]time.Duration{"a": 50 * time.Minute, "b": 40 * time.Minute, "c": 10 * time.Minute}, 19 * time.Minute},
		{map[string]time.Duration{"b": 2 * time.Hour, "c": 10 * time.Minute}, 49 * time.Minute},
	} {
		s.seen = map[string]entry{}
		for owner, age := range c.ages {
			s.seen[owner] = entry{owner: owner, at: time.Now().Add(-age)}
		}
		if got := s.lapsing(); got < c.least || got > c.least+time.Minute {
			t.Errorf("%v: %v, want about %v", c.ages, got, c.least)
		}
	}
}

// TestBucketThatIsMadeAnewHidesNobody: its revisions begin anew, those of former keys too.
func TestBucketThatIsMadeAnewHidesNobody(t *testing.T) {
	t.Parallel()
	e := newEstate(t, 6)
	a := e.start("a")
	e.start("b")
	e.eventually(map[string]int{"a": 3, "b": 3})
	kv, err := a.js.KeyValue(t.Context(), DefaultBucket)
	for range 3000 { // so that the new one does not reach them
		if err == nil {
			_, err = kv.Put(t.Context(), "another", nil)
		}
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for _, key := range []string{"process.a", "process.b", "process.a"} { // and heard of the other's
		var is jetstream.KeyValueEntry
		for was := uint64(3000); err == nil && (is == nil || is.Revision() <= was); <-ticker.C {
			is, err = kv.Get(t.Context(), key)
		}
	}
	if err == nil {
		err = a.js.DeleteKeyValue(t.Context(), DefaultBucket)
	}
	if err != nil {
		t.Fatal(err)
	}
	e.eventually(map[string]int{}) // nobody's lease is known any more
	e.start("c")                   // makes the bucket
	e.eventually(map[string]int{"a": 2, "b": 2, "c": 2})
}
