package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/handwritten"
	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// fleet is every account that the process polls. One that the variables describe is
// opened with the process, and its end is the process's; those of an accounts file are
// started, and started again, each by itself.
type fleet struct {
	app  *app
	lone bool
	wake chan struct{} // the file is to be read again now
	// working are the accounts that were started and have not ended, led their names; of
	// the goroutine of run.
	working sync.WaitGroup
	led     map[string]bool

	mu      sync.Mutex
	members []*member         // in the order of the file
	files   []string          // the accounts file and what it refers to
	changed chan struct{}     // closed when the file was read again
	sharing error             // why accounts cannot be shared with other processes
	seen    [sha256.Size]byte // their content at the last look
	fault   error             // why the file as it is now cannot be used
}

// reloadEvery is how often the accounts file is looked at.
const reloadEvery = 2 * time.Second

// Bounds of the pause before an account that could not go on is started again.
const (
	restartFirst = time.Second
	restartMost  = time.Minute
)

func newFleet(ctx context.Context, a *app) (*fleet, error) {
	f := &fleet{app: a, lone: a.cfg.AccountsFile == "", wake: make(chan struct{}, 1), files: []string{a.cfg.AccountsFile}, changed: make(chan struct{}), led: make(map[string]bool)}
	if !f.lone {
		configs, err := f.load()
		if err != nil {
			return nil, usageError(err.Error())
		}
		for _, cfg := range configs {
			f.members = append(f.members, newMember(a, cfg))
		}
		return f, nil
	}
	m := newMember(a, a.cfg)
	var bad *account.SettingsError
	if err := m.begin(ctx); errors.As(err, &bad) {
		return nil, usageError(err.Error())
	} else if err != nil {
		return nil, err
	}
	f.members = []*member{m}
	return f, nil
}

// run runs the accounts until ctx ends, or the only one cannot go on.
func (f *fleet) run(ctx context.Context) error {
	if f.lone {
		return f.members[0].runLearning(ctx)
	}
	if f.app.cfg.Lease > 0 {
		f.working.Go(func() { f.share(ctx) })
	} else {
		f.lead(ctx)
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-f.wake:
		case <-time.After(reloadEvery):
		}
		f.follow()
		if f.app.cfg.Lease == 0 {
			f.lead(ctx)
		}
	}
	f.working.Wait()
	return nil
}

// lead keeps every account running that this process has alone.
func (f *fleet) lead(ctx context.Context) {
	for _, m := range f.all() {
		name := m.cfg.Account
		if f.led[name] {
			continue
		}
		f.led[name] = true
		f.working.Go(func() { f.keep(ctx, name, nil) })
	}
}

// keep runs the account of a name, as the file has it at the moment, until ctx ends. The
// lease is nil where this process has its accounts alone.
func (f *fleet) keep(ctx context.Context, name string, held *lease.Lease) {
	for ctx.Err() == nil {
		m, changed := f.current(name)
		if m == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		running, stop := context.WithCancel(ctx)
		unfollow := context.AfterFunc(m.replaced, stop)
		m.keep(running, held)
		unfollow()
		stop()
	}
}

// current is the account of a name, nil where the file has none, and what is closed when
// the file is read again.
func (f *fleet) current(name string) (*member, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m.cfg.Account == name {
			return m, f.changed
		}
	}
	return nil, f.changed
}

// reload has the accounts file read again at once, also where its content is the same.
func (f *fleet) reload() {
	f.mu.Lock()
	f.seen = [sha256.Size]byte{}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// load reads the file. The digest is taken before, so that no change between the two
// goes unseen.
func (f *fleet) load() ([]Config, error) {
	l := accountsLoader{base: f.app.cfg}
	seen := content(f.files)
	configs, err := l.load()
	if !slices.Equal(l.files, f.files) {
		f.files = l.files
		seen = [sha256.Size]byte{} // the next look reads them once more
	}
	f.seen, f.fault = seen, err
	return configs, err
}

// content digests files. Content rather than modification times: they are small, and a
// file replaced within the clock's resolution is seen too.
func content(files []string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range files {
		data, err := handwritten.ReadFile(name)
		fmt.Fprintf(h, "%q %d %v\n", name, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// follow starts, stops and changes accounts as the file now has them, and leaves those
// alone that are as they were. A file that cannot be used changes nothing.
func (f *fleet) follow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if content(f.files) == f.seen {
		return
	}
	was := f.fault
	configs, err := f.load()
	if err != nil {
		if was == nil || was.Error() != err.Error() {
			f.app.log.Error("the changed accounts file is not usable; the accounts stay as they were", "error", err)
		}
		return
	}
	kept := make(map[string]*member)
	for _, m := range f.members {
		kept[m.cfg.Account] = m
	}
	var members, fresh []*member
	for _, cfg := range configs {
		m := kept[cfg.Account]
		if m != nil && reflect.DeepEqual(m.cfg, cfg) {
			delete(kept, cfg.Account)
		} else {
			m = newMember(f.app, cfg)
			fresh = append(fresh, m)
		}
		members = append(members, m)
	}
	f.members = members
	if len(kept)+len(fresh) > 0 {
		f.app.log.Info("accounts file read again", "accounts", len(members), "changed_or_new", len(fresh), "changed_or_gone", len(kept))
	}
	for _, m := range fresh {
		if old := kept[m.cfg.Account]; old != nil {
			m.metrics = old.metrics // it counts on
		}
	}
	for _, old := range kept {
		old.replace()
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// runLearning runs the account, and asks for what is usual beside.
func (m *member) runLearning(ctx context.Context) error {
	learning, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { m.learn(learning) })
	defer beside.Wait()
	defer stop()
	return m.runRebuilt(ctx)
}

// runRebuilt runs the account, and once more with its state rebuilt from the stream
// where that holds what the state does not know. A state that was restored from a backup
// is rebuilt first.
func (m *member) runRebuilt(ctx context.Context) error {
	restored, err := m.open().Store.Get(store.KeyRestored)
	switch {
	case err == nil && restored != nil:
		err = publisher.ErrBehind
	case err == nil:
		err = m.open().Run(ctx)
	}
	// Whoever holds the lease goes on where a former holder ended.
	behind := errors.Is(err, publisher.ErrBehind) || m.held != nil && errors.Is(err, publisher.ErrFenced)
	if !behind || ctx.Err() != nil {
		return err
	}
	if err := m.end(); err != nil {
		return err
	}
	m.rebuild = true
	err = m.begin(ctx)
	m.rebuild = false
	if err != nil {
		return err
	}
	return m.open().Run(ctx)
}

func (f *fleet) all() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.members)
}

// unusable is why the accounts file as it is now cannot be used; nil where it is used.
func (f *fleet) unusable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// unshared is why accounts cannot be shared with other processes; nil where they can.
func (f *fleet) unshared() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sharing
}

// find returns the account of a name; an empty one means the only one. The error lists
// the names there are.
func (f *fleet) find(name string) (*member, error) {
	all := f.all()
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	var names []string
	for _, m := range all {
		if m.cfg.Account == name {
			return m, nil
		}
		names = append(names, m.cfg.Account)
	}
	if name == "" {
		return nil, fmt.Errorf("name one account of %d: %s", len(names), strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no account %q; there are %s", name, strings.Join(names, ", "))
}

// published reports whether any account has published before.
func (f *fleet) published() bool {
	return slices.ContainsFunc(f.all(), func(m *member) bool {
		a := m.open()
		return a != nil && a.Store.Cursor().StreamSeq > 0
	})
}

func (f *fleet) close() error {
	var errs []error
	for _, m := range f.all() {
		errs = append(errs, m.end())
	}
	return errors.Join(errs...)
}

// member is one account of the fleet.
type member struct {
	app     *app
	cfg     Config
	metrics *accountMetrics
	// replaced ends when the file has the account in another way, or no more.
	replaced context.Context
	replace  context.CancelFunc
	rebuild  bool         // the next begin rebuilds the state
	held     *lease.Lease // nil where this process has its accounts alone

	mu      sync.Mutex
	account *account.Account // nil while it does not run
	fault   error            // why it does not
}

func newMember(a *app, cfg Config) *member {
	m := &member{app: a, cfg: cfg}
	m.replaced, m.replace = context.WithCancel(context.Background())
	m.metrics = newAccountMetrics(m)
	return m
}

// open is the account while it runs, else nil.
func (m *member) open() *account.Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.account
}

// elsewhere reports whether the account is another process's business: it shares its
// accounts, and neither runs this one nor has tried to.
func (m *member) elsewhere() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.app.cfg.Lease > 0 && m.account == nil && m.fault == nil
}

// why it does not run; nil while it does.
func (m *member) why() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// begin opens the account.
func (m *member) begin(ctx context.Context) error {
	settings := m.cfg.settings(m.app, m.metrics)
	settings.Rebuild = m.rebuild
	if m.held != nil {
		settings.May, settings.Follows = m.held.Valid, true
	}
	opened, err := account.Open(ctx, settings, m.app)
	m.mu.Lock()
	m.account, m.fault = opened, err
	m.mu.Unlock()
	if err == nil {
		m.metrics.show(m)
	}
	return err
}

// end closes the account.
func (m *member) end() error {
	m.mu.Lock()
	opened := m.account
	m.account = nil
	m.mu.Unlock()
	if opened == nil {
		return nil
	}
	m.metrics.hide()
	return opened.Close()
}

// keep runs the account until ctx ends. Where it cannot go on it is started again
// after a pause, since the cause may have been mended.
func (m *member) keep(ctx context.Context, held *lease.Lease) {
	m.held = held
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.MaxElapsedTime = restartFirst, restartMost, 0
	for {
		began := time.Now()
		err := m.once(ctx)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				m.app.log.Error("closing an account", "account", m.cfg.Account, "error", err)
			}
			return
		}
		if time.Since(began) > restartMost {
			pauses.Reset()
		}
		wait := pauses.NextBackOff()
		m.app.log.Error("an account cannot go on; the others do", "account", m.cfg.Account, "error", err, "again_in", wait.Round(time.Millisecond))
		if (poller.SystemClock{}).Sleep(ctx, wait) != nil {
			return
		}
	}
}

// once runs the account until ctx ends or it cannot go on.
func (m *member) once(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	m.app.log.Info("account runs", "account", m.cfg.Account)
	err := m.runLearning(ctx)
	err = errors.Join(err, m.end())
	m.mu.Lock()
	m.fault = err
	m.mu.Unlock()
	m.app.log.Info("account ended", "account", m.cfg.Account)
	return err
}
