package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/guestflow/guestflow/events"
)

// Staged commits. Syncing takes longer than looking, so who looks need not wait for it:
// Stage and StageValue queue what they are given, and a goroutine that lives as long as
// the queue has anything writes all that has come while the last transaction was being
// synced in one transaction, in order. Nothing of it can be taken from the outbox before
// it is durable. A crash takes what was staged with all that rests on it, since that is
// in the memory of the same process: the next one finds the file as of some moment of
// the queue, and values never ahead of the changes that were staged before them.

// item is one staged commit, or a value.
type item struct {
	commit Commit
	key    string
	value  []byte
}

// weight is what an item counts as: its changes, and at least one.
func (it *item) weight() int { return max(1, len(it.commit.Changes)) }

// ahead is the state of a session that staged changes lead to.
type ahead struct {
	state events.State
	item  uint64 // number of the last item that changes it
}

// groupEvery is how long after one transaction began the next one begins, unless somebody
// waits for it: each writes some ten pages whatever is in it. Nothing waits for that where
// changes come less often.
const groupEvery = 100 * time.Millisecond

// mostStaged is how many changes may wait; who stages more waits for them. mostTogether is
// how many of them one transaction takes, unless one commit has more: each holds some 20 kB
// of the file's pages in memory until it is written.
const (
	mostStaged   = 2000
	mostTogether = 500
)

// Stage is Commit for who need not wait until it is durable: State shows its changes at
// once. Flush and Close write what is staged, and Commit and Put before what they write.
//
// The error is that of staged writes before it, which stay staged, and are tried again
// by each call: c is then not staged. It is ErrOutboxFull as that of Commit is, and
// ErrConflict at once where a change does not follow what is known of its session. A
// revision that is too high is lowered: traffic may have been merged since its state was
// read.
func (s *Store) Stage(c Commit) error {
	if len(c.Changes) == 0 && len(c.Locations) == 0 {
		return s.usable()
	}
	if err := s.settled(len(c.Changes)); err != nil {
		return err
	}
	was, err := s.revisions(c.Changes)
	if err != nil {
		return err
	}
	c.Changes = append([]events.Event(nil), c.Changes...)
	return s.enqueue(item{commit: c}, was)
}

// follow makes the changes of a commit follow what is known of their sessions. The
// revisions are those of the sessions that are not online, and then those that the changes
// lead to; known is held.
func (s *Store) follow(changes []events.Event, was map[string]int64) error {
	for id := range was {
		if at, ok := s.ahead[id]; ok {
			was[id] = at.state.Revision
		} else if r := s.online.revision(id); r > 0 {
			was[id] = r
		}
	}
	for i := range changes {
		e := &changes[i]
		id := e.Data.Session.ID
		revision := was[id]
		switch next := revision + 1; {
		case revision == 0 || e.Data.Revision == next:
		case e.Data.Revision < next:
			return explained(s.path, "stage a commit",
				fmt.Errorf("session %s: %w: revision %d after %d; read its state anew", id, ErrConflict, e.Data.Revision, revision))
		default:
			e.Data.Revision = next
			*e = e.Sealed()
		}
		was[id] = e.Data.Revision
	}
	return nil
}

// StageValue is Put for who need not wait: the value is never in the file before what
// was staged before it, with which it waits for room in the outbox.
func (s *Store) StageValue(key string, value []byte) error {
	if err := s.settled(1); err != nil && !errors.Is(err, ErrOutboxFull) {
		return err
	}
	return s.enqueue(item{key: key, value: append([]byte(nil), value...)}, nil)
}

// Flush returns when all that was staged is durable, or with the error that keeps it
// from that.
func (s *Store) Flush() error {
	s.staging.Lock()
	defer s.staging.Unlock()
	s.tryAgain()
	for len(s.queue) > 0 && s.stuck == nil {
		s.hasten()
		s.turned.Wait()
	}
	return s.stuck
}

// settled waits until there is room for so many more changes, and returns what keeps
// the queue from being written.
func (s *Store) settled(more int) error {
	if err := s.usable(); err != nil {
		return explained(s.path, "stage a commit", err)
	}
	s.staging.Lock()
	defer s.staging.Unlock()
	if s.stuck != nil {
		s.tryAgain()
		for s.writer && s.stuck == nil {
			s.hasten()
			s.turned.Wait()
		}
	}
	for s.queued > 0 && s.queued+more > mostStaged && s.stuck == nil {
		s.hasten()
		s.turned.Wait()
	}
	return s.stuck
}

// tryAgain has a queue written that an error had stopped.
func (s *Store) tryAgain() {
	if s.stuck == nil || s.writer {
		return
	}
	s.stuck, s.writer = nil, true
	go s.write()
}

// enqueue queues a value, or a commit with the revisions of its sessions.
func (s *Store) enqueue(it item, was map[string]int64) error {
	s.staging.Lock()
	defer s.staging.Unlock()
	if len(was) > 0 {
		s.known.Lock()
		defer s.known.Unlock()
		if err := s.follow(it.commit.Changes, was); err != nil {
			return err
		}
		if s.ahead == nil {
			s.ahead = make(map[string]ahead)
		}
		for i := range it.commit.Changes {
			e := &it.commit.Changes[i]
			s.ahead[e.Data.Session.ID] = ahead{events.StateOf(*e), s.numbered + 1}
		}
	}
	s.numbered++
	s.queue = append(s.queue, it)
	s.queued += it.weight()
	if !s.writer && s.stuck == nil {
		s.writer = true
		go s.write()
	}
	return nil
}

// hasten has what is staged written at once.
func (s *Store) hasten() {
	select {
	case s.haste <- struct{}{}:
	default:
	}
}

// gather waits for more to come into the queue; see groupEvery.
func (s *Store) gather() {
	wait := groupEvery - time.Since(s.began)
	if wait > 0 && wait <= groupEvery {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.haste:
		}
	}
	s.began = time.Now()
}

// write writes the queue until it is empty or an error stops it.
func (s *Store) write() {
	for {
		s.gather()
		s.log.Lock()
		s.staging.Lock()
		group := s.together()
		upTo := s.numbered - uint64(len(s.queue)-len(group))
		s.staging.Unlock()
		w, err := s.writeGroup(group)
		s.staging.Lock()
		if err == nil {
			for i := range group {
				s.queued -= group[i].weight()
			}
			clear(group) // The array outlives them.
			s.queue = s.queue[len(group):]
			s.reached(w, upTo)
			if s.queued >= mostTogether {
				s.hasten()
			}
		}
		s.stuck = err
		done := err != nil || len(s.queue) == 0
		if done {
			s.writer = false
		}
		s.turned.Broadcast()
		s.staging.Unlock()
		s.log.Unlock()
		if done {
			return
		}
	}
}

// together returns the items of the queue that the next transaction takes.
func (s *Store) together() []item {
	n, changes := 0, 0
	for n < len(s.queue) {
		if changes += s.queue[n].weight(); n > 0 && changes > mostTogether {
			break
		}
		n++
	}
	return s.queue[:n:n]
}

// writeGroup writes staged items in one transaction; log is held. With an error nothing
// was written.
func (s *Store) writeGroup(group []item) (w *writing, err error) {
	if len(group) == 0 {
		return nil, nil
	}
	needed, marks, err := s.needed(group)
	if err != nil {
		return nil, err
	}
	if !needed {
		s.remember(marks)
		return nil, nil
	}
	if err := s.remembered(); err != nil {
		return nil, err
	}
	changes := 0
	type arrivals struct{ from, to int }
	came := make([]arrivals, len(group))
	err = s.update(fmt.Sprintf("write %d staged commits", len(group)), func(tx *bbolt.Tx) error {
		w, changes = s.begin(tx), 0
		var all Commit
		for i := range group {
			it := &group[i]
			came[i].from = len(w.arrivals)
			if err := w.item(tx, it); err != nil {
				return err
			}
			came[i].to = len(w.arrivals)
			changes += len(it.commit.Changes)
			all.Locations = append(all.Locations, it.commit.Locations...)
		}
		return w.finish(all.Locations, changes)
	})
	if err != nil {
		return nil, err
	}
	s.adopt(w)
	for i, a := range came {
		s.hold(w.arrivals[a.from:a.to], group[i].commit.SeenFrom, w.now)
	}
	if changes > 0 {
		s.signal()
	}
	return w, nil
}

// needed reports whether staged items change what is stored; marks are what they only
// look at anew.
func (s *Store) needed(group []item) (needed bool, marks []LocationMark, err error) {
	for i := range group {
		it := &group[i]
		writes, seen, err := s.writes(&it.commit)
		if err != nil {
			return false, nil, err
		}
		if it.key != "" && !needed {
			is, err := s.Get(it.key)
			if err != nil {
				return false, nil, err
			}
			writes = !bytes.Equal(is, it.value)
		}
		needed = needed || writes
		marks = append(marks, seen...)
	}
	return needed, marks, nil
}

// item writes the changes of a staged item, and its value.
func (w *writing) item(tx *bbolt.Tx, it *item) error {
	for _, e := range it.commit.Changes {
		if err := w.change(e); err != nil {
			return err
		}
	}
	if it.key == "" {
		return nil
	}
	return putValue(tx, it.key, it.value)
}

// reached brings what is staged still in step with what was written up to an item: where
// traffic was merged, the revisions that follow are lower.
func (s *Store) reached(w *writing, upTo uint64) {
	s.known.Lock()
	defer s.known.Unlock()
	if w != nil {
		for id, of := range w.sessions {
			if of.merged == 0 {
				continue
			}
			for i := range s.queue {
				for j := range s.queue[i].commit.Changes {
					if e := &s.queue[i].commit.Changes[j]; e.Data.Session.ID == id {
						e.Data.Revision -= of.merged
						*e = e.Sealed()
					}
				}
			}
			if at, ok := s.ahead[id]; ok {
				at.state.Revision -= of.merged
				s.ahead[id] = at
			}
		}
	}
	for id, at := range s.ahead {
		if at.item <= upTo {
			delete(s.ahead, id)
		}
	}
}

// flushed writes what is staged before something else is written.
func (s *Store) flushed() error {
	if err := s.Flush(); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}
