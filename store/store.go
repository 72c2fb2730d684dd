package store

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Defaults of Options.
const (
	DefaultLockTimeout    = time.Second
	DefaultOutboxMaxBytes = 1 << 30
	DefaultEndedRetention = 8 * 24 * time.Hour
	DefaultSentRetention  = 15 * time.Minute
)

// Options are the settings of a Store. The zero value has the defaults.
type Options struct {
	// LockTimeout is how long Open waits for another process to let the file go.
	LockTimeout time.Duration
	// NoSync leaves it to the operating system when commits reach the disk: a
	// power loss then destroys the file. For benchmarks.
	NoSync bool
	// OutboxMaxBytes is how much unsent events may take, counting their documents.
	OutboxMaxBytes int64
	// EndedRetention is how long the state of an ended session is kept, so that it
	// can be told from a new one.
	EndedRetention time.Duration
	// SentRetention is how long an event is kept after Acked, so that it can be
	// sent again if the stream loses its tail.
	SentRetention time.Duration
	// HoldArrivals is how long after its commit an event that brings a session
	// online is withheld from Take, and all events after it, so that Amend can
	// complete it; 0 is not at all.
	HoldArrivals time.Duration
	// Now is the time.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.OutboxMaxBytes <= 0 {
		o.OutboxMaxBytes = DefaultOutboxMaxBytes
	}
	if o.EndedRetention <= 0 {
		o.EndedRetention = DefaultEndedRetention
	}
	if o.SentRetention <= 0 {
		o.SentRetention = DefaultSentRetention
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store is the open file of one account. Its methods may be called concurrently.
type Store struct {
	path    string
	db      *bbolt.DB
	file    *os.File // db's
	page    int64    // bytes
	options Options
	wake    chan struct{}
	holding chan struct{}

	// log puts in order what writes to the outbox and what hands it out: an entry
	// is handed out or merged into, never both at once. It is held during I/O.
	log sync.Mutex
	// taken is the last entry that may have been sent. Guarded by log.
	taken uint64
	// held are the events that Take withholds, in order, all above taken. Guarded
	// by log.
	held []hold
	// mergeable holds, by session, the sequence number of its last entry where that
	// is traffic; only those above taken count. Guarded by log.
	mergeable map[string]uint64
	// saved is the cursor as the file has it, and savedAt when it was written.
	// Guarded by log.
	saved   savedCursor
	savedAt time.Time
	// touched is how much may have come into memory since that was looked at, and besides
	// what was there when pages of the file were let go last.
	touched, besides atomic.Int64
	mostMapped       int64 // see defaultMapped
	// records has room for what a transaction writes. Guarded by log.
	records arena
	// sent says until when entries were confirmed, oldest first. Guarded by log.
	sent []sentMark

	// reading is held by whoever reads the file; scrub excludes them.
	reading sync.RWMutex

	// mu guards the rest, and is never held during I/O.
	mu       sync.Mutex
	box      outbox
	seen     map[string]time.Time // SeenAt by location, where newer than in the file
	placedAt time.Time            // when all of them were written last
	closed   bool
	broken   error // what made the file unusable

	// known guards what is known of sessions without reading the file, and is never
	// held during I/O.
	known  sync.RWMutex
	online table            // as the file has it; without rows until it was read
	ahead  map[string]ahead // what staged changes lead to

	// ends says that the file may have sessions that have ended; else who is not online is
	// not looked up there, which the first reading does with everybody.
	ends atomic.Bool

	// staging guards the queue of staged commits, and is never held during I/O. Who
	// holds log may take it.
	staging  sync.Mutex
	turned   *sync.Cond // after each group
	queue    []item
	queued   int           // changes and values in it
	numbered uint64        // the newest item
	writer   bool          // a goroutine writes the queue
	stuck    error         // what keeps it from being written
	haste    chan struct{} // somebody waits for it
	began    time.Time     // when it was written last; the writer's
}

// Open opens the store at path, and makes it when there is none: the file with
// mode 0600, its directory with 0700. A file of an older format is migrated.
//
// The error is ErrLocked, ErrCorrupt or ErrNewerFormat, or that of the file
// system; its text names the file and the remedy. A file that is refused is left
// as it is.
func Open(path string, o Options) (*Store, error) { return open(path, o, current) }

func open(path string, o Options, s schema) (*Store, error) {
	o = o.withDefaults()
	if err := create(path, s, o.Now()); err != nil {
		return nil, err
	}
	f, err := openBolt(path, fileMode{wait: o.LockTimeout, noSync: o.NoSync})
	if err != nil {
		return nil, err
	}
	sweep(path)
	st := &Store{
		path: path, db: f.db, file: f.file, page: int64(f.db.Info().PageSize), options: o, mostMapped: defaultMapped,
		wake:      make(chan struct{}, 1),
		haste:     make(chan struct{}, 1),
		holding:   make(chan struct{}, 1),
		mergeable: make(map[string]uint64),
		seen:      make(map[string]time.Time),
	}
	st.turned = sync.NewCond(&st.staging)
	err = guard(func() error {
		write := false
		if err := st.db.View(func(tx *bbolt.Tx) (err error) { write, err = s.admit(tx); return err }); err != nil {
			return err
		}
		if write {
			if err := st.db.Update(func(tx *bbolt.Tx) error { return s.prepare(tx, o.Now()) }); err != nil {
				return err
			}
		}
		return st.db.View(st.load)
	})
	if err != nil {
		_ = f.db.Close()
		return nil, unopened(path, err)
	}
	if st.box.depth() > 0 {
		st.signal()
	}
	return st, nil
}

// Close writes what may lag behind in the file (the cursor, and when locations
// were last seen), waits for calls under way, and lets the file go. Calling it
// again does nothing.
func (s *Store) Close() error {
	lost := s.flushed()
	if errors.Is(lost, ErrOutboxFull) {
		lost = nil // The next process sees anew what there was no room for.
	}
	s.log.Lock()
	defer s.log.Unlock()
	s.mu.Lock()
	closed, broken := s.closed, s.broken
	pending := len(s.seen) > 0
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	if broken != nil {
		// bbolt's own locks may be held for ever.
		return errors.Join(lost, abandon(s.file))
	}
	err := lost
	if pending || s.cursorLags() {
		err = errors.Join(err, s.flush())
	}
	return errors.Join(err, explained(s.path, "close", s.db.Close()))
}

// flush writes what lags behind.
func (s *Store) flush() error {
	var w *writing
	err := s.locked(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			w = s.begin(tx)
			if err := w.places(nil, true); err != nil {
				return err
			}
			return w.moveCursor(trimBatch)
		})
	})
	if err != nil {
		return explained(s.path, "write the cursor", err)
	}
	s.adopt(w)
	return nil
}

// view runs f in a read transaction. What f reads must be copied.
func (s *Store) view(doing string, f func(*bbolt.Tx) error) error {
	if err := s.usable(); err != nil {
		return explained(s.path, doing, err)
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	return explained(s.path, doing, guard(func() error { return s.db.View(f) }))
}

// update runs f in a write transaction.
func (s *Store) update(doing string, f func(*bbolt.Tx) error) error {
	if err := s.usable(); err != nil {
		return explained(s.path, doing, err)
	}
	return explained(s.path, doing, s.locked(func() error { return s.db.Update(f) }))
}

// locked guards a write. When bbolt panics in it, the file is not written any more:
// what bbolt has in memory is as doubtful as the page that it stumbled over.
func (s *Store) locked(write func() error) error {
	done := false
	err := guard(func() error {
		err := write()
		done = true
		return err
	})
	if !done {
		s.mu.Lock()
		s.broken = err
		s.mu.Unlock()
	}
	return err
}

func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.broken
}
