package group

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// File is a groups file that is followed by its content and that of the files it refers to:
// by content, since they are small, and one replaced within the clock's resolution is seen
// too.
type File struct {
	path string
	only func() Only
	log  *slog.Logger

	mu      sync.Mutex
	tree    *Tree
	changed chan struct{} // closed when another tree is in use
	fault   error         // why the file as it is now is not used
	files   []string      // referred to at the last look
	// Digests of the content: at the last look, and as it was used or refused.
	seen, taken [sha256.Size]byte
}

// lookEvery is how often the file is looked at.
const lookEvery = 2 * time.Second

// Open reads a groups file; the error says what is wrong with it. only is asked each time
// that the file is read.
func Open(path string, only func() Only, log *slog.Logger) (*File, error) {
	f := &File{path: path, only: only, log: log, changed: make(chan struct{})}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Tree returns the groups in use, and what is closed when others are.
func (f *File) Tree() (*Tree, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tree, f.changed
}

// Fault is why the file as it is now is not used; nil where it is.
func (f *File) Fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// Run looks at the file until ctx ends.
func (f *File) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.look()
		}
	}
}

// look reads the file where it has changed. A change counts once two looks found the same:
// the first may have come amid a write, and what is left out opens what was closed.
func (f *File) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := content(append([]string{f.path}, f.files...))
	settled := now == f.seen
	if f.seen = now; settled && now != f.taken {
		f.use()
	}
}

// Reload reads the file at once, since somebody says that it is as it is meant.
func (f *File) Reload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.use()
}

// use reads the file, and says what came of it; f.mu is held.
func (f *File) use() {
	was := f.fault
	if f.fault = f.read(); f.fault != nil {
		if was == nil || was.Error() != f.fault.Error() {
			f.log.Error("the changed groups file is not usable; the groups and tokens stay as they were", "error", f.fault)
		}
		return
	}
	f.log.Info("groups file read again", "groups", len(f.tree.ids), "tokens", len(f.tree.Grants))
}

// errOpened keeps a file that was cut short from opening everything to everybody.
var errOpened = errors.New("it has no tokens any more, and without any everybody would see every location; leave one in, or start guestflow anew where that is meant")

// read reads the file; with an error the tree stays. f.mu is held, but for the first time.
func (f *File) read() error {
	for {
		l := &loader{path: f.path, only: f.only()}
		before := content(append([]string{f.path}, f.files...))
		tree, err := l.load()
		if !slices.Equal(l.files, f.files) {
			f.files = l.files // and once more, so that no change of these falls between unseen
			continue
		}
		f.seen, f.taken = before, before
		if err == nil && f.tree != nil && len(f.tree.Grants) > 0 && len(tree.Grants) == 0 {
			err = fmt.Errorf("groups file %s: %w", f.path, errOpened)
		}
		if err != nil {
			return err
		}
		f.tree = tree
		close(f.changed)
		f.changed = make(chan struct{})
		return nil
	}
}

// content digests files.
func content(names []string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range names {
		data, err := handwritten.ReadFile(name)
		fmt.Fprintf(h, "%q %d %v\n", name, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
