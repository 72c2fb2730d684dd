// Package baseline learns from a platform's own history how many sessions begin at each
// location on each weekday, by count requests alone, and keeps what it has learnt in a
// key-value bucket, so that a restart goes on where it was.
//
// The platform's filters know days and no hours, so a day's sessions are the difference of
// two counts: those that began on that day or later, and those that began later. All
// counts are of sessions that ended before the same day, so that they do not grow while
// they are asked for. It imports the NATS client and nothing of the project.
package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultBucket holds one value a location.
const DefaultBucket = "guest-baseline"

// Ask asks the platform how many sessions began on or after a day and ended before another
// one, both yyyy-mm-dd, at a location; at all where that is empty. It waits for its turn.
type Ask func(ctx context.Context, location, from, before string) (int, error)

// Settings of a Book. A zero field means its default.
type Settings struct {
	// Bucket defaults to DefaultBucket; Replicas to 1. Declared says that it is declared
	// elsewhere, and never made here.
	Bucket   string
	Replicas int
	Declared bool
	// Days is how far back the history is read. Default 90.
	Days int
	// Zone is that of the days. Default UTC.
	Zone *time.Location
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Every is how often new locations are looked for. Default 10 min.
	Every time.Duration
}

// Book is what has been learnt. It is safe for concurrent use.
type Book struct {
	settings Settings

	mu      sync.Mutex
	records map[place]*record
}

type place struct{ account, location string }

// record is the value of a location's key.
type record struct {
	// Before is the day before which all counted sessions ended, yyyy-mm-dd.
	Before string `json:"before"`
	// Exclusive says that the platform counts sessions after the day it is asked for, and
	// not those of the day.
	Exclusive bool `json:"exclusive,omitempty"`
	// Counts are the sessions since Before, since the day before that, and so on.
	Counts []int `json:"counts"`
}

// sound reports whether the record can be gone on with.
func (r *record) sound() bool {
	_, err := time.Parse(time.DateOnly, r.Before)
	return err == nil && !slices.ContainsFunc(r.Counts, func(n int) bool { return n < 0 })
}

// New returns an empty book.
func New(s Settings) *Book {
	if s.Bucket == "" {
		s.Bucket = DefaultBucket
	}
	if s.Replicas <= 0 {
		s.Replicas = 1
	}
	if s.Days <= 0 {
		s.Days = 90
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Every <= 0 {
		s.Every = 10 * time.Minute
	}
	return &Book{settings: s, records: map[place]*record{}}
}

// weekNeeded is how many days must be known before a weekday's mean is.
const weekNeeded = 7

// Days returns how many sessions begin at a location on each weekday, Monday first, on
// average. It reports false until a week is known.
func (b *Book) Days(account, location string) (perDay [7]float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.records[place{account, location}]
	if r == nil || len(r.Counts) <= weekNeeded {
		return perDay, false
	}
	before, err := time.Parse(time.DateOnly, r.Before)
	if err != nil {
		return perDay, false
	}
	last := len(r.Counts) - 1
	for last > weekNeeded && r.Counts[last] == r.Counts[last-1] {
		last-- // before it opened, as far as the history tells
	}
	var days [7]float64
	first := 1
	if r.Exclusive {
		first = 2 // the day before which all ended is not counted itself
	}
	for k := first; k <= last; k++ {
		day := before.AddDate(0, 0, first-1-k)
		weekday := (int(day.Weekday()) + 6) % 7
		perDay[weekday] += float64(max(0, r.Counts[k]-r.Counts[k-1])) // fewer where the platform forgets
		days[weekday]++
	}
	for d := range perDay {
		if days[d] == 0 {
			return perDay, false
		}
		perDay[d] /= days[d]
	}
	return perDay, true
}

// Progress tells how many days are known of how many that are to be.
func (b *Book) Progress(account string, locations []string) (known, of int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range locations {
		if r := b.records[place{account, id}]; r != nil {
			known += max(0, len(r.Counts)-1)
		}
	}
	return known, len(locations) * b.settings.Days
}

// Learn fills the book for an account until ctx ends, which gives nil: the latest days of
// all locations first. It returns an error where the bucket or the platform fails.
func (b *Book) Learn(ctx context.Context, js jetstream.JetStream, account string, locations func() []string, ask Ask) error {
	bucket, err := b.open(ctx, js)
	if err == nil {
		err = b.load(ctx, bucket, account)
	}
	for err == nil && ctx.Err() == nil {
		if err = b.fill(ctx, bucket, account, locations(), ask); err != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(b.settings.Every):
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (b *Book) open(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	bucket, err := js.KeyValue(ctx, b.settings.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !b.settings.Declared {
		bucket, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.settings.Bucket, Replicas: b.settings.Replicas, Description: "guestflow: sessions a day by the platform's history, one JSON value a location",
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", b.settings.Bucket, err)
	}
	return bucket, nil
}

// load reads what former runs have learnt.
func (b *Book) load(ctx context.Context, bucket jetstream.KeyValue, account string) error {
	watch, err := bucket.Watch(ctx, token(account)+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.settings.Bucket, err)
	}
	defer func() { _ = watch.Stop() }() // its consumer ends by itself
	for {
		select {
		case v := <-watch.Updates():
			if v == nil { // all that was there
				return nil
			}
			r := &record{}
			location, ok := untoken(strings.TrimPrefix(v.Key(), token(account)+"."))
			if ok && json.Unmarshal(v.Value(), r) == nil && r.sound() {
				b.mu.Lock()
				b.records[place{account, location}] = r
				b.mu.Unlock()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fill asks for what is not known yet.
func (b *Book) fill(ctx context.Context, bucket jetstream.KeyValue, account string, locations []string, ask Ask) error {
	var fresh *record // what a location begins with that nothing is known of
	for k := range b.settings.Days + 1 {
		for _, location := range locations {
			b.mu.Lock()
			r := b.records[place{account, location}]
			b.mu.Unlock()
			if r != nil && len(r.Counts) > k {
				continue
			}
			if r == nil && fresh == nil {
				var err error
				if fresh, err = b.boundary(ctx, ask); err != nil || fresh == nil {
					return err
				}
			}
			if r == nil {
				r = fresh
			}
			if err := b.grow(ctx, bucket, place{account, location}, r, ask); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow asks for one day more of a location, and keeps it.
func (b *Book) grow(ctx context.Context, bucket jetstream.KeyValue, of place, r *record, ask Ask) error {
	n, err := ask(ctx, of.location, dayBefore(r.Before, len(r.Counts)), r.Before)
	if err != nil {
		return fmt.Errorf("history of location %s: %w", of.location, err)
	}
	grown := &record{r.Before, r.Exclusive, append(append(make([]int, 0, len(r.Counts)+1), r.Counts...), n)}
	body, err := json.Marshal(grown)
	if err == nil {
		_, err = bucket.Put(ctx, token(of.account)+"."+token(of.location), body)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.settings.Bucket, err)
	}
	b.mu.Lock()
	b.records[of] = grown
	b.mu.Unlock()
	return nil
}

// boundary finds out whether the platform's days count from their beginning or from their
// end: of one day's sessions, it shows those of the day or none. It returns nil while
// there is nothing to tell by.
func (b *Book) boundary(ctx context.Context, ask Ask) (*record, error) {
	// Two days ago, whatever the platform's own zone is, nothing ends any more.
	before := b.settings.Now().In(b.settings.Zone).AddDate(0, 0, -2).Format(time.DateOnly)
	for k := range weekNeeded { // a day without sessions tells nothing
		r := &record{Before: dayBefore(before, k)}
		own, err := ask(ctx, "", r.Before, r.Before)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if own > 0 {
			return r, nil
		}
		earlier, err := ask(ctx, "", dayBefore(r.Before, 2), r.Before)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if r.Exclusive = true; earlier > 0 {
			return r, nil
		}
	}
	return nil, nil
}

// dayBefore is so many days before a day, both yyyy-mm-dd.
func dayBefore(day string, n int) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day // never, as load lets none in
	}
	return at.AddDate(0, 0, -n).Format(time.DateOnly)
}

// token writes a name as a part of a key: every byte but letters, digits, '-' and '_' as
// '=' and two hexadecimal digits, as the keys of occupancy's bucket are.
func token(s string) string {
	var t strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			t.WriteByte(c)
		} else {
			fmt.Fprintf(&t, "=%02X", c)
		}
	}
	return t.String()
}

func untoken(t string) (string, bool) {
	var s strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] != '=' {
			s.WriteByte(t[i])
			continue
		}
		var c byte
		if i+2 >= len(t) {
			return "", false
		}
		if _, err := fmt.Sscanf(t[i+1:i+3], "%02X", &c); err != nil {
			return "", false
		}
		s.WriteByte(c)
		i += 2
	}
	return s.String(), true
}
