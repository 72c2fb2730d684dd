package webhook

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/guestflow/guestflow/events/consume"
)

// ReplayRequest says what to send again. Endpoint is always needed, and exactly
// one of: Sequence or EventID (one dead letter), All (all dead letters of the
// endpoint, oldest first), Since (the stream of events itself, with the
// endpoint's own filters).
type ReplayRequest struct {
	Endpoint string
	Sequence uint64
	EventID  string
	All      bool
	// Since and Until bound when events of the endpoint's stream were stored; a zero Until is now.
	Since, Until time.Time
	// Each is told of every event sent, on one goroutine at a time; may be nil.
	Each func(Replayed)
}

// Replayed is one event that was sent again.
type Replayed struct {
	EventID  string
	Sequence uint64 // of the dead letter, or in the stream of events
	Status   int    // 0 when no answer came
	Err      error  // nil when it was accepted
}

// ReplayReport counts.
type ReplayReport struct {
	Delivered int
	// Failed dead letters stay what they are; failed events of a time range
	// become dead letters.
	Failed int
	// Skipped events of a time range are not for this endpoint.
	Skipped int
}

var (
	// ErrNoDeadLetter: no dead letter of the endpoint has that sequence or event
	// id; Dispatcher.DeadLetters lists those there are.
	ErrNoDeadLetter = errors.New("no such dead letter")
	// ErrStillFailing: the replay ended early since the endpoint takes nothing.
	ErrStillFailing = errors.New("the endpoint keeps failing; repair it and replay again")
)

// maxFailures in a row end a replay.
const maxFailures = 10

// replayTries is how often one event is tried; a person waits for the result.
const replayTries = 3

// Replay sends events again, in this process and now, with the endpoint's own
// rate, concurrency and order, whether it is disabled or not. A dead letter that
// is accepted is removed. The ids are the events' own.
func (d *Dispatcher) Replay(ctx context.Context, req ReplayRequest) (ReplayReport, error) {
	if !exactlyOne(req.Sequence != 0, req.EventID != "", req.All, !req.Since.IsZero()) {
		return ReplayReport{}, errors.New("replay: say one of: the sequence of a dead letter, an event id, all, or the time since when")
	}
	o, err := d.options()
	if err != nil {
		return ReplayReport{}, err
	}
	e, err := d.endpoint(req.Endpoint)
	if err != nil {
		return ReplayReport{}, err
	}
	_, graves, err := d.stores(ctx, o)
	if err != nil {
		return ReplayReport{}, err
	}
	r := newReplayer(e, o, graves, req.Each)
	defer r.sender.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.cancel = cancel
	lanes := r.start(ctx)
	if req.Since.IsZero() {
		err = r.letters(ctx, req, lanes)
	} else {
		err = r.stretch(ctx, req, lanes)
	}
	lanes.close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return r.report, err
}

// replayer sends events again over as many lanes as the endpoint has requests at
// once. An ordered endpoint's session always takes the same lane.
type replayer struct {
	endpoint Endpoint
	o        options
	graves   *graveyard
	sender   *sender
	limiter  *rate.Limiter
	each     func(Replayed)
	cancel   context.CancelCauseFunc

	mu     sync.Mutex
	report ReplayReport
	inARow int // failures
}

func newReplayer(e Endpoint, o options, graves *graveyard, each func(Replayed)) *replayer {
	limit := rate.Inf
	if e.RateLimit > 0 {
		limit = rate.Limit(e.RateLimit)
	}
	if each == nil {
		each = func(Replayed) {}
	}
	return &replayer{
		endpoint: e, o: o, graves: graves, each: each,
		sender: newSender(e, o.Resolve, o.allow, o.Now).opening(o.Key), limiter: rate.NewLimiter(limit, 1),
	}
}

// again is one event to send. after runs when the tries are over; its reason is
// empty when the event was accepted.
type again struct {
	id, line string
	of       notice
	sequence uint64
	document []byte
	after    func(ctx context.Context, a answer, reason string, tries int, document []byte) error
}

type lanes struct {
	queues []chan again
	seed   maphash.Seed
	shared bool // any lane takes any event
	wg     sync.WaitGroup
}

func (r *replayer) start(ctx context.Context) *lanes {
	l := &lanes{seed: maphash.MakeSeed(), shared: !r.endpoint.Ordered}
	for i := range r.endpoint.Concurrency {
		if i == 0 || !l.shared {
			l.queues = append(l.queues, make(chan again))
		}
		queue := l.queues[len(l.queues)-1]
		l.wg.Go(func() {
			for a := range queue {
				if ctx.Err() == nil {
					r.send(ctx, a)
				}
			}
		})
	}
	return l
}

func (l *lanes) put(ctx context.Context, a again) error {
	queue := l.queues[0]
	if !l.shared {
		queue = l.queues[maphash.String(l.seed, a.line)%uint64(len(l.queues))]
	}
	select {
	case queue <- a:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *lanes) close() {
	for _, q := range l.queues {
		close(q)
	}
	l.wg.Wait()
}

// send tries one event a few times.
func (r *replayer) send(ctx context.Context, ev again) {
	var a answer
	var v verdict
	var reason string
	n := 1
	for ; ; n++ {
		if r.pace(ctx) != nil {
			return
		}
		if ev.document, a.err = ev.of.untold(r.o.Forgotten, ev.document); a.err == nil {
			a = r.sender.send(ctx, parcel{id: ev.id, of: ev.of, document: ev.document, delivery: replayed}, false)
		}
		if ctx.Err() != nil {
			return
		}
		v, reason = judge(a)
		if v != passing || n == replayTries {
			break
		}
		wait := max(r.o.Backoff.delay(n, r.o.Rand()), retryAfter(a.header, r.o.Now(), r.o.MaxRetryAfter))
		if r.o.Sleep(ctx, wait) != nil {
			return
		}
	}
	if v == accepted {
		reason = ""
	}
	err := ev.after(ctx, a, reason, n, ev.document)
	if err == nil && v != accepted {
		err = errors.New(reason)
	}
	r.count(Replayed{EventID: ev.id, Sequence: ev.sequence, Status: a.status, Err: err})
}

func (r *replayer) pace(ctx context.Context) error {
	now := r.o.Now()
	if wait := r.limiter.ReserveN(now, 1).DelayFrom(now); wait > 0 {
		return r.o.Sleep(ctx, wait)
	}
	return ctx.Err()
}

func (r *replayer) count(p Replayed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.each(p)
	if p.Err == nil {
		r.report.Delivered++
		r.inARow = 0
		return
	}
	r.report.Failed++
	if r.inARow++; r.inARow >= maxFailures {
		r.cancel(fmt.Errorf("endpoint %s, %d failures in a row, the last: %w: %w", r.endpoint.Name, r.inARow, p.Err, ErrStillFailing))
	}
}

// letters replays dead letters.
func (r *replayer) letters(ctx context.Context, req ReplayRequest, lanes *lanes) error {
	found := false
	err := r.graves.each(ctx, r.endpoint.Name, func(l DeadLetter) (bool, error) {
		if !req.All && l.Sequence != req.Sequence && (l.EventID == "" || l.EventID != req.EventID) {
			return true, nil
		}
		found = true
		ev, err := readAny(l.Event)
		if err != nil {
			r.count(Replayed{EventID: l.EventID, Sequence: l.Sequence, Err: err})
			return true, nil
		}
		return true, lanes.put(ctx, again{
			id: ev.id, of: ev, line: ev.account + "\x00" + ev.subject, sequence: l.Sequence, document: l.Event,
			after: func(ctx context.Context, _ answer, reason string, _ int, _ []byte) error {
				if reason != "" {
					return nil
				}
				if err := r.graves.stream.DeleteMsg(ctx, l.Sequence); err != nil {
					return fmt.Errorf("delivered, but still a dead letter: %w", err)
				}
				return nil
			},
		})
	})
	if err == nil && !found && !req.All {
		err = fmt.Errorf("endpoint %s: %w", r.endpoint.Name, ErrNoDeadLetter)
	}
	return err
}

// stretch replays a time range of the stream of events.
func (r *replayer) stretch(ctx context.Context, req ReplayRequest, lanes *lanes) error {
	until := req.Until
	if until.IsZero() {
		until = r.o.Now()
	}
	name := r.o.streamOf(r.endpoint.topic)
	stream, err := r.o.JetStream.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	return consume.Past(ctx, stream, consume.FromTime(req.Since), filters(r.o, r.endpoint), func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if meta.Timestamp.After(until) {
			return false, nil
		}
		ev, err := r.endpoint.topic.read(m.Data())
		wanted := err == nil
		if wanted {
			wanted, _ = r.endpoint.match(ev)
		}
		if !wanted {
			r.mu.Lock()
			r.report.Skipped++
			r.mu.Unlock()
			return true, nil
		}
		return true, lanes.put(ctx, again{
			id: ev.id, of: ev, line: ev.account + "\x00" + ev.subject, sequence: meta.Sequence.Stream, document: m.Data(),
			after: func(ctx context.Context, a answer, reason string, tries int, document []byte) error {
				if reason == "" {
					return nil
				}
				return r.graves.bury(ctx, DeadLetter{
					Endpoint: r.endpoint.Name, EventID: ev.id, Reason: "replay: " + reason, Tries: tries,
					Status: a.status, StreamSequence: meta.Sequence.Stream, Event: document,
				})
			},
		})
	})
}
