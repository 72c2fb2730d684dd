package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// way is the network between the product and the platform.
type way struct {
	l    *life
	mu   sync.Mutex
	rand *rand.Rand
	asks []ask
	// forget keeps no record of what was asked.
	forget bool
}

// ask is one request that has reached the platform, which counted it then.
type ask struct {
	endpoint platform.Endpoint
	at       time.Time
}

// longestQueue is how much later the platform counts a request, at most, whose answer nobody
// waits for any longer.
const longestQueue = 15 * time.Second

var errConnection = errors.New("read: connection reset by peer")

// RoundTrip carries a request, or loses it or its answer.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	there, back := w.rand.Float64(), w.rand.Float64()
	w.mu.Unlock()
	loss := w.l.loss
	if time.Since(w.l.born) > w.l.calm {
		loss = 0
	}
	if there < loss {
		w.l.struck("API", 30*time.Second)
		return nil, errConnection
	}
	lost := back < loss
	counted := time.Now()
	if lost {
		counted = counted.Add(time.Duration(back / loss * float64(longestQueue)))
	}
	w.mu.Lock()
	if !w.forget {
		w.asks = append(w.asks, ask{endpointOf(r.URL.Path), counted})
	}
	w.mu.Unlock()
	answer, err := w.serve(r, lost)
	if err == nil && lost {
		w.l.struck("API", 30*time.Second)
		return nil, errConnection
	}
	if err == nil && r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	return answer, err
}

func endpointOf(path string) platform.Endpoint {
	switch {
	case strings.HasSuffix(path, "/locations"):
		return platform.Locations
	case strings.HasSuffix(path, "/sessions/count"):
		return platform.Count
	case strings.HasSuffix(path, "/sessions"):
		return platform.Sessions
	}
	return platform.Guests
}

// serve has the simulator answer; a body that it cuts off ends in an error. An answer
// that is lost does not count as served.
func (w *way) serve(r *http.Request, lost bool) (answer *http.Response, err error) {
	recorder := httptest.NewRecorder()
	defer func() {
		switch recover() {
		case nil:
		case http.ErrAbortHandler:
			answer = recorder.Result()
			answer.Body = io.NopCloser(io.MultiReader(answer.Body, broken{}))
		default:
			err = errors.New("the simulator panics")
		}
		if answer != nil {
			answer.Request = r
		}
	}()
	if lost {
		w.l.sim.ServeHTTP(lossy{recorder}, r)
	} else {
		w.l.sim.ServeHTTP(recorder, r)
	}
	return recorder.Result(), nil
}

// lossy is the writing end of a connection whose other end is gone.
type lossy struct{ http.ResponseWriter }

func (lossy) Write([]byte) (int, error) { return 0, errConnection }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// disk is the store as a process has it: each call is a moment at which the process may
// be killed, or the disk fail.
type disk struct {
	*store.Store
	p    *process
	mu   sync.Mutex
	dead atomic.Bool
	// waits is since when the poller waits for each of its writes under way, and waited when
	// it waited last for one.
	waits  map[*time.Time]struct{}
	waited simulator.Interval
}

// write passes a write on, with the faults that the script has for it.
func (d *disk) write(kind string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == "commit" || kind == "put" { // what the poller waits for
		began := time.Now()
		if d.waits == nil {
			d.waits = map[*time.Time]struct{}{}
		}
		d.waits[&began] = struct{}{}
		defer func() {
			delete(d.waits, &began)
			d.waited = simulator.Interval{From: began, To: time.Now()}
		}()
	}
	for {
		if d.dead.Load() {
			return errInjected
		}
		strike := d.p.l.strikesDisk(kind)
		switch strike {
		case slowDisk:
			d.p.l.struck("disk", 30*time.Second)
			d.mu.Unlock()
			time.Sleep(3 * time.Second)
			d.mu.Lock()
			if d.dead.Load() {
				return errInjected
			}
		case diskFull:
			// As the binary waits for room: see patientStore.
			d.p.l.struck("disk", 30*time.Second)
			d.mu.Unlock()
			time.Sleep(time.Second)
			d.mu.Lock()
			continue
		case killBefore:
			d.p.kill(copied)
			return errInjected
		case killAmid:
			return d.torn(f)
		}
		err := f()
		switch {
		case strike == killAfter:
			d.p.kill(copied)
			return errInjected
		case strike == syncFails && err == nil:
			d.p.l.struck("disk", time.Minute)
			return fmt.Errorf("fsync: input/output error: %w", errInjected)
		}
		return err
	}
}

// torn is a loss of power amid a write: of the pages that it wrote, any may have reached
// the disk, and the page that makes them count has not.
func (d *disk) torn(f func() error) error {
	path := filepath.Join(d.p.l.dir, "state.db")
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const page = 4096
	size := os.Getpagesize()
	random := rand.New(rand.NewPCG(d.p.l.seed, uint64(len(after))))
	image := append(bytes.Clone(before), make([]byte, max(0, len(after)-len(before)))...)
	for at := 2 * size; at+page <= len(after); at += page {
		if random.IntN(2) == 0 {
			copy(image[at:at+page], after[at:at+page])
		}
	}
	d.p.kill(func(from, to string) error {
		if err := copied(from, to); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, "state.db"), image, 0o600)
	})
	return errInjected
}

// The writes of the poller and the publisher.

func (d *disk) Commit(c store.Commit) error {
	return d.write("commit", func() error { return d.Store.Commit(c) })
}

func (d *disk) Put(key string, value []byte) error {
	return d.write("put", func() error { return d.Store.Put(key, value) })
}

func (d *disk) Acked(c publisher.Cursor) error {
	return d.write("acked", func() error { return d.Store.Acked(c) })
}

func (d *disk) Rewind(seq uint64) error {
	return d.write("rewind", func() error { return d.Store.Rewind(seq) })
}

// Take is no write, but the last moment before entries go out.
func (d *disk) Take(after uint64, most int) (entries []publisher.Entry, err error) {
	err = d.write("take", func() error {
		entries, err = d.Store.Take(after, most)
		return err
	})
	return entries, err
}

// interfere decides what becomes of a message on its way into the stream.
func (l *life) interfere(m *message) (i interference) {
	l.mutant.wire(m)
	l.mu.Lock()
	n := l.messages
	l.messages++
	running := l.running
	kill := len(l.killsAtMessage) > 0 && time.Since(l.born) >= l.killsAtMessage[0] && time.Since(l.born) < l.calm && running != nil
	if kill {
		l.killsAtMessage = l.killsAtMessage[1:]
	}
	l.mu.Unlock()
	if kill {
		// The message arrives, and nobody is left to hear of it.
		go func() {
			running.disk.mu.Lock()
			defer running.disk.mu.Unlock()
			running.kill(copied)
		}()
		return interference{silent: true}
	}
	if time.Since(l.born) > l.calm {
		return i
	}
	random := rand.New(rand.NewPCG(l.seed^uint64(n)*0x9e3779b97f4a7c15, 13))
	if random.Float64() < l.foreign {
		i.foreign = 1 + random.IntN(2)
	}
	if random.Float64() >= l.trip {
		return i
	}
	l.struck("NATS", 30*time.Second)
	switch random.IntN(6) {
	case 5:
		i.gap = true
	case 0:
		i.refuse = true
	case 1:
		i.silent = true
	case 2:
		i.cut = true
	case 3:
		i.before = true
	case 4:
		i.late = 7 * time.Second
	}
	return i
}

// meddle carries out what the script has for the broker as a whole.
func (l *life) meddle(stop chan struct{}) {
	for _, o := range l.outages {
		timer := time.NewTimer(time.Until(l.born.Add(o.at)))
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return
		}
		l.struck("NATS", o.lasts+time.Minute)
		if o.deletes {
			l.mu.Lock()
			l.past = append(l.past, l.broker.Stored())
			l.mu.Unlock()
			l.broker.Delete()
		} else {
			l.broker.Outage(o.lasts, o.loses)
		}
	}
}

// checker is what the stream is held against.
func (l *life) checker() Checker {
	of := simulator.Checker{Kills: l.kills, Until: l.born.Add(l.length + l.platform.ClockSkew - 15*time.Second), Lag: 20 * time.Second, Presumed: true}
	switch {
	case len(l.platform.Unreadable) > 0 || l.platform.PerPageFixed > 0 && (l.platform.RebootsPerHour > 0 || l.platform.RateLimit < 60):
		// Records that may be anybody's; or pages so small that a question is due for
		// each who went, and more go than the limit permits questions, as where that is
		// low, or all of a location go at once. A low limit also has nobody asked about for
		// as long as the order of the list is being learned, more than a minute after a
		// start. That ends come is not asked for, but that they are true.
		of.Passes = 1 << 30
	case l.platform.PerPageFixed > 0:
		of.Passes = 12 // A question for each.
	}
	// What came up before a location's first list is no event yet.
	of.Kills = append(of.Kills, simulator.Interval{From: l.born.Add(l.platform.ClockSkew - time.Second), To: l.born.Add(l.platform.ClockSkew + 20*time.Second)})
	// Of a record that is damaged in one figure, the other counts, beside the last one
	// that could be read.
	of.LooseFigures = slices.ContainsFunc(l.platform.Faults, func(f simulator.Fault) bool { return f.Kind == simulator.FaultDamaged })
	return Checker{
		Checker: of, Trouble: l.trouble, Skew: l.platform.ClockSkew, Limit: l.platform.RateLimit, Late: 20 * time.Second,
	}
}
