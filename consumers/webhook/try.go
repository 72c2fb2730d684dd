package webhook

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// try makes one request for j, tells the server what became of the message, and
// returns the outcome for the loop. It runs on a goroutine of its own.
func (r *runner) try(ctx context.Context, j *job) outcome {
	if j.bad != nil {
		return r.bury(ctx, j, answer{}, j.bad.Error())
	}
	// What is too old takes no turn; what has grown too old meanwhile is not sent.
	if !r.stale(j) && r.pace(ctx) != nil {
		return r.untried(j)
	}
	if r.stale(j) {
		return r.skip(ctx, j)
	}
	document, err := r.document(j)
	if err != nil {
		return r.bury(ctx, j, answer{}, err.Error())
	}
	p := parcelOf(j.event, document)
	traceparent, end := r.o.Span(traceOf(j.msg), r.endpoint.Name, p.id)
	p.trace = traceparent
	a := r.sender.send(ctx, p, false)
	end(a.status, a.err)
	if ctx.Err() != nil && a.err != nil { // broken off here, not by the receiver
		return r.untried(j)
	}
	j.tries++
	v, reason := judge(a)
	out := r.conclude(ctx, j, a, v, reason)
	out.answered, out.unwell, out.reason = v != passing, v == passing, reason
	return out
}

// traceOf is the traceparent that a message bears, empty for none.
func traceOf(msg jetstream.Msg) string {
	if of := msg.Headers()[HeaderTraceparent]; len(of) > 0 && len(of[0]) < traceparentMost {
		return of[0]
	}
	return ""
}

// traceparentMost bounds what is handed on of somebody else's header.
const traceparentMost = 256

// conclude tells the server what became of the message.
func (r *runner) conclude(ctx context.Context, j *job, a answer, v verdict, reason string) outcome {
	switch {
	case v == accepted:
		return r.accept(ctx, j, a)
	case v == gone:
		return r.disable(ctx, j, a, reason)
	case v == refused && j.tries >= r.o.RefusedTries, r.o.Backoff.spent(j.tries, r.endpoint.MaxRetry):
		return r.bury(ctx, j, a, reason)
	}
	return r.again(ctx, j, a, reason)
}

// pace waits for the endpoint's rate limit.
func (r *runner) pace(ctx context.Context) error {
	now := r.o.Now()
	turn := r.limiter.ReserveN(now, 1)
	if wait := turn.DelayFrom(now); wait > 0 {
		if err := r.o.Sleep(ctx, wait); err != nil {
			turn.CancelAt(r.o.Now())
			return err
		}
	}
	return nil
}

// untried returns the event to the server as if it had not been handed out.
func (r *runner) untried(j *job) outcome {
	r.returned(j.msg.Nak())
	return outcome{job: j, again: true, tries: j.tries, due: r.o.Now()}
}

func (r *runner) accept(ctx context.Context, j *job, a answer) outcome {
	r.settle(ctx, j)
	r.observe(j, a, Delivered, "")
	return outcome{job: j}
}

// settle ends the event. The count of its tries goes first: left behind it would
// be wrong, whereas an event that is not acked is only delivered again.
func (r *runner) settle(ctx context.Context, j *job) {
	if j.counted {
		if err := r.stored(ctx, func(ctx context.Context) error {
			return r.records.dropTries(ctx, r.endpoint.Name, j.seq)
		}); err != nil {
			r.log.Debug("webhooks: cannot remove an event's count of tries; the next start does", "event", j.event.id, "error", err)
		}
	}
	r.returned(j.msg.Ack())
}

// again returns the event to the server for its next try.
func (r *runner) again(ctx context.Context, j *job, a answer, reason string) outcome {
	now := r.o.Now()
	wait := r.o.Backoff.delay(j.tries, r.o.Rand())
	asked := retryAfter(a.header, now, r.o.MaxRetryAfter)
	wait = max(wait, asked)
	if err := r.stored(ctx, func(ctx context.Context) error {
		return r.records.putTries(ctx, r.endpoint.Name, j.seq, j.tries)
	}); err != nil {
		r.log.Warn("webhooks: cannot store an event's count of tries; a restart would begin anew", "event", j.event.id, "error", err)
	}
	back := wait
	if r.endpoint.Ordered {
		back = min(back, r.o.Recheck)
	}
	r.returned(j.msg.NakWithDelay(back))
	r.observe(j, a, Failed, reason)
	r.log.Debug("webhooks: delivery failed", "event", j.event.id, "try", j.tries, "reason", reason, "next", wait)
	return outcome{job: j, again: true, tries: j.tries, due: now.Add(wait), pause: asked}
}

// bury makes a dead letter of the event.
func (r *runner) bury(ctx context.Context, j *job, a answer, reason string) outcome {
	document, err := r.document(j)
	if err != nil { // who is forgotten stays so
		reason, document = err.Error(), nil
	}
	l := DeadLetter{
		Endpoint: r.endpoint.Name, EventID: j.event.id, Reason: reason, Tries: j.tries, Status: a.status,
		StreamSequence: j.seq, Event: document,
	}
	if err := r.stored(ctx, func(ctx context.Context) error { return r.graves.bury(ctx, l) }); err != nil {
		r.log.Error("webhooks: cannot store a dead letter; the event will be tried again", "error", err)
		return r.again(ctx, j, a, reason)
	}
	r.settle(ctx, j)
	r.observe(j, a, Dead, reason)
	r.log.Warn("webhooks: event became a dead letter; send it again with guestflow webhooks replay", "event", j.event.id, "tries", j.tries, "reason", reason)
	return outcome{job: j}
}

// disable stops the endpoint and keeps the event for when it is enabled again.
func (r *runner) disable(ctx context.Context, j *job, a answer, reason string) outcome {
	d := Disabled{Since: r.o.Now().UTC(), Reason: reason, Entry: r.endpoint.fingerprint}
	if err := r.stored(ctx, func(ctx context.Context) error {
		return r.records.disable(ctx, r.endpoint.Name, d)
	}); err != nil {
		r.log.Error("webhooks: cannot record that the endpoint is gone; the event will be tried again", "error", err)
		return r.again(ctx, j, a, reason)
	}
	j.tries-- // the endpoint's fault, not the event's
	r.observe(j, a, Gone, reason)
	out := r.untried(j)
	out.stop = true
	return out
}

// stored gives a write to NATS its own time, also while the runner stops.
func (r *runner) stored(ctx context.Context, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWait)
	defer cancel()
	return write(ctx)
}

func (r *runner) observe(j *job, a answer, result Result, reason string) {
	r.o.Observe(Observation{Endpoint: r.endpoint.Name, Result: result, Status: a.status, Duration: a.took, Try: j.tries})
	r.o.standings.tried(r.endpoint.Name, r.o.Now(), result, reason)
}
