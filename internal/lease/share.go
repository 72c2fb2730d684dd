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
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// renewals is how often a lease is renewed in its time.
	renewals = 4
	// atOnce is how many leases are written beside each other, so that hundreds are
	// renewed in time where the bucket is slow.
	atOnce = 16
	// joining is how long a new process lets others tell that they live before it takes
	// anything. They give up at once what is to be its share.
	joining = 500 * time.Millisecond
)

// Sharer takes part in sharing. Single, Carry and Log may be left out.
type Sharer struct {
	KV jetstream.KeyValue
	// Owner is this process, unlike any other.
	Owner string
	// TTL is the bucket's: how long a key lives that nobody renews.
	TTL time.Duration
	// Names are those to be shared; every process should have the same.
	Names func() []string
	// Single are names that do not count as anybody's share: the first process that has
	// such a name runs it, and keeps it. Not every process needs to have it.
	Single []string
	// Run runs a name until ctx ends. The lease is given up when it has returned.
	Run func(ctx context.Context, held *Lease)
	// Carry is what the next holder of a name is to know; nil is nothing.
	Carry func(name string) []byte
	// Log gets one line for each lease that comes or goes. Default slog.Default.
	Log *slog.Logger

	// seen is what the bucket shows, on the local clock. Of the goroutine of Share.
	seen    map[string]entry
	held    map[string]*Lease
	ended   chan *Lease
	watch   watch
	spoke   time.Time // when this process last told the others that it lives
	settled bool      // the others have had a turn to tell it
	told    string    // the newest fault, which is logged once
}

// entry is a key of the bucket.
type entry struct {
	owner    string
	at       time.Time // when its last write was seen
	revision uint64
	written  time.Time // by the server's clock
	record   record
}

// Share takes its share of the names, and runs them, until ctx ends; then it ends what it
// runs and gives the leases up. The error is that the bucket cannot be watched.
func (s *Sharer) Share(ctx context.Context) error {
	s.begin()
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if err := s.watch.open(watching, s.KV, s.TTL); err != nil {
		return fmt.Errorf("watch the leases: %w", err)
	}
	defer func() { s.watch.close() }()
	s.announce(ctx)
	ticker := time.NewTicker(min(joining, s.TTL/renewals))
	defer ticker.Stop()
	lapse := time.NewTimer(s.TTL) // what others hold may lapse between two turns
	defer lapse.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case u, ok := <-s.watch.updates:
			if !ok {
				s.watch.close() // the next turn opens another
			} else if s.note(u) {
				s.balance(ctx)
			}
		case l := <-s.ended:
			s.forget(l)
		case <-lapse.C:
			s.catchUp()
			s.balance(ctx)
			lapse.Reset(s.lapsing())
		case <-ticker.C:
			ticker.Reset(s.TTL / renewals)
			if err := s.turn(ctx, watching); err != nil {
				s.loseAll(err)
				return fmt.Errorf("watching the leases ended: %w", err)
			}
			lapse.Reset(s.lapsing())
		}
	}
	s.leave(context.WithoutCancel(ctx), ticker.C)
	return nil
}

func (s *Sharer) begin() {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	s.seen, s.held, s.ended = make(map[string]entry), make(map[string]*Lease), make(chan *Lease)
}

// turn renews what is held, and then sees to the share. Its error is that the connection
// was closed for good.
func (s *Sharer) turn(ctx, watching context.Context) error {
	s.announce(ctx)
	s.renew(ctx)
	s.catchUp()
	if s.deaf() {
		if err := s.watch.open(watching, s.KV, s.TTL/renewals); errors.Is(err, nats.ErrConnectionClosed) {
			return err
		} else if err != nil {
			s.fault(err)
		}
		s.catchUp()
	}
	s.balance(ctx)
	return nil
}

// announce tells the others that this process lives. Where it could not for as long as
// leases live, it may not have heard of them either: they get a turn to tell.
func (s *Sharer) announce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.TTL/2)
	defer cancel()
	began := time.Now()
	revision, err := s.KV.Put(ctx, processPrefix+s.Owner, nil)
	s.fault(err)
	if err != nil {
		s.settled = false
		return
	}
	s.settled = began.Sub(s.spoke) < s.TTL
	s.spoke = began
	s.watch.expect(revision, began)
}

// deaf reports whether what this process said itself does not come back from the bucket.
func (s *Sharer) deaf() bool { return s.watch.deaf(time.Now().Add(-s.TTL / 2)) }

// catchUp takes the updates that wait. Where the bucket is slow, others have told that
// they live while this process waited for answers; they would be taken for dead, and
// nothing be given up to them.
func (s *Sharer) catchUp() {
	for {
		select {
		case u, ok := <-s.watch.updates:
			if !ok {
				s.watch.close()
				return
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

// note takes an update, and reports whether it may change anybody's share. What a new
// watch tells once more is as old as it was.
func (s *Sharer) note(u jetstream.KeyValueEntry) bool {
	if u == nil {
		return false // all that was there is known
	}
	s.watch.heard(u.Revision())
	k := u.Key()
	was, known := s.seen[k]
	if u.Operation() != jetstream.KeyValuePut {
		delete(s.seen, k)
		return known
	}
	if known && was.revision >= u.Revision() {
		if !u.Created().After(was.written) {
			return false
		}
		s.watch.said = 0 // the bucket was made anew, and its revisions begin anew
	}
	e := entry{at: time.Now(), revision: u.Revision(), written: u.Created(), owner: strings.TrimPrefix(k, processPrefix)}
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

// renew renews what is held; what cannot be renewed in time is lost.
func (s *Sharer) renew(ctx context.Context) {
	var due []*Lease
	for _, l := range s.held {
		switch {
		case l.Valid():
			due = append(due, l)
		case !l.leaving:
			s.lose(l, errors.New("it lapsed"))
		}
	}
	errs := together(due, func(l *Lease) error { return s.write(ctx, l, false) })
	var fault error
	for i, err := range errs {
		if errors.Is(err, errTaken) {
			s.lose(due[i], err)
		} else if err != nil {
			fault = err
		}
	}
	if len(due) > 0 {
		s.fault(fault)
	}
}

// together writes some at a time, until one gets no answer: NATS does not answer then, and
// the others would wait in vain.
func together[T any](of []T, write func(T) error) []error {
	errs := make([]error, len(of))
	var next atomic.Int64
	var silent atomic.Bool
	var working sync.WaitGroup
	for range min(len(of), atOnce) {
		working.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(of); i = int(next.Add(1)) - 1 {
				if silent.Load() {
					errs[i] = context.DeadlineExceeded
					continue
				}
				if errs[i] = write(of[i]); errors.Is(errs[i], context.DeadlineExceeded) {
					silent.Store(true)
				}
			}
		})
	}
	working.Wait()
	return errs
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

// loseAll ends everything that runs, and waits for it.
func (s *Sharer) loseAll(why error) {
	for _, l := range s.held {
		s.lose(l, why)
	}
	for len(s.held) > 0 {
		s.forget(<-s.ended)
	}
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

// balance claims what is free, up to the share, and gives up what is beyond it. It does
// neither where this process may not have heard that others live.
func (s *Sharer) balance(ctx context.Context) {
	if !s.settled || s.deaf() {
		return
	}
	names := s.Names()
	share := s.shares(len(names))[s.Owner]
	missing := share - s.giveUp(names, share)
	if free := s.free(s.Single); s.claimSome(ctx, free, len(free)) {
		s.claimSome(ctx, s.free(names), missing)
	}
}

// claimSome claims free leases until it has as many as are missing. It reports whether NATS
// answers: else what is held is more urgent than more of them.
func (s *Sharer) claimSome(ctx context.Context, free []string, missing int) bool {
	for missing > 0 && len(free) > 0 && ctx.Err() == nil {
		n := min(len(free), missing, atOnce)
		taken, err := s.claim(ctx, free[:n])
		if errors.Is(err, context.DeadlineExceeded) {
			return false
		}
		missing, free = missing-taken, free[n:]
	}
	return true
}

// giveUp ends what is beyond the share, or not wanted any more, and returns how many of
// those held go on.
func (s *Sharer) giveUp(names []string, share int) (running int) {
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		l := s.held[name]
		switch {
		case l.leaving, slices.Contains(s.Single, name):
		case !wanted[name], running >= share:
			s.Log.Info("lease given up", "name", name, "share", share)
			l.leaving = true
			l.cancel()
		default:
			running++
		}
	}
	return running
}

// free are the names whose leases seem to be nobody's.
func (s *Sharer) free(names []string) (free []string) {
	for _, name := range names {
		e, known := s.seen[key(name)]
		if s.held[name] == nil && (!known || !s.alive(e) || e.record.Released) {
			free = append(free, name)
		}
	}
	return free
}

// claim tries to get leases, begins to run what it got, and returns how many these are.
// Where another was faster, or the bucket does not answer, the next turn tries again.
func (s *Sharer) claim(ctx context.Context, names []string) (taken int, err error) {
	leases := make(chan *Lease, len(names))
	errs := together(names, func(name string) error {
		l, err := s.take(ctx, name, s.seen[key(name)])
		if err == nil {
			leases <- l
		}
		return err
	})
	close(leases)
	for l := range leases {
		taken++
		s.held[l.Name] = l
		s.Log.Info("lease taken", "name", l.Name, "clean", l.Clean)
		go s.run(l)
	}
	return taken, errors.Join(errs...)
}

// run runs a name, and gives its lease up. The record stays until it expires: it carries
// what the next one is to know.
func (s *Sharer) run(l *Lease) {
	s.Run(l.running, l)
	if l.Valid() {
		l.fault = s.write(context.WithoutCancel(l.running), l, true)
	}
	s.ended <- l
}

// forget takes a lease off those held after what ran under it has ended.
func (s *Sharer) forget(l *Lease) {
	delete(s.held, l.Name)
	l.cancel()
	l.extend(time.Time{}) // and its timer has nothing to end any more
	if l.fault != nil {
		s.fault(l.fault)
	}
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
			s.forget(l)
		case <-tick:
			s.renew(ctx)
		}
	}
}
