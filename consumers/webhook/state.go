package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultBucket is the key-value bucket for what must outlive a restart:
//
//	disabled.<endpoint>      a Disabled record
//	tries.<endpoint>.<seq>   failed tries so far of the event with that stream sequence
//	standing.<endpoint>      a Standing record
const DefaultBucket = "guestflow-webhooks"

// Disabled says why an endpoint gets nothing.
type Disabled struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	// Entry identifies the file's entry that was disabled, without its secrets:
	// once the entry reads differently, the record no longer applies.
	Entry string `json:"entry"`
}

// records reads and writes the bucket.
type records struct {
	kv     jetstream.KeyValue
	stream jetstream.Stream // that the bucket is kept in
}

func openRecords(ctx context.Context, js jetstream.JetStream, o options) (*records, error) {
	bucket := o.Bucket
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !o.Declared {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "guestflow webhooks: disabled endpoints, counts of failed tries, and how endpoints fare", Replicas: o.Replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another process was first
			kv, err = js.KeyValue(ctx, bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("webhook key-value bucket %s: %w", bucket, err)
	}
	stream, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return nil, fmt.Errorf("webhook key-value bucket %s: %w", bucket, err)
	}
	return &records{kv, stream}, nil
}

const (
	disabledKey = "disabled."
	triesKey    = "tries."
	standingKey = "standing."
)

func (r *records) disable(ctx context.Context, endpoint string, d Disabled) error {
	value, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = r.kv.Put(ctx, disabledKey+endpoint, value)
	return err
}

func (r *records) enable(ctx context.Context, endpoint string) error {
	return r.kv.Delete(ctx, disabledKey+endpoint)
}

// disabled returns the record that applies to the endpoint as it is now, or nil.
func (r *records) disabled(ctx context.Context, e Endpoint) (*Disabled, error) {
	entry, err := r.kv.Get(ctx, disabledKey+e.Name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var d Disabled
	if err := json.Unmarshal(entry.Value(), &d); err != nil {
		return nil, fmt.Errorf("key %s: %w; delete the key to enable the endpoint", disabledKey+e.Name, err)
	}
	if d.Entry != e.fingerprint {
		return nil, nil
	}
	return &d, nil
}

// changes calls back once it watches, for what changed while nobody did, and after
// every change of a disabled record, until ctx is done.
func (r *records) changes(ctx context.Context, notify func()) error {
	w, err := r.kv.Watch(ctx, disabledKey+"*", jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer w.Stop()
	notify()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			if e != nil {
				notify()
			}
		}
	}
}

// standing returns the endpoint's record; the zero value when it has none.
func (r *records) standing(ctx context.Context, endpoint string) (s Standing, revision uint64, err error) {
	entry, err := r.kv.Get(ctx, standingKey+endpoint)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Standing{}, 0, nil
	}
	if err != nil {
		return Standing{}, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &s); err != nil {
		return Standing{}, 0, fmt.Errorf("key %s: %w; delete the key, and the endpoint's figures begin anew", standingKey+endpoint, err)
	}
	s.written = entry.Created()
	return s, entry.Revision(), nil
}

// updateStanding adds the news to the record. Another process that serves the
// endpoint too may have written meanwhile: nothing of its news is lost.
func (r *records) updateStanding(ctx context.Context, endpoint string, n news) (Standing, error) {
	for {
		s, revision, err := r.standing(ctx, endpoint)
		if err != nil {
			return s, err
		}
		s = s.with(n)
		value, err := json.Marshal(s)
		if err != nil {
			return s, err
		}
		if _, err = r.kv.Update(ctx, standingKey+endpoint, value, revision); !errors.Is(err, jetstream.ErrKeyExists) {
			return s, err
		}
	}
}

func (r *records) dropStanding(ctx context.Context, endpoint string) error {
	return r.remove(ctx, standingKey+endpoint)
}

func (r *records) putTries(ctx context.Context, endpoint string, seq uint64, n int) error {
	_, err := r.kv.Put(ctx, triesOf(endpoint, seq), strconv.AppendInt(nil, int64(n), 10))
	return err
}

func (r *records) dropTries(ctx context.Context, endpoint string, seq uint64) error {
	return r.remove(ctx, triesOf(endpoint, seq))
}

// remove leaves nothing of a key. The bucket's own ways of deleting leave a marker
// for those who watch, for ever: here one for each event that ever failed.
func (r *records) remove(ctx context.Context, key string) error {
	return r.stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+r.kv.Bucket()+"."+key))
}

func triesOf(endpoint string, seq uint64) string {
	return triesKey + endpoint + "." + strconv.FormatUint(seq, 10)
}

// tries returns the failed tries of the endpoint's events, by stream sequence,
// and removes those up to floor, which are settled.
func (r *records) tries(ctx context.Context, endpoint string, floor uint64) (map[uint64]int, error) {
	w, err := r.kv.Watch(ctx, triesKey+endpoint+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	out := map[uint64]int{}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case e, ok := <-w.Updates():
			if !ok || e == nil { // nil ends the present content
				return out, nil
			}
			seq, err := strconv.ParseUint(e.Key()[strings.LastIndexByte(e.Key(), '.')+1:], 10, 64)
			n, err2 := strconv.Atoi(string(e.Value()))
			if err != nil || err2 != nil || seq <= floor {
				if err := r.remove(ctx, e.Key()); err != nil {
					return nil, err
				}
				continue
			}
			out[seq] = n
		}
	}
}
