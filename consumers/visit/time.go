package visit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/guestflow/guestflow/events/consume"
)

// clock is an account's time, as far as it is known. It outlives a work: that one begins
// anew soon after another is no silence.
type clock struct {
	skew  time.Duration // this machine's clock minus the platform's
	known bool          // that was shown by an event
	last  time.Time
	hold  time.Time // no tick before this
}

// clock returns that of an account, which is made where there is none.
func (w *work) clock(account string) *clock {
	c := w.s.clocks[account]
	if c == nil {
		c = &clock{}
		w.s.clocks[account] = c
	}
	return c
}

// skews are those that are known, for a checkpoint: nothing may come of an account for long
// after a restart.
func (w *work) skews() map[string]time.Duration {
	all := map[string]time.Duration{}
	for account, c := range w.s.clocks {
		if c.known {
			all[account] = c.skew
		}
	}
	return all
}

// tick asks the clock of each account what it makes certain.
func (w *work) tick(ctx context.Context) error {
	if err := w.settle(ctx); err != nil || w.behind > 0 {
		return err
	}
	if err := w.caughtUp(ctx); err != nil {
		return err
	}
	due := map[string]time.Time{}
	for account, c := range w.s.clocks {
		at, known := w.timeOf(account, c)
		if !known {
			continue
		}
		// After a silence of the clock, be it that this process was away, what happened
		// meanwhile is given time to show.
		late := w.s.settings.Rules.Lateness
		if c.last.IsZero() || at.Sub(c.last) > late {
			c.hold = at.Add(late)
		}
		c.last = at
		at = at.Truncate(time.Millisecond)
		if !at.Before(c.hold) && w.reducer.Due(account, at) {
			due[account] = at
		}
	}
	if err := w.decide(ctx, due); err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	w.report()
	return nil
}

// timeOf is the time on an account's platform up to which its events are known; false where
// nothing tells that.
func (w *work) timeOf(account string, c *clock) (time.Time, bool) {
	if look := w.s.settings.LookedAt; look != nil {
		if looked := look(account); !looked.IsZero() {
			return looked, true
		}
	}
	return w.s.settings.Now().Add(-c.skew), c.known
}

// hour is a time of accounts at which a tick is due, and the sequence that the stream of
// session events had by then.
type hour struct {
	at    map[string]time.Time
	last  uint64
	asked bool // whether it was seen that not all is here yet
}

// decide has time make certain what it does, once all that was stored up to then is here:
// messages take their time from the stream, and a server of a cluster may lag behind.
func (w *work) decide(ctx context.Context, due map[string]time.Time) error {
	if w.due == nil {
		if len(due) == 0 {
			return nil
		}
		info, err := w.stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("stream %s: %w", w.s.settings.Stream, err)
		}
		w.due = &hour{at: due, last: info.State.LastSeq}
	}
	if here, err := w.arrived(ctx, w.due); err != nil || !here {
		return err
	}
	due, w.due = w.due.at, nil
	for account, at := range due {
		if err := w.publish(ctx, w.reducer.Tick(account, at)); err != nil {
			return err
		}
	}
	return nil
}

// arrived reports whether all that the stream had by an hour is applied.
func (w *work) arrived(ctx context.Context, h *hour) (bool, error) {
	read := max(w.read, w.reducer.Sequence())
	if read >= h.last {
		return true, nil
	}
	if !h.asked { // it is on its way, as a rule
		h.asked = true
		return false, nil
	}
	// Or it is deleted, or of other subjects.
	err := consume.AllRead(ctx, w.stream, w.filters, read)
	if errors.Is(err, consume.ErrLagging) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading stream %s: %w", w.s.settings.Stream, err)
	}
	w.read = h.last
	return true, nil
}
