package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// signals ends a command: the first SIGINT or SIGTERM in good order, a second one
// at once. SIGHUP is the terminal's end, and ends it too, unless it is a service.
type signals struct {
	hungUp atomic.Pointer[func()] // what a service does instead of ending
	came   chan os.Signal
	done   chan struct{}
	watch  sync.WaitGroup
}

type signalsKey struct{}

// watchSignals returns a context that ends with the command, which is to call
// stop.
func watchSignals() (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &signals{came: make(chan os.Signal, 4), done: make(chan struct{})}
	signal.Notify(s.came, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(s.came, syscall.SIGHUP)
	}
	s.watch.Go(func() { s.wait(ctx, cancel) })
	return context.WithValue(ctx, signalsKey{}, s), func() {
		signal.Stop(s.came)
		close(s.done)
		s.watch.Wait()
		cancel()
	}
}

func (s *signals) wait(ctx context.Context, end context.CancelFunc) {
	for {
		select {
		case came := <-s.came:
			if instead := s.hungUp.Load(); came == syscall.SIGHUP && instead != nil {
				(*instead)()
				continue
			}
			if ctx.Err() != nil {
				os.Exit(exitFailure)
			}
			end()
		case <-s.done:
			return
		}
	}
}

// outliveHangup makes a service stay at work after SIGHUP, which supervisors send
// to have a configuration read again. Where its log is a terminal, that one's end
// is meant. Until a command says what it does instead, SIGHUP does nothing.
func outliveHangup(ctx context.Context, output io.Writer, instead func()) {
	s, ok := ctx.Value(signalsKey{}).(*signals)
	if !ok || isTerminal(output) {
		return
	}
	s.hungUp.Store(&instead)
}
