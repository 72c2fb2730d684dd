// Package lease shares names among processes: each name is run by one of them at a time,
// and all run about as many. Leases are keys of a JetStream bucket that expire unless
// they are renewed; the server decides who gets one, by the revision that a write expects.
// No process leads: each knows from the bucket who else lives, and so what its share is.
//
// A lease says who may begin. That a former holder which was stopped for longer than the
// lease does no harm when it wakes up is the business of whoever uses the package: Valid
// tells by the clock, and what is written elsewhere has to be fenced there.
//
// The bucket keeps one revision of a key: with more, nats-server (2.15) raises the life of
// keys to that of its deletion markers, and does not say so.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DefaultBucket holds the leases.
const DefaultBucket = "guestflow-leases"

// renewals is how often a lease is renewed in its time.
const renewals = 4

// Sharer takes part in sharing. All fields but the last two are needed.
type Sharer struct {
	KV jetstream.KeyValue
	// Owner is this process, unlike any other.
	Owner string
	// TTL is the bucket's: how long a key lives that nobody renews.
	TTL time.Duration
	// Names are those to be shared; every process should have the same.
	Names func() []string
	// Run runs a name until ctx ends. The lease is given up when it has returned.
	Run func(ctx context.Context, held *Lease)
	// Carry is what the next holder of a name is to know; nil is nothing.
	Carry func(name string) []byte
	// Log gets one line for each lease that comes or goes. Default slog.Default.
	Log *slog.Logger

	// seen is what the bucket shows, on the local clock. Of the goroutine of Share.
	seen  map[string]entry
	held  map[string]*Lease
	ended chan *Lease
	told  string // the newest fault, which is logged once
}

// entry is a key of the bucket.
type entry struct {
	owner    string
	at       time.Time // when its last write was seen
	revision uint64
	record   record
}

// record is the value of a lease.
type record struct {
	Owner string    `json:"owner"`
	At    time.Time `json:"at"`
	// Released by its owner in good order; the next may begin at once.
	Released bool            `json:"released,omitempty"`
	Carried  json.RawMessage `json:"carried,omitempty"`
}

// Lease is one that this process holds, or held.
type Lease struct {
	Name string
	// Carried is what the former holder left, written at CarriedAt by its clock; nil
	// for nothing. Clean says that it ended in good order.
	Carried   []byte
	CarriedAt time.Time
	Clean     bool

	key      string
	revision uint64
	cancel   context.CancelFunc
	leaving  bool

	mu    sync.Mutex
	until time.Time
	lapse *time.Timer // ends what runs under it, though the process may wait for the bucket
}

// Valid reports whether nobody else can hold the lease at the moment.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

func (l *Lease) extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
	l.lapse.Reset(time.Until(until))
}

// Open finds or makes the bucket. With declared none is made.
func Open(ctx context.Context, js jetstream.JetStream, bucket string, ttl time.Duration, replicas int, declared bool) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !declared {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "Who runs which account, made by guestflow", History: 1, TTL: ttl, Replicas: replicas, Storage: jetstream.FileStorage,
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(ctx, bucket) // another process was faster
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s of the leases: %w", bucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("bucket %s of the leases: %w", bucket, err)
	}
	if status.TTL() != ttl || status.History() != 1 {
		return nil, fmt.Errorf("bucket %s of the leases has a TTL of %v and a history of %d, wanted %v and 1: set GUESTFLOW_LEASE to its TTL, here as for all processes, or delete the bucket while none runs: nats kv rm %s",
			bucket, status.TTL(), status.History(), ttl, bucket)
	}
	return kv, nil
}

// Share takes its share of the names, and runs them, until ctx ends; then it ends what it
// runs and gives the leases up. The error is that the bucket cannot be watched.
func (s *Sharer) Share(ctx context.Context) error {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.seen, s.held, s.ended = make(map[string]entry), make(map[string]*Lease), make(chan *Lease)
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watcher, err := s.KV.WatchAll(watch)
	if err != nil {
		return fmt.Errorf("watch the leases: %w", err)
	}
	defer watcher.Stop()
	s.announce(ctx)
	ticker := time.NewTicker(s.TTL / renewals)
	defer ticker.Stop()
	lapse := time.NewTimer(s.TTL) // what others hold may lapse between two turns
	defer lapse.Stop()
	settled := false // the others have had a turn to tell that they live
	updates := watcher.Updates()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case u, ok := <-updates:
			if !ok {
				for _, l := range s.held {
					s.lose(l, nats.ErrConnectionClosed)
				}
				for len(s.held) > 0 {
					s.release(ctx, <-s.ended)
				}
				return errors.New("watching the leases ended: the connection to NATS was closed")
			}
			if s.note(u) && settled {
				s.balance(ctx)
			}
		case l := <-s.ended:
			s.release(ctx, l)
		case <-lapse.C:
			if settled {
				s.catchUp(updates)
				s.balance(ctx)
				lapse.Reset(s.lapsing())
			}
		case <-ticker.C:
			settled = true
			s.turn(ctx, updates)
			lapse.Reset(s.lapsing())
		}
	}
	s.leave(context.WithoutCancel(ctx), ticker.C)
	return nil
}

// turn renews what is held, and then sees to the share.
func (s *Sharer) turn(ctx context.Context, updates <-chan jetstream.KeyValueEntry) {
	s.announce(ctx)
	s.renew(ctx)
	s.catchUp(updates)
	s.balance(ctx)
}

// catchUp takes the updates that wait. Where the bucket is slow, others have told that
// they live while this process waited for answers; they would be taken for dead, and
// nothing be given up to them.
func (s *Sharer) catchUp(updates <-chan jetstream.KeyValueEntry) {
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return // the next receive tells
			}
			s.note(u)
		default:
			return
		}
	}
}

// lapsing is how long it is until something of another process lapses, unless it is
// renewed; the TTL where nothing of others is known.
func (s *Sharer) lapsing() time.Duration {
	wait := s.TTL
	for _, e := range s.seen {
		if left := s.TTL - time.Since(e.at); e.owner != s.Owner && left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}

const (
	leasePrefix   = "lease."
	processPrefix = "process."
)

// key is the bucket's key of a name.
func key(name string) string { return leasePrefix + Plain(name) }

// Plain writes a text in the letters that keys may have.
func Plain(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

// note takes an update, and reports whether it may change anybody's share.
func (s *Sharer) note(u jetstream.KeyValueEntry) bool {
	if u == nil {
		return false // all that was there is known
	}
	k := u.Key()
	was, known := s.seen[k]
	if u.Operation() != jetstream.KeyValuePut {
		delete(s.seen, k)
		return known
	}
	e := entry{at: time.Now(), revision: u.Revision(), owner: strings.TrimPrefix(k, processPrefix)}
	if strings.HasPrefix(k, leasePrefix) {
		_ = json.Unmarshal(u.Value(), &e.record) // what cannot be read belongs to nobody, and expires
		e.owner = e.record.Owner
	}
	s.seen[k] = e
	return !known || was.owner != e.owner || was.record.Released != e.record.Released
}

// alive reports whether a key was written within its time. The server tells of no
// expiry, so that the clock has to.
func (s *Sharer) alive(e entry) bool { return time.Since(e.at) < s.TTL }

// announce tells the others that this process lives.
func (s *Sharer) announce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.TTL/2)
	defer cancel()
	_, err := s.KV.Put(ctx, processPrefix+s.Owner, nil)
	s.fault(err)
}

// fault logs an error where it is another than the one before.
func (s *Sharer) fault(err error) {
	if err == nil {
		s.told = ""
		return
	}
	if err.Error() != s.told && !errors.Is(err, context.Canceled) {
		s.told = err.Error()
		s.Log.Warn("the leases cannot be written; they lapse unless that ends", "error", err)
	}
}

func (s *Sharer) value(name string, released bool) []byte {
	r := record{Owner: s.Owner, At: time.Now().UTC(), Released: released}
	if s.Carry != nil {
		r.Carried = s.Carry(name)
	}
	b, _ := json.Marshal(r) // texts and times: cannot fail
	return b
}

// renew renews what is held; what cannot be renewed in time is lost.
func (s *Sharer) renew(ctx context.Context) {
	for _, l := range s.held {
		if !l.Valid() && !l.leaving {
			s.lose(l, errors.New("it lapsed"))
		}
	}
	for _, l := range s.held {
		if !l.Valid() {
			continue
		}
		err := s.write(ctx, l, false)
		if errors.Is(err, errTaken) {
			s.lose(l, err)
			continue
		}
		if s.fault(err); errors.Is(err, context.DeadlineExceeded) {
			return // NATS does not answer; the others would wait in vain, too
		}
	}
}

// errTaken: somebody else has the lease, or it expired.
var errTaken = errors.New("another process has it, or it expired")

// write renews a lease, or gives it up. A refusal may come of an earlier write whose
// answer was lost: the bucket tells.
func (s *Sharer) write(ctx context.Context, l *Lease, released bool) error {
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(s.TTL/2))
	defer cancel()
	revision, err := s.KV.Update(ctx, l.key, s.value(l.Name, released), l.revision)
	if refused(err) {
		e, found := s.KV.Get(ctx, l.key)
		var r record
		switch {
		case errors.Is(found, jetstream.ErrKeyNotFound), found == nil && (json.Unmarshal(e.Value(), &r) != nil || r.Owner != s.Owner):
			return errTaken
		case found != nil:
			return found
		}
		if revision, err = s.KV.Update(ctx, l.key, s.value(l.Name, released), e.Revision()); refused(err) {
			return errTaken
		}
	}
	if err == nil {
		l.revision = revision
		l.extend(began.Add(s.TTL))
	}
	return err
}

func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// lose ends what runs under a lease that is not held any more.
func (s *Sharer) lose(l *Lease, why error) {
	l.extend(time.Time{})
	if !l.leaving {
		s.Log.Warn("lease lost", "name", l.Name, "error", why)
	}
	l.leaving = true
	l.cancel()
}

// shares are the processes that live, in order, and how many names each is to have.
func (s *Sharer) shares(names int) map[string]int {
	alive := []string{s.Owner}
	for k, e := range s.seen {
		if id, ok := strings.CutPrefix(k, processPrefix); ok && id != s.Owner && s.alive(e) {
			alive = append(alive, id)
		}
	}
	slices.Sort(alive)
	shares := make(map[string]int)
	for i, id := range alive {
		shares[id] = names / len(alive)
		if i < names%len(alive) {
			shares[id]++
		}
	}
	return shares
}

// balance claims what is free, up to the share, and gives up what is beyond it.
func (s *Sharer) balance(ctx context.Context) {
	names := s.Names()
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	share, running := s.shares(len(names))[s.Owner], 0
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		l := s.held[name]
		switch {
		case l.leaving:
		case !wanted[name], running >= share:
			s.Log.Info("lease given up", "name", name, "share", share)
			l.leaving = true
			l.cancel()
		default:
			running++
		}
	}
	for _, name := range names {
		if running >= share || ctx.Err() != nil {
			return
		}
		if s.held[name] != nil {
			continue
		}
		taken, err := s.claim(ctx, name)
		if errors.Is(err, context.DeadlineExceeded) {
			return // NATS does not answer; what is held is more urgent than the others
		}
		if taken {
			running++
		}
	}
}

// claim tries to get a lease that seems to be free. With an error another was faster, or
// the bucket does not answer; the next turn tries again.
func (s *Sharer) claim(ctx context.Context, name string) (taken bool, err error) {
	k := key(name)
	e, known := s.seen[k]
	if known && s.alive(e) && !e.record.Released {
		return false, nil
	}
	began := time.Now()
	write, cancel := context.WithDeadline(ctx, began.Add(s.TTL/2))
	defer cancel()
	l := &Lease{Name: name, key: k, Carried: e.record.Carried, CarriedAt: e.record.At, Clean: e.record.Released}
	if l.revision, err = s.take(write, name, k, e); err != nil {
		return false, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel, l.lapse = stop, time.AfterFunc(s.TTL, stop)
	l.extend(began.Add(s.TTL))
	s.held[name] = l
	s.Log.Info("lease taken", "name", name, "clean", l.Clean)
	go func() {
		s.Run(running, l)
		s.ended <- l
	}()
	return true, nil
}

// take writes a lease that is free: in the place of what was seen, and nothing newer,
// where the server has that still (it may be some time late to let it expire), else anew.
func (s *Sharer) take(ctx context.Context, name, key string, seen entry) (revision uint64, err error) {
	value := s.value(name, false)
	if seen.revision > 0 {
		if revision, err = s.KV.Update(ctx, key, value, seen.revision); !refused(err) {
			return revision, err
		}
	}
	return s.KV.Create(ctx, key, value)
}

// release gives a lease up after what ran under it has ended.
func (s *Sharer) release(ctx context.Context, l *Lease) {
	delete(s.held, l.Name)
	l.cancel()
	if !l.Valid() {
		return
	}
	// The record stays until it expires: it carries what the next one is to know.
	s.fault(s.write(ctx, l, true))
	l.extend(time.Time{}) // and its timer has nothing to end any more
}

// leave ends what this process runs, and tells the others that it goes before it gives
// them the leases.
func (s *Sharer) leave(ctx context.Context, tick <-chan time.Time) {
	for _, l := range s.held {
		l.leaving = true
		l.cancel()
	}
	gone, cancel := context.WithTimeout(ctx, s.TTL/renewals) // while what runs ends
	s.fault(s.KV.Delete(gone, processPrefix+s.Owner))
	cancel()
	for len(s.held) > 0 {
		select {
		case l := <-s.ended:
			s.release(ctx, l)
		case <-tick:
			s.renew(ctx)
		}
	}
}
