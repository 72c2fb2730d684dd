package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

const (
	maxReconnect = time.Minute
	storeWait    = 5 * time.Second // of one write to NATS
)

// job is one message of the stream in hand.
type job struct {
	msg   jetstream.Msg
	seq   uint64
	event notice
	bad   error // the message is not an event
	tries int   // failed ones so far, and the one under way
	// counted says that the bucket holds tries.
	counted bool
	// sending is set by the loop; from then on the request's goroutine owns msg.
	sending bool
	// document is the event as it was told last, without who was forgotten since it was
	// handed out; nil before.
	document []byte
}

// line is what an ordered endpoint keeps in order: a session, or a visit.
func (j *job) line() string { return j.event.account + "\x00" + j.event.subject }

// outcome is how a job ended for now.
type outcome struct {
	job   *job
	again bool          // it was returned to the server
	due   time.Time     // of its next try
	tries int           // failed ones so far
	pause time.Duration // the receiver wants no request at all for this long
	stop  bool          // the receiver wants nothing more
	// The receiver made up its mind about the event, or was not able to.
	answered, unwell bool
	reason           string // of the try, for people
	skipped          bool   // nothing was sent
}

// failingAfter is how many failures in a row are told in the log: one or two mend
// themselves, and a receiver that is away must not go unnoticed until its first
// event is dead.
const failingAfter = 3

// unwellAfter is how many failures in a row (no answer, 5xx, 408, 425, 429) make
// an endpoint unwell. It then gets one request at a time, up to a second apart,
// until one is answered: a dead endpoint costs next to nothing, and few of its
// events are in a long wait for their next try when it comes back.
const unwellAfter = 10

// runner serves one endpoint. One loop decides; each request is a goroutine that
// it starts and waits for; one more goroutine fetches messages.
type runner struct {
	endpoint Endpoint
	o        options
	records  *records
	graves   *graveyard
	skipList *skipList // nil where nothing is too old
	sender   *sender
	limiter  *rate.Limiter
	log      *slog.Logger

	// Owned by the loop.
	stream   jetstream.Stream
	consumer jetstream.Consumer
	inHand   map[uint64]*job
	ready    []*job
	sending  int
	tries    map[uint64]int
	settled  *recent   // events that came to their end here
	gate     *gate     // nil when not ordered
	settling *settling // nil when over
	paused   time.Time // no request before this
	stopped  bool      // 410
	failures int       // in a row
	badSeen  string    // last error of the condition, to log it once
	results  chan outcome
	requests context.Context // of requests; outlives the loop's by StopGrace
}

func newRunner(e Endpoint, o options, records *records, graves *graveyard, log *slog.Logger) *runner {
	limit := rate.Inf
	if e.RateLimit > 0 {
		limit = rate.Limit(e.RateLimit)
	}
	return &runner{
		endpoint: e, o: o, records: records, graves: graves, log: log,
		sender:  newSender(e, o.Resolve, o.allow, o.Now).opening(o.Key),
		limiter: rate.NewLimiter(limit, 1),
		settled: newRecent(ackWait(o, e)),
		inHand:  map[uint64]*job{}, results: make(chan outcome),
	}
}

// run serves until ctx ends or NATS fails.
func (r *runner) run(ctx context.Context) error {
	before, _, err := r.records.standing(ctx, r.endpoint.Name)
	if err != nil {
		return fmt.Errorf("standing of endpoint %s: %w", r.endpoint.Name, err)
	}
	if before, err = r.movedHere(ctx, before); err != nil {
		return err
	}
	stream, consumer, err := ensureConsumer(ctx, r.o, r.endpoint, before, r.log)
	if err != nil {
		return err
	}
	r.stream, r.consumer = stream, consumer
	info, settled := consumer.CachedInfo(), consumer.CachedInfo().AckFloor.Stream
	if at := before.Place; at != nil && !at.Stream.Equal(stream.CachedInfo().Created) {
		settled = ^uint64(0) // what was tried were events of another stream
	}
	if r.tries, err = r.records.tries(ctx, r.endpoint.Name, settled); err != nil {
		return fmt.Errorf("failed tries of endpoint %s: %w", r.endpoint.Name, err)
	}
	r.o.standings.serves(r.endpoint.Name, true)
	defer r.o.standings.serves(r.endpoint.Name, false)
	if err := r.measure(ctx); err != nil {
		return fmt.Errorf("place of endpoint %s: %w", r.endpoint.Name, err)
	}
	if err := r.o.standings.write(ctx, r.records); err != nil {
		return fmt.Errorf("standing of endpoint %s: %w", r.endpoint.Name, err)
	}
	if r.endpoint.MaxAge > 0 {
		if r.skipList, err = openSkipList(ctx, r.o); err != nil {
			return err
		}
	}
	if r.endpoint.Ordered {
		r.gate = newGate(min(time.Second, r.o.Backoff.Min, r.o.Recheck), r.o.Recheck)
		if info.NumAckPending > 0 {
			every := max(ackWait(r.o, r.endpoint), r.o.Recheck) + r.o.AckWait
			r.settling = newSettling(info.NumAckPending, info.Delivered.Stream, r.o.Now(), every)
		}
	}
	r.log.Info("webhooks: serving", "host", r.endpoint.URL.Host, "backlog", info.NumPending, "waiting", info.NumAckPending)
	measuring, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { r.keepMeasuring(measuring) })
	defer background.Wait()
	defer stop()
	return r.loop(ctx, newFetcher(consumer, r.o.fetchWait))
}

// loop takes messages while there is room and hands them to requests.
func (r *runner) loop(ctx context.Context, f *fetcher) error {
	var cancel context.CancelFunc
	r.requests, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	fetching, stopFetching := context.WithCancel(ctx)
	defer f.wait()
	defer stopFetching()
	size := window(r.endpoint, r.o.MaxWaiting)
	tick := time.NewTicker(max(r.o.Recheck/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		now := r.o.Now()
		open := !r.stopped && !now.Before(r.paused)
		// Half of the window at once: a pull request costs more than a message.
		if free := size - len(r.inHand); open && f.idle() && free >= (size+1)/2 {
			f.start(fetching, free)
		}
		for open && len(r.ready) > 0 && r.sending < r.atOnce() {
			r.send()
		}
		var resume <-chan time.Time
		if wait := r.paused.Sub(now); wait > 0 && !r.stopped {
			resume = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return r.stop(cancel)
		case m := <-f.messages:
			r.take(m)
		case err := <-f.done:
			f.running = false
			if err != nil {
				return r.stopFor(err, cancel)
			}
		case out := <-r.results:
			r.finish(out)
		case <-tick.C:
			r.recheck(ctx)
		case <-resume:
		}
	}
}

// take decides about a message that has arrived.
func (r *runner) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("webhooks: a message without JetStream metadata was dropped", "subject", m.Subject(), "error", err)
		return
	}
	now := r.o.Now()
	j := &job{msg: m, seq: meta.Sequence.Stream}
	if r.settling != nil && r.settling.saw(j.seq) {
		r.settling = nil
	}
	// The ack was lost, or had not come in when the server handed the event out again.
	if meta.NumDelivered > 1 && r.settled.has(j.seq) {
		r.returned(m.Ack())
		return
	}
	if j.event, j.bad = r.endpoint.topic.read(m.Data()); j.bad == nil {
		wanted, err := r.endpoint.match(j.event)
		if err != nil && err.Error() != r.badSeen {
			r.badSeen = err.Error()
			r.log.Warn("webhooks: the condition cannot be evaluated on an event, which counts as no match; use for instance previous.duration_seconds != nil first", "event", j.event.id, "error", err)
		}
		if !wanted {
			r.returned(m.Ack())
			return
		}
	}
	if old := r.inHand[j.seq]; old != nil { // handed out again while it is here
		if !old.sending {
			old.msg = m
		}
		return
	}
	r.inHand[j.seq] = j
	j.tries, j.counted = r.tries[j.seq], r.tries[j.seq] > 0
	if r.gate == nil || j.bad != nil {
		r.ready = append(r.ready, j)
		return
	}
	r.obey(r.gate.arrive(j, now, r.settling != nil))
}

func (r *runner) obey(o orders) {
	r.ready = append(r.ready, o.send...)
	for _, h := range o.hold {
		r.hold(h.job, h.delay)
	}
}

func (r *runner) hold(j *job, delay time.Duration) {
	delete(r.inHand, j.seq)
	r.returned(j.msg.NakWithDelay(delay))
}

// returned notes a failure to tell the server, which then hands the message out
// again after AckWait: nothing is lost.
func (r *runner) returned(err error) {
	if err != nil {
		r.log.Debug("webhooks: cannot answer NATS; the event will be handed out again", "error", err)
	}
}

// send starts the request for the first ready job.
func (r *runner) send() {
	j := r.ready[0]
	r.ready = r.ready[1:]
	j.sending = true
	r.sending++
	go func() { r.results <- r.try(r.requests, j) }()
}

// finish takes the outcome of a request into account.
func (r *runner) finish(out outcome) {
	now := r.o.Now()
	j := out.job
	r.sending--
	delete(r.inHand, j.seq)
	if delete(r.tries, j.seq); out.again && out.tries > 0 {
		r.tries[j.seq] = out.tries
	}
	if !out.again {
		r.settled.add(j.seq, now)
	}
	r.stopped = r.stopped || out.stop
	switch {
	case out.answered:
		if r.failures >= failingAfter {
			r.log.Info("webhooks: the endpoint answers again", "failures", r.failures)
		}
		r.failures = 0
	case out.unwell:
		if r.failures++; r.failures == failingAfter {
			r.log.Warn("webhooks: the endpoint fails; its events wait and are tried again", "event", j.event.id, "reason", out.reason)
		}
	}
	if until := now.Add(max(out.pause, r.spacing())); !out.skipped && until.After(r.paused) {
		r.paused = until
	}
	if r.gate == nil || j.bad != nil {
		return
	}
	if out.again {
		r.obey(r.gate.failed(j, out.due, now))
	} else {
		r.obey(r.gate.settled(j, now))
	}
}

// atOnce is how many requests may be under way.
func (r *runner) atOnce() int {
	if r.failures >= unwellAfter {
		return 1
	}
	return r.endpoint.Concurrency
}

// spacing is the pause after a request to an unwell endpoint: doubling from a
// sixty-fourth of a second up to a second, or to the shortest wait of an event.
func (r *runner) spacing() time.Duration {
	n := r.failures - unwellAfter
	if n < 0 {
		return 0
	}
	most := min(time.Second, r.o.Backoff.Min)
	return most >> max(0, 6-n)
}

// recheck asks the server about events that an ordered endpoint waits for in
// vain: after a start, and later. It drops events that hold back their session but
// are no longer in the stream, since its retention has removed them.
func (r *runner) recheck(ctx context.Context) {
	if r.gate == nil {
		return
	}
	if now := r.o.Now(); r.settling != nil && !now.Before(r.settling.ask) {
		info, err := r.consumer.Info(ctx)
		if err == nil && r.settling.confirm(info.NumAckPending, r.gate.known(), now) {
			r.settling = nil
		}
	}
	lost := r.gate.lost(r.o.Now(), r.o.AckWait)
	if len(lost) == 0 {
		return
	}
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return // asked again later
	}
	for _, seq := range lost {
		if seq <= info.AckFloor.Stream { // acked, and handed out once more meanwhile
			r.obey(r.gate.forget(seq, r.o.Now()))
			continue
		}
		_, err := r.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			r.log.Warn("webhooks: an event left the stream before it could be delivered; its session goes on without it", "sequence", seq)
			r.obey(r.gate.forget(seq, r.o.Now()))
		}
	}
}

// stop returns what is in hand to the server and waits for requests under way.
func (r *runner) stop(cancel context.CancelFunc) error {
	grace := time.AfterFunc(r.o.StopGrace, cancel)
	defer grace.Stop()
	for _, j := range r.inHand {
		if !j.sending {
			r.returned(j.msg.Nak())
		}
	}
	for r.sending > 0 {
		<-r.results
		r.sending--
	}
	return nil
}

func (r *runner) stopFor(err error, cancel context.CancelFunc) error {
	_ = r.stop(cancel) // always nil
	return err
}
