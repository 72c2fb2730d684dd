package poller

import (
	"time"

	"github.com/guestflow/guestflow/events"
)

// That a session which a page does not show is gone rests on its start. Where a platform's
// zone or clock is set anew, all starts change while the list stays in its order: who was not
// shown with the new start yet stands elsewhere by the one that is known. So nobody has a
// position until starts have stayed for a while, and each session was shown since. Nor does a
// page tell of positions that shows nobody as known, which changed starts may be on as well.

const (
	// leastShifted is how many sessions of an answer have other starts than are known, and
	// they are more than those that have not; a single one may just have begun anew.
	leastShifted = 2
	// settled is for how long starts have to stay: while a platform's servers are being
	// changed one after another, they go back and forth.
	settled = 5 * time.Minute
)

// shift notes that starts have changed.
func (k *ledger) shift() error {
	if k.startsSettle() {
		k.Logger.Warn("the starts of sessions have changed, as where the platform's time zone or clock is set anew: until they stay, only whole lists and questions about single sessions prove that a session is gone", "for", settled)
	}
	k.shifted = k.Clock.Now()
	k.roster.disorder(ofAccount)
	k.roster.disorder(ofLocation)
	if err := k.remember(shiftKey, k.shifted); err != nil {
		return err
	}
	return k.remember(displacedKey, []string{})
}

// shiftKey names when starts were last seen changed: some of the sessions that a store has
// are known by the one zone then, and some by the other.
const shiftKey = "account.shifted"

// recallShift takes up what the last process knew of changed starts.
func (k *account) recallShift() error {
	if err := k.recall(shiftKey, &k.shifted); err != nil {
		return err
	}
	if k.shifted.After(k.begun) { // by a clock that was set back since
		k.shifted = k.begun
	}
	return nil
}

// startStays reports whether a session is known by a start of after they last changed.
func (k *account) startStays(s *events.State) bool {
	return k.shifted.IsZero() || k.startsSettle() && s.SeenAt.After(k.shifted.Add(settled))
}

// startsSettle reports whether starts have stayed for long enough to tell positions.
func (k *account) startsSettle() bool { return k.settling() == 0 }

// settling is for how long yet starts have to stay until they do.
func (k *account) settling() time.Duration {
	if k.shifted.IsZero() {
		return 0
	}
	return max(0, settled-k.Clock.Now().Sub(k.shifted))
}
