package lease

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watch is what this process hears of the bucket. The server may lose a watch without a
// word, since it lives on one server of a cluster, and the client takes 10 s and more to
// see that (nats.go 1.55). All others would look dead meanwhile. So a process listens for
// what it said itself.
type watch struct {
	updates <-chan jetstream.KeyValueEntry // nil while there is none
	stop    context.CancelFunc
	said    uint64    // revision of its own that has not come back; 0 is none
	since   time.Time // when it was written
}

// open begins to watch, in the place of a former watch. It gives up after a time.
func (w *watch) open(ctx context.Context, kv jetstream.KeyValue, within time.Duration) error {
	w.close()
	watching, stop := context.WithCancel(ctx)
	late := time.AfterFunc(within, stop)
	watcher, err := kv.WatchAll(watching)
	if !late.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		stop()
		return err
	}
	w.updates, w.stop = watcher.Updates(), stop
	w.since = time.Now() // whatever was said comes back by this one
	return nil
}

// close ends the watch. What it would still say is thrown away, so that it can end.
func (w *watch) close() {
	if w.updates == nil {
		return
	}
	w.stop()
	go func(rest <-chan jetstream.KeyValueEntry) {
		for range rest {
		}
	}(w.updates)
	w.updates = nil
}

// expect notes what this process wrote itself, unless an earlier word is awaited still.
func (w *watch) expect(revision uint64, at time.Time) {
	if w.said == 0 {
		w.said, w.since = revision, at
	}
}

// heard notes that all up to a revision was heard.
func (w *watch) heard(revision uint64) {
	if revision >= w.said {
		w.said = 0
	}
}

// deaf reports whether what was said before a time has not come back.
func (w *watch) deaf(before time.Time) bool {
	return w.updates == nil || w.said > 0 && w.since.Before(before)
}
