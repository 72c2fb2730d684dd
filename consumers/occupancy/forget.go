package occupancy

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
)

// Forget has a state that forgets whom the list has, and reports whether it had anything
// of them. Their sessions are counted as before, but for distinct guests and devices.
func (s *Snapshot) Forget(list *forgotten.List) (changed bool) {
	if list.Empty() {
		return false
	}
	for i := range s.Accounts {
		a := &s.Accounts[i]
		for j := range a.Sessions {
			v := &a.Sessions[j]
			of := events.Session{ID: v.ID, GuestID: v.Guest, DeviceMAC: v.MAC}
			if !list.Names(a.Name, &of) && !list.Has(forgotten.Email, a.Name, v.Email) {
				continue
			}
			was := *v
			v.Guest, v.Yas, v.GuestName, v.Email, v.MAC, v.IP, v.Code, v.Description = "", "", "", "", "", "", "", events.Forgotten
			changed = changed || *v != was
		}
	}
	return changed
}

// Forget makes sure that neither the state, nor what browsers may still ask for, nor the
// checkpoint names anybody on the list of the settings.
func (s *Service) Forget(ctx context.Context, js jetstream.JetStream) error {
	s.mu.Lock()
	snapshot, stream := s.state.Snapshot(), s.stream
	if snapshot.Forget(s.settings.Forgotten) {
		state, err := Restore(s.settings.Limits, snapshot)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		*s.state = *state
	}
	s.mu.Unlock()
	s.feed.clear()
	if stream == nil { // nothing was read so far
		return nil
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	holes, err := s.findHoles(ctx, js, stream, info)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.holes = holes
	s.mu.Unlock()
	s.saving.Lock() // a checkpoint that is on its way has not forgotten
	defer s.saving.Unlock()
	return s.replace(ctx, js)
}

// ForgetSaved has the saved checkpoint forget whom the list of the settings has, for a
// time at which no Service runs, and reports whether it had anything of them.
func ForgetSaved(ctx context.Context, js jetstream.JetStream, settings Settings) (bool, error) {
	s := New(settings)
	if _, err := js.ObjectStore(ctx, s.settings.Bucket+"-state"); errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	c, err := s.load(ctx, js)
	if errors.Is(err, jetstream.ErrObjectNotFound) || err == nil && !c.Snapshot.Forget(settings.Forgotten) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.put(ctx, js, func(w io.Writer) error { return json.NewEncoder(w).Encode(c) })
}
