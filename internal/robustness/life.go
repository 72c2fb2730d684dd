package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/diff"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/store"
)

// life is what one seed makes: a platform with its guests, a broker, a disk, faults at
// the boundary of each, and process after process of the product's own parts between
// them. It runs in a bubble of virtual time: see simulate.
type life struct {
	script
	mutant *mutant
	sim    *simulator.Simulator
	truth  *simulator.Recorder
	broker *broker
	way    *way
	dir    string // of the process that runs, one for each
	born   time.Time

	mu        sync.Mutex
	past      [][]*message         // the streams that were deleted
	processes int                  // started so far
	running   *process             // nil between two
	kills     []simulator.Interval // on the platform's clock
	trouble   []simulator.Interval // in which events may be late, on the local one
	ended     error                // an end of a process that nothing explains
	faults    map[string]int       // that struck, by boundary
}

// process is one run of the product's parts, from the platform to the stream.
type process struct {
	l      *life
	dir    string // its own
	ctx    context.Context
	cancel context.CancelFunc
	store  *store.Store
	disk   *disk
	logs   []*budget.Log
	nc     *nats.Conn
	pub    *publisher.Publisher
	parts  sync.WaitGroup
	over   chan error // one of its parts has ended
}

func newLife(s script, m *mutant, dir string) *life {
	l := &life{script: s, mutant: m, truth: &simulator.Recorder{}, dir: dir, born: time.Now(), faults: make(map[string]int)}
	cfg := s.platform
	cfg.Truth = l.truth.Record
	l.sim = simulator.New(cfg, time.Now)
	l.broker = newBroker()
	l.broker.log.atomic, l.broker.log.batched, l.broker.log.fastLimit, l.broker.log.window = s.atomic, s.batched, s.fastLimit, s.window
	l.broker.interfer = l.interfere
	l.way = &way{l: l, rand: rand.New(rand.NewPCG(s.seed, 11))}
	return l
}

// live lets the script's time pass, and returns what lies in the stream then.
func (l *life) live() ([]published, error) {
	stop := make(chan struct{})
	var around sync.WaitGroup
	around.Go(func() { l.meddle(stop) })
	if l.standby {
		around.Go(func() { l.shared(stop) })
	}
	end := l.born.Add(l.length)
	for time.Now().Before(end) && l.ended == nil {
		p, err := l.start(l.dir)
		if err != nil {
			l.ended = fmt.Errorf("a start failed: %w", err)
			break
		}
		var last error
		timer := time.NewTimer(time.Until(end))
		select {
		case last = <-p.over:
		case <-timer.C:
		}
		timer.Stop()
		if last != nil && !errors.Is(last, errInjected) {
			l.ended = last
		}
		if err := p.stop(last == nil); err != nil && l.ended == nil {
			l.ended = err
		}
		if last != nil {
			time.Sleep(l.restartAfter)
		}
	}
	close(stop)
	around.Wait()
	return l.read()
}

// start begins as a process does, on what an earlier one has left in a directory.
func (l *life) start(dir string) (*process, error) {
	st, err := store.Open(filepath.Join(dir, "state.db"), store.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	p := &process{l: l, dir: dir, store: st, over: make(chan error, 4)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.disk = &disk{Store: st, p: p}
	l.mu.Lock()
	if l.processes++; dir == l.dir {
		l.running = p
	}
	l.mu.Unlock()
	if p.nc, err = l.broker.Connect(); err != nil {
		return nil, err
	}
	js, err := jetstream.New(p.nc)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	p.pub = publisher.New(js, l.mutant.outbox(p.disk))
	p.pub.Log, p.pub.Way, p.pub.Make, p.pub.MaxBatch = quiet, l.publish, l.broker.Make, l.maxBatch
	if l.mutant.publisher != nil {
		l.mutant.publisher(p.pub)
	}
	polling, err := p.newPoller(quiet)
	if err != nil {
		return nil, err
	}
	p.parts.Go(func() { p.over <- cmp.Or(polling.Run(p.ctx), context.Canceled) })
	p.parts.Go(func() { p.over <- cmp.Or(p.pub.Run(p.ctx), context.Canceled) })
	return p, nil
}

func (p *process) newPoller(quiet *slog.Logger) (*poller.Poller, error) {
	l := p.l
	of := platform.Config{BaseURL: "http://platform.test", Token: "secret", Transport: l.way, ByteBase: int(l.platform.ByteBase), Timeout: 15 * time.Second}
	l.mutant.asking(&of)
	client, err := platform.New(of)
	if err != nil {
		return nil, err
	}
	budgets := make(map[platform.Endpoint]*budget.Budget)
	for _, e := range platform.Endpoints() {
		permitted := l.platform.RateLimit + l.mutant.tooMany
		log, err := budget.OpenLog(filepath.Join(p.dir, string(e)+".requests"), permitted)
		if err != nil {
			return nil, err
		}
		p.logs = append(p.logs, log)
		budgets[e] = budget.New(permitted, log, time.Now())
	}
	s := poller.Settings{
		Account: events.DefaultAccount, Platform: l.mutant.asked(client), Store: l.mutant.states(p.disk), Clock: poller.SystemClock{}, Time: client.Clock(),
		Strategy: &plan.Adaptive{}, Rules: diff.Rules{TrafficMinBytes: 1}, Budgets: budgets, Logger: quiet, ProvenEnds: l.provenEnds, FiguresWait: l.figuresWait,
	}
	if l.beside {
		s.Executor = poller.NewExecutor()
	}
	if l.addresses {
		s.Addresses = client
	}
	if l.mutant.settings != nil {
		l.mutant.settings(&s)
	}
	return poller.New(s), nil
}

// stop ends the process: in good order, with what is left in the outbox published, or
// as one ends that was killed, of which nothing more reaches disk or network.
func (p *process) stop(orderly bool) error {
	l := p.l
	p.cancel()
	if !orderly {
		p.nc.Close()
	}
	p.parts.Wait()
	l.mu.Lock()
	if l.running == p {
		l.running = nil
	}
	l.mu.Unlock()
	var err error
	if orderly {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err = p.pub.Drain(ctx); err != nil {
			err = fmt.Errorf("what is left in the outbox is not published: %w", err)
		}
		p.nc.Close()
	}
	for _, log := range p.logs {
		_ = log.Close() // The file of one that was killed is another process's by now.
	}
	if closing := p.store.Close(); orderly {
		err = errors.Join(err, closing)
	}
	l.mutant.restart(l.dir)
	return err
}

var errInjected = errors.New("injected")

// kill ends the running process here and now: what it has written is all that the next
// one finds. The disk's lock is held.
func (p *process) kill(image func(from, to string) error) {
	l := p.l
	if p.disk.dead.Swap(true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := filepath.Join(filepath.Dir(l.dir), fmt.Sprint(l.processes))
	if err := image(l.dir, next); err != nil {
		p.over <- fmt.Errorf("taking the disk's image: %w", err)
		return
	}
	l.dir = next
	l.faults["process"]++
	now, waited := l.sim.Now(), time.Duration(0)
	if time.Since(p.disk.waited.To) < time.Second {
		waited = time.Since(p.disk.waited.From)
	}
	for began := range p.disk.waits {
		waited = max(waited, time.Since(*began))
	}
	// What it was served and had no time to commit, or no room, counts for nothing.
	l.kills = append(l.kills, simulator.Interval{From: now.Add(-waited - 20*time.Second), To: now.Add(l.restartAfter + time.Second)})
	l.trouble = append(l.trouble, simulator.Interval{From: time.Now(), To: time.Now().Add(time.Minute)})
	p.over <- fmt.Errorf("killed: %w", errInjected)
}

// copied makes a directory the same as another.
func copied(from, to string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// struck counts a fault, and excuses what is late for a while.
func (l *life) struck(boundary string, excused time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[boundary]++
	l.trouble = append(l.trouble, simulator.Interval{From: time.Now().Add(-time.Second), To: time.Now().Add(excused)})
}

// published is an event as it lies in the stream.
type published struct {
	events.Event
	at time.Time // of the stream, on the local clock
}

// read returns what consumers of the stream have seen: of streams that were deleted as
// well, each event once where it was sent to the next one again.
func (l *life) read() ([]published, error) {
	var all []published
	before := make(map[string]bool)
	for _, stream := range append(l.past, l.broker.Stored()) {
		var ids []string
		for _, m := range stream {
			if m.id() == "" {
				continue
			}
			e, err := events.Decode(m.data)
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", m.seq, err)
			}
			if !before[e.ID] {
				all = append(all, published{e, m.at})
			}
			ids = append(ids, e.ID)
		}
		for _, id := range ids {
			before[id] = true
		}
	}
	return all, l.ended
}
