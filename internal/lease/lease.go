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
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultBucket holds the leases.
const DefaultBucket = "guestflow-leases"

// record is the value of a lease.
type record struct {
	Owner string `json:"owner"`
	// At is when Carried was written down, zero where nobody knows anything.
	At time.Time `json:"at"`
	// Released by its owner in good order; the next may begin at once.
	Released bool            `json:"released,omitempty"`
	Carried  json.RawMessage `json:"carried,omitempty"`
}

// Lease is one that this process holds, or held.
type Lease struct {
	Name string
	// Carried is what a former holder left, written at CarriedAt by its clock; nil and
	// zero where nothing is known. Clean says that nobody has held the lease since then.
	Carried   []byte
	CarriedAt time.Time
	Clean     bool

	key     string
	running context.Context // of what runs under it
	cancel  context.CancelFunc
	leaving bool  // of the goroutine of Share
	fault   error // why it could not be given up

	writing  sync.Mutex // one write at a time, and none after that which gives it up
	revision uint64
	over     bool

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

// errTaken: somebody else has the lease, or it expired.
var errTaken = errors.New("another process has it, or it expired")

// write renews a lease, or gives it up. A refusal may come of an earlier write whose
// answer was lost: the bucket tells.
func (s *Sharer) write(ctx context.Context, l *Lease, released bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.over {
		return nil
	}
	l.over = released
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(s.TTL/2))
	defer cancel()
	value := s.value(l.Name, released)
	revision, err := s.KV.Update(ctx, l.key, value, l.revision)
	if refused(err) {
		e, found := s.KV.Get(ctx, l.key)
		var r record
		switch {
		case errors.Is(found, jetstream.ErrKeyNotFound), found == nil && (json.Unmarshal(e.Value(), &r) != nil || r.Owner != s.Owner):
			return errTaken
		case found != nil:
			return found
		}
		if revision, err = s.KV.Update(ctx, l.key, value, e.Revision()); refused(err) {
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

func (s *Sharer) value(name string, released bool) []byte {
	r := record{Owner: s.Owner, At: time.Now().UTC(), Released: released}
	if s.Carry != nil {
		r.Carried = s.Carry(name)
	}
	return r.encode()
}

func (r record) encode() []byte {
	b, _ := json.Marshal(r) // texts and times: cannot fail
	return b
}

// take writes a lease that is free: in the place of what was seen, and nothing newer,
// where the server has that still (it may be some time late to let it expire), else anew.
// Until this holder writes down what it did itself, what the former one did is carried on.
func (s *Sharer) take(ctx context.Context, name string, seen entry) (*Lease, error) {
	l := &Lease{Name: name, key: key(name)}
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(s.TTL/2))
	defer cancel()
	l.Carried, l.CarriedAt, l.Clean = seen.record.Carried, seen.record.At, seen.record.Released
	value := record{Owner: s.Owner, At: l.CarriedAt, Carried: l.Carried}.encode()
	var err error
	if seen.revision > 0 {
		l.revision, err = s.KV.Update(ctx, l.key, value, seen.revision)
	}
	if seen.revision == 0 || refused(err) {
		l.Clean = false // others may have held it meanwhile
		l.revision, err = s.KV.Create(ctx, l.key, value)
	}
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.running, l.cancel, l.lapse = running, stop, time.AfterFunc(time.Until(began.Add(s.TTL)), stop)
	l.extend(began.Add(s.TTL))
	return l, nil
}
