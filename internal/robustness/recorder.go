package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

// recorder reads the stream as it grows, so that what is deleted later was seen. What
// a stream that was made again, or lost its tail, has a second time counts once.
type recorder struct {
	js   jetstream.JetStream
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	all     []published
	here    map[string]bool // ids since the stream was made, or cut
	before  map[string]bool // ids from before that
	created time.Time
	next    uint64
	odd     error // what cannot be an event
}

func record(js jetstream.JetStream) *recorder {
	r := &recorder{js: js, quit: make(chan struct{}), done: make(chan struct{}), here: make(map[string]bool), before: make(map[string]bool), next: 1}
	go func() {
		defer close(r.done)
		for {
			_ = r.catchUp() // NATS may be away.
			select {
			case <-r.quit:
				return
			case <-time.After(40 * time.Millisecond):
			}
		}
	}()
	return r
}

func (r *recorder) stop() {
	close(r.quit)
	<-r.done
}

// catchUp reads all that is there.
func (r *recorder) catchUp() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := r.js.Stream(ctx, events.DefaultStream)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	if !info.Created.Equal(r.created) || info.State.LastSeq < r.next-1 {
		r.expectAgain()
		if r.next = info.State.LastSeq + 1; !info.Created.Equal(r.created) {
			r.created, r.next = info.Created, 1
		} else if r.next > 200 {
			r.next -= 200 // what came in place of what was lost may be as long as that already
		} else {
			r.next = 1
		}
	}
	for ; r.next <= info.State.LastSeq; r.next++ {
		m, err := stream.GetMsg(ctx, r.next)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.take(m)
	}
	return nil
}

// expectAgain has what was read so far count once, should it come again. The recorder is
// locked.
func (r *recorder) expectAgain() {
	for id := range r.here {
		r.before[id] = true
	}
	clear(r.here)
}

func (r *recorder) take(m *jetstream.RawStreamMsg) {
	if m.Header.Get(foreignHeader) != "" {
		return
	}
	e, err := events.Decode(m.Data)
	if err != nil {
		r.odd = errors.Join(r.odd, fmt.Errorf("message %d: %w", m.Sequence, err))
		return
	}
	if strings.HasPrefix(e.Data.Session.ID, hostilePrefix) || strings.HasPrefix(e.Data.Session.LocationID, hostilePrefix) {
		return
	}
	if r.before[e.ID] {
		return
	}
	r.here[e.ID] = true
	r.all = append(r.all, published{e, m.Time})
}

// foreignHeader marks messages that a trial has put into the stream.
const foreignHeader = "Robustness-Foreign"

// news reports whether an event came into the stream after a time, and was seen after
// it. The time at which it was seen is the latest that is possible, so that alone would
// not do.
func (r *recorder) news(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.all) - 1; i >= max(0, len(r.all)-50); i-- {
		if e := &r.all[i]; e.at.After(since) && e.Data.Observed.At.After(since) {
			return true
		}
	}
	return false
}

// read hands over the stream with everything read, for a change to it of which the
// recorder misses nothing.
func (r *recorder) read(change func(s jetstream.Stream, readTo uint64) error) error {
	if err := r.catchUp(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stream, err := r.js.Stream(ctx, events.DefaultStream)
	if err != nil {
		return err
	}
	return change(stream, r.next-1)
}
