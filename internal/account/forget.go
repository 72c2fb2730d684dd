package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// keyForgotten is the value that holds the marks of who is forgotten, so that they are
// known before NATS is reached.
const keyForgotten = "account/forgotten"

// forget reports whether something of the platform is of somebody on the list, and has a
// session forget it.
func (s *Settings) forget(of platform.Identity, session *events.Session) bool {
	l := s.Forgotten
	is := !l.Empty() && (l.Has(forgotten.GuestID, s.Name, of.GuestID) || l.Has(forgotten.MAC, s.Name, of.MAC) ||
		l.Has(forgotten.Email, s.Name, of.Email) || l.Has(forgotten.Session, s.Name, of.Session))
	if is && session != nil {
		session.Forget()
	}
	return is
}

// remember brings list and file in step: what the file has joins the list, and whom the
// list has is forgotten in the file, too.
func (a *Account) remember() error {
	list := a.settings.Forgotten
	if list == nil {
		return nil
	}
	kept, err := a.Store.Get(keyForgotten)
	if err != nil {
		return err
	}
	known := strings.Fields(string(kept))
	list.Add(known)
	if slices.Equal(known, list.Marks()) {
		return nil
	}
	_, err = a.scrub()
	return err
}

// Forget puts marks on the list, and takes whoever they are of out of the account's file.
// From when it returns nothing that the account stores or publishes names them.
func (a *Account) Forget(marks []string) (store.Forgot, error) {
	a.patient.door.Lock()
	a.settings.Forgotten.Add(marks)
	a.patient.door.Unlock()
	return a.scrub()
}

func (a *Account) scrub() (store.Forgot, error) {
	return scrub(a.Store, a.settings.Name, a.settings.Forgotten)
}

// ForgetFile has the state file of an account that does not run forget whom the list has.
// It reports whether another process has the file open; then nothing is done.
func ForgetFile(path, name string, list *forgotten.List) (open bool, err error) {
	s, err := store.Open(path, store.Options{LockTimeout: time.Millisecond})
	if errors.Is(err, store.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_, err = scrub(s, name, list)
	return false, errors.Join(err, s.Close())
}

// scrub takes whom the list has out of a state file.
func scrub(s *store.Store, name string, list *forgotten.List) (store.Forgot, error) {
	// The marks come last: after a crash in between the next start does it again.
	did, err := s.Forget(store.Person{
		Has:     func(s *events.Session) bool { return list.Names(name, s) },
		Cleanse: func(e *events.Event) bool { return list.Cleanse(e) },
	})
	if err == nil {
		err = s.Put(keyForgotten, []byte(strings.Join(list.Marks(), "\n")))
	}
	if err != nil {
		return did, fmt.Errorf("account %s: forget a person: %w", name, err)
	}
	return did, nil
}
