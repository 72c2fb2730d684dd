package visit

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/forgotten"
)

// Forget has a state that forgets whom the list has, and reports whether it had anything
// of them. Their visits go on as those of nobody: they end and are counted.
func (s *Snapshot) Forget(list *forgotten.List) (changed bool) {
	if list.Empty() {
		return false
	}
	for i := range s.Accounts {
		a := &s.Accounts[i]
		of := func(v *visitSnapshot) bool {
			device := func(mac string) bool { return list.Has(forgotten.MAC, a.Name, mac) }
			return list.Is(a.Name, v.Guest, v.Device, v.Named) || slices.ContainsFunc(v.Devices, device)
		}
		for j := range a.Visits {
			if v := &a.Visits[j]; of(v) {
				delete(a.Guests, v.Guest)
				v.Guest, v.Device, v.Devices, v.Finds, changed = "", "", nil, nil, true
				v.Named, v.First, v.Number, v.Days = nil, 0, 0, nil
			}
		}
		for id := range a.Guests {
			if list.Has(forgotten.GuestID, a.Name, id) {
				delete(a.Guests, id)
				changed = true
			}
		}
		for _, d := range a.Backfill {
			if list.Cleanse(d.e) {
				changed = true
			}
		}
	}
	return changed
}

// forget has the state forget, and the checkpoint as well.
func (w *work) forget(ctx context.Context) error {
	if err := w.arrive(); err != nil { // it has not forgotten
		return err
	}
	snapshot := w.reducer.Snapshot()
	if snapshot.Forget(w.s.settings.Forgotten) {
		var err error
		if w.reducer, err = Restore(w.s.settings.Rules, snapshot); err != nil {
			return err
		}
	}
	if err := w.checkpoint(ctx); err != nil {
		return err
	}
	if w.known != nil {
		return errBehind
	}
	return nil
}

// errBehind: what was published before is not derived again yet, so that no checkpoint
// can be saved.
var errBehind = errors.New("visits: the streams are still being read")

// Forget makes sure that neither the state nor its checkpoint names anybody on the list
// of the settings. It waits until Run has read the streams, or ctx ends.
func (s *Service) Forget(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.asked <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ForgetSaved has the saved checkpoint forget whom the list of the settings has, for a
// time at which no Service runs, and reports whether it had anything of them.
func ForgetSaved(ctx context.Context, js jetstream.JetStream, settings Settings) (bool, error) {
	s := New(settings)
	if _, err := js.ObjectStore(ctx, s.settings.State); errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	c, err := s.load(ctx, js)
	if err != nil || c == nil || !c.Snapshot.Forget(settings.Forgotten) {
		return false, err
	}
	return true, s.save(ctx, js, *c)
}
