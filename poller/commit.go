package poller

import (
	"context"
	"errors"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/store"
)

// writer writes what was seen into the store.
type writer struct {
	*Settings
	full error // the outbox's, while it takes nothing
	// publish makes the status visible; called where polling stands still.
	publish func(time.Time)
}

// commit writes the changes of a look that began at a time, in one transaction.
// While the outbox is full it waits: what was seen is kept until there is room, and
// nothing more is asked for.
func (w *writer) commit(ctx context.Context, changes []events.Event, began time.Time, marks ...store.LocationMark) error {
	c := store.Commit{Changes: changes, Locations: marks, SeenFrom: began}
	for {
		err := w.Store.Commit(c)
		if !errors.Is(err, store.ErrOutboxFull) {
			if err == nil && w.full != nil {
				w.Logger.Info("the outbox takes events again, polling goes on")
				w.full = nil
			}
			return err
		}
		if w.full == nil {
			w.Logger.Error("the outbox is full, polling pauses until NATS takes events again", "error", err)
		}
		w.full = err
		w.publish(w.Clock.Now())
		if err := w.Clock.Sleep(ctx, fullPause); err != nil {
			return err
		}
	}
}

// fullPause is the time between two tries to commit while the outbox is full.
const fullPause = time.Second
