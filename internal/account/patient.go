package account

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/store"
)

// patientStore is a store whose writers wait while the disk is full, instead of
// failing: nothing is asked of the platform meanwhile, and all goes on once there
// is room.
type patientStore struct {
	*store.Store
	log *slog.Logger
	may func() bool // see Settings.May
	// until ends the waiting; it is set before the first write.
	until context.Context
	// forgotten is asked by each commit; door is held by commits, and while somebody is put
	// on the list, so that whatever is committed afterwards names them no more.
	forgotten *forgotten.List
	door      sync.RWMutex

	mu   sync.Mutex
	full map[string]error // what is waited with, by kind of write
}

// roomPause is the time between two tries.
const roomPause = time.Second

func (s *patientStore) Commit(c store.Commit) error {
	return s.patiently("commit", func() error { return s.cleansed(c, s.Store.Commit) })
}

// cleansed commits what names nobody who is forgotten.
func (s *patientStore) cleansed(c store.Commit, commit func(store.Commit) error) error {
	s.door.RLock()
	defer s.door.RUnlock()
	if !s.forgotten.Empty() {
		c.Changes = slices.Clone(c.Changes)
		for i := range c.Changes {
			s.forgotten.Cleanse(&c.Changes[i])
		}
	}
	return commit(c)
}

// errElsewhere keeps what this process has not sent.
var errElsewhere = errors.New("another process may poll the account by now")

// Take hands nothing out that this process may not publish any more.
func (s *patientStore) Take(after uint64, limit int) ([]store.Entry, error) {
	if s.may != nil && !s.may() {
		return nil, errElsewhere
	}
	return s.Store.Take(after, limit)
}

func (s *patientStore) Put(key string, value []byte) error {
	return s.patiently("put "+key, func() error { return s.Store.Put(key, value) })
}

// pollingStore is the store as the poller has it, which goes on while its commits are
// being synced.
type pollingStore struct{ *patientStore }

func (s pollingStore) Commit(c store.Commit) error {
	return s.patiently("commit", func() error { return s.cleansed(c, s.Store.Stage) })
}

func (s pollingStore) Put(key string, value []byte) error {
	return s.patiently("put "+key, func() error { return s.Store.StageValue(key, value) })
}

func (s *patientStore) patiently(what string, write func() error) error {
	for {
		err := write()
		full := errors.Is(err, store.ErrNoSpace)
		s.note(what, err, full)
		if !full {
			return err
		}
		if err := (poller.SystemClock{}).Sleep(s.until, roomPause); err != nil {
			return errors.Join(err, s.Full())
		}
	}
}

// note keeps whether a write waits for room, and logs when the first begins to and
// the last need not any more.
func (s *patientStore) note(what string, err error, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := len(s.full) > 0
	if full {
		s.full[what] = err
	} else {
		delete(s.full, what)
	}
	switch waits := len(s.full) > 0; {
	case waits && !waited:
		s.log.Error("the disk is full, polling pauses until there is room", "error", err)
	case waited && !waits:
		s.log.Info("the disk takes writes again, polling goes on")
	}
}

// Full returns what the disk has no room for, nil while it has room.
func (s *patientStore) Full() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.full {
		return err
	}
	return nil
}
