package consume

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// job is one message in hand.
type job struct {
	msg      jetstream.Msg
	delivery Delivery
	mu       sync.Mutex // msg is settled or kept alive, not both at once
}

func (j *job) settle(how func(jetstream.Msg) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = how(j.msg) // where it fails, the stream delivers the event again
}

// lanes keeps the events of one session in order while handlers of different
// sessions run at the same time. Each session with events in hand has a lane,
// which runs one handler at a time. When an event is to be delivered again, its
// lane holds back the later ones until it has come.
type lanes struct {
	// stopping ends when no more jobs may start.
	stopping context.Context
	// work handles a job; with again true its event will come anew after wait.
	work func(*job) (wait time.Duration, again bool)
	// patience is how long beyond that wait a lane holds on: the event may have
	// gone to another process, or have left the stream.
	patience time.Duration
	// single: one lane for all sessions.
	single bool
	// slots bounds the jobs in hand where the stream does not; nil where it does.
	slots chan struct{}

	mu     sync.Mutex
	byKey  map[sessionKey]*lane
	closed bool
	hands  sync.WaitGroup
}

type sessionKey struct{ account, id string }

type lane struct {
	key     sessionKey
	queue   []*job // by sequence, or as they came where the stream delivers nothing twice
	running *job
	awaited uint64 // sequence of the event that goes first; 0 = none
	timer   *time.Timer
}

func (l *lanes) key(j *job) sessionKey {
	if l.single {
		return sessionKey{}
	}
	return sessionKey{j.delivery.Account, j.delivery.Data.Session.ID}
}

// put hands j to its lane; false if there was no room until stopping ended.
func (l *lanes) put(j *job) bool {
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
		case <-l.stopping.Done():
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.key(j)
	n := l.byKey[key]
	if n == nil {
		n = &lane{key: key}
		l.byKey[key] = n
	}
	seq := j.delivery.Sequence
	if l.slots != nil { // nothing comes twice; the same sequence is another stream's
		n.queue = append(n.queue, j)
	} else if !n.enqueue(j) {
		return true
	}
	if n.awaited == seq {
		n.timer.Stop()
		n.awaited = 0
	}
	if j := l.advance(n); j != nil {
		l.hands.Go(func() { l.run(n, j) })
	}
	return true
}

// enqueue puts j where its sequence belongs. It returns false where that is in hand already:
// what becomes of it counts for both.
func (n *lane) enqueue(j *job) bool {
	seq := j.delivery.Sequence
	if n.running != nil && n.running.delivery.Sequence == seq {
		return false
	}
	at, twice := slices.BinarySearchFunc(n.queue, seq, func(j *job, seq uint64) int { return cmp.Compare(j.delivery.Sequence, seq) })
	if twice {
		n.queue[at] = j
	} else {
		n.queue = slices.Insert(n.queue, at, j)
	}
	return true
}

// advance takes the next job of n that may run, and forgets n when it has
// neither jobs nor one to wait for. mu is held.
func (l *lanes) advance(n *lane) *job {
	switch {
	case n.running != nil || n.awaited != 0 || l.closed || l.stopping.Err() != nil:
		return nil
	case len(n.queue) == 0:
		delete(l.byKey, n.key)
		return nil
	}
	n.running = n.queue[0]
	n.queue = n.queue[1:]
	return n.running
}

// run works n off until it is empty or has to wait.
func (l *lanes) run(n *lane, j *job) {
	for j != nil {
		wait, again := l.work(j)
		if l.slots != nil {
			<-l.slots
		}
		l.mu.Lock()
		n.running = nil
		if again && !l.single && !l.closed {
			l.await(n, j.delivery.Sequence, wait+l.patience)
		}
		j = l.advance(n)
		l.mu.Unlock()
	}
}

// await holds n back until the event at seq has come or patience ends. With a
// single lane the stream itself holds back. mu is held.
func (l *lanes) await(n *lane, seq uint64, patience time.Duration) {
	n.awaited = seq
	n.timer = time.AfterFunc(patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.awaited != seq {
			return
		}
		n.awaited = 0
		if j := l.advance(n); j != nil {
			l.hands.Go(func() { l.run(n, j) })
		}
	})
}

// keepAlive tells the stream at every interval that the jobs in hand are being
// worked on, until ctx ends.
func (l *lanes) keepAlive(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, j := range l.inHand() {
			j.settle(jetstream.Msg.InProgress)
		}
	}
}

func (l *lanes) inHand() []*job {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*job
	for _, n := range l.byKey {
		if n.running != nil {
			all = append(all, n.running)
		}
		all = append(all, n.queue...)
	}
	return all
}

// close starts no more jobs, waits for those that run, and returns the others by
// sequence.
func (l *lanes) close() []*job {
	l.mu.Lock()
	l.closed = true
	var left []*job
	for _, n := range l.byKey {
		left = append(left, n.queue...)
		n.queue = nil
		if n.timer != nil {
			n.timer.Stop()
		}
	}
	l.mu.Unlock()
	l.hands.Wait()
	slices.SortFunc(left, func(a, b *job) int { return cmp.Compare(a.delivery.Sequence, b.delivery.Sequence) })
	return left
}
