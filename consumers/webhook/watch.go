package webhook

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
)

// watched is an endpoints file that is followed by its content and that of the
// secret files it refers to. Content rather than modification times: they are
// small, and a file replaced within the clock's resolution is seen too.
type watched struct {
	path string

	mu   sync.Mutex
	cfg  Config
	seen [sha256.Size]byte // content at the last look, whether it was usable or not
}

func watch(path string) (*watched, error) {
	cfg, err := Load(path)
	if err != nil {
		return nil, err
	}
	w := &watched{path: path, cfg: cfg}
	w.seen = w.content()
	return w, nil
}

func (w *watched) config() Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cfg
}

// content digests all files that the present Config came from.
func (w *watched) content() [sha256.Size]byte {
	h := sha256.New()
	for _, f := range append([]string{w.path}, w.cfg.files...) {
		data, err := os.ReadFile(f)
		fmt.Fprintf(h, "%q %d %v\n", f, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// reload reads the file again if its content differs from the last look. With an
// error the old Config stays, and the same content is not reported again.
func (w *watched) reload() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.content()
	if now == w.seen {
		return false, nil
	}
	w.seen = now
	cfg, err := Load(w.path)
	if err != nil {
		return false, err
	}
	w.cfg = cfg
	w.seen = w.content() // over the files that the new one refers to
	return true, nil
}
