package webhook

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/handwritten"
)

// watched is an endpoints file that is followed by its content, the groups, and that of the
// secret files it refers to, those that are still to be made too. Content rather
// than modification times: they are small, and a file replaced within the clock's
// resolution is seen too.
type watched struct {
	path   string
	absent Absent
	groups func() *group.Tree

	mu    sync.Mutex
	cfg   Config
	files []string          // referred to at the last look, whether it was usable or not
	seen  [sha256.Size]byte // content at the last look
}

func watch(path string, absent Absent, groups func() *group.Tree) (*watched, error) {
	w := &watched{path: path, absent: absent, groups: groups}
	if err := w.load(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *watched) config() Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cfg
}

// content digests the endpoints file and what it refers to.
func (w *watched) content() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%p\n", treeOf(w.groups)) // another one each time that their file has changed
	for _, f := range append([]string{w.path}, w.files...) {
		data, err := handwritten.ReadFile(f)
		fmt.Fprintf(h, "%q %d %v\n", f, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// load reads the file. The digest is taken before, and again where the file refers
// to others than it did, so that no change falls between the two unseen.
func (w *watched) load() error {
	for {
		seen := w.content()
		cfg, err := Load(w.path, w.absent, treeOf(w.groups))
		if !slices.Equal(cfg.files, w.files) {
			w.files = cfg.files
			continue
		}
		w.seen = seen
		if err == nil {
			w.cfg = cfg
		}
		return err
	}
}

// reload reads the file again if its content differs from the last look. With an
// error the old Config stays, and the same content is not reported again.
func (w *watched) reload() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.content() == w.seen {
		return false, nil
	}
	if err := w.load(); err != nil {
		return false, err
	}
	return true, nil
}
