package webhook

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// supervisor keeps one runner for each endpoint that is configured and enabled.
// One goroutine calls it.
type supervisor struct {
	o       options
	records *records
	graves  *graveyard
	running map[string]*served
	told    map[string]Disabled // what was logged, by endpoint
	unread  map[string]*reported
	wg      sync.WaitGroup
}

// served is the runner of one endpoint.
type served struct {
	digest string
	cancel context.CancelFunc
	done   chan struct{}
}

// apply starts, replaces and stops runners until they are those of cfg. It does
// not wait for a runner that stops: its successor does, so that no endpoint waits
// for another. It reports false when NATS did not answer, to be called again.
func (s *supervisor) apply(ctx context.Context, cfg Config) (complete bool) {
	complete = true
	wanted := map[string]bool{}
	off := map[string]*Disabled{}
	defer func() { s.o.standings.follows(cfg, off) }()
	for _, e := range cfg.Endpoints {
		log := s.o.Log.With("endpoint", e.Name)
		disabled, err := s.records.disabled(ctx, e)
		if s.unread[e.Name] == nil {
			s.unread[e.Name] = new(reported)
		}
		if fresh := s.unread[e.Name].news(err); err != nil {
			if fresh && ctx.Err() == nil {
				log.Warn("webhooks: cannot read whether the endpoint is disabled; it stays as it is", "error", err)
			}
			wanted[e.Name] = s.running[e.Name] != nil
			complete = false
			continue
		}
		if off[e.Name] = disabled; disabled != nil {
			if s.told[e.Name] != *disabled {
				s.told[e.Name] = *disabled
				log.Warn("webhooks: endpoint is disabled; change its entry or enable it by command", "reason", disabled.Reason, "since", disabled.Since)
			}
			continue
		}
		delete(s.told, e.Name)
		wanted[e.Name] = true
		old := s.running[e.Name]
		if old != nil && old.digest == e.digest {
			continue
		}
		if old != nil {
			old.cancel()
		}
		s.start(ctx, e, old)
	}
	for name, r := range s.running {
		if !wanted[name] {
			r.cancel()
			// Stays in the map so that a successor waits for it.
			r.digest = ""
		}
	}
	return complete
}

func (s *supervisor) start(ctx context.Context, e Endpoint, before *served) {
	ctx, cancel := context.WithCancel(ctx)
	r := &served{digest: e.digest, cancel: cancel, done: make(chan struct{})}
	s.running[e.Name] = r
	s.wg.Go(func() {
		defer close(r.done)
		defer cancel()
		if before != nil {
			<-before.done
		}
		s.serve(ctx, e)
	})
}

// serve runs the endpoint, again after each failure, until ctx ends.
func (s *supervisor) serve(ctx context.Context, e Endpoint) {
	log := s.o.Log.With("endpoint", e.Name)
	reported := ""
	for failures := 1; ctx.Err() == nil; failures++ {
		r := newRunner(e, s.o, s.records, s.graves, log)
		began := s.o.Now()
		err := r.run(ctx)
		r.sender.close()
		if ctx.Err() != nil {
			return
		}
		if s.o.Now().Sub(began) > s.o.Backoff.Max {
			failures, reported = 1, "" // it ran well meanwhile
		}
		missing := errors.Is(err, jetstream.ErrStreamNotFound)
		if missing && failures == 1 {
			err = nil // it is being made, if whoever makes it has just been started, too
		}
		if err != nil && err.Error() != reported {
			reported = err.Error()
			switch {
			case missing:
				log.Error("webhooks: there is no such stream yet; "+e.topic.maker+", or correct the stream's name", "stream", s.o.streamOf(e.topic))
			default:
				log.Error("webhooks: interrupted by NATS; trying again", "error", err)
			}
		}
		// NATS is back sooner than a receiver: no longer than a minute.
		if s.o.Sleep(ctx, min(s.o.Backoff.delay(failures, s.o.Rand()), maxReconnect)) != nil {
			return
		}
	}
}

func (s *supervisor) stop() {
	for _, r := range s.running {
		r.cancel()
	}
	s.wg.Wait()
}
