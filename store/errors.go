package store

import (
	"errors"
	"fmt"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// Errors that a caller may decide on. Each comes wrapped in a text that names the
// file and what to do.
var (
	// ErrLocked: another process has the file open. Nothing was read or written.
	ErrLocked = errors.New("the store is in use by another process")
	// ErrCorrupt: the file, or a record in it, is damaged or is no guestflow store.
	// It is left as it is.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrNewerFormat: a newer release of guestflow wrote the file. It is left as
	// it is.
	ErrNewerFormat = errors.New("the store has a newer format")
	// ErrOutboxFull: the commit would bring the unsent events above
	// Options.OutboxMaxBytes. Nothing of it was written.
	ErrOutboxFull = errors.New("the outbox is full")
	// ErrNoSpace: the disk has no room for the write, of which nothing was written.
	// The same write succeeds once there is room.
	ErrNoSpace = errors.New("the disk is full")
	// ErrConflict: a change does not follow what is stored, so it was made from an
	// older state, or its event and state disagree. Nothing of the commit was
	// written.
	ErrConflict = errors.New("the change does not follow the stored state")
	// ErrCursor: the position lies outside of what the outbox holds. The cursor
	// did not move.
	ErrCursor = errors.New("not a position in the outbox")
	// ErrClosed: the store was used after Close.
	ErrClosed = errors.New("the store is closed")
)

const (
	remedyCorrupt = "keep the file; `guestflow state verify` says what is damaged; then `guestflow state restore` a backup, or start without the file: the state is rebuilt from the stream"
	remedyLocked  = "stop the other guestflow that uses it, or give this one its own GUESTFLOW_DATA_DIR"
	remedyNewer   = "run the release that wrote it, or a later one"
	remedySpace   = "free some disk space; nothing was lost, and work goes on by itself"
	remedyFull    = "see why NATS does not take events, or raise GUESTFLOW_OUTBOX_MAX_BYTES"
)

// damaged returns an ErrCorrupt that says what is wrong inside of the file.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// explained adds the file and the remedy to an error of reading or writing.
func explained(path, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("store %s: %s: %w; %s", path, doing, err, remedyCorrupt)
	case errors.Is(err, ErrOutboxFull):
		return fmt.Errorf("store %s: %s: %w; %s", path, doing, err, remedyFull)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return fmt.Errorf("store %s: %s: %w", path, doing, ErrClosed)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("store %s: %s: %w: %w; %s", path, doing, ErrNoSpace, err, remedySpace)
	}
	return fmt.Errorf("store %s: %s: %w", path, doing, err)
}
