package visit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/chain"
	"github.com/guestflow/guestflow/internal/erased"
)

// work is one stretch of the service between two losses of the connection. Its state
// begins with the checkpoint; what was published after that is derived again, and found
// to be there.
type work struct {
	s      *Service
	js     jetstream.JetStream
	reader *consume.Reader
	stop   context.CancelFunc // of the reader
	input  *jetstream.StreamInfo
	output *jetstream.StreamInfo

	stream  jetstream.Stream // of session events
	filters []string         // theirs
	read    uint64           // none up to here is left to be applied
	due     *hour            // nil while there is none

	reducer  *Reducer
	anchor   string
	resumed  bool // from a checkpoint
	writer   *chain.Writer
	subjects visits.Subjects // of what is published
	known    *published      // not derived again yet; nil when all is
	counts   *counters
	behind   uint64
	// horizons are those of the checkpoint.
	horizons map[string]Horizon
	asked    bool // time was, since all was in
	// saved is of the last checkpoint.
	saved struct {
		sequence uint64
		at       time.Time
	}
	saving chan error // gets what came of a checkpoint that is on its way; nil while none is
}

// open finds the streams and where to go on.
func (s *Service) open(ctx context.Context, js jetstream.JetStream) (*work, error) {
	input, err := js.Stream(ctx, s.settings.Stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.settings.Stream, err)
	}
	output, err := s.visitStream(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.settings.Visits, err)
	}
	w := &work{s: s, js: js, stream: input, input: input.CachedInfo(), output: output.CachedInfo()}
	after, err := w.begin(ctx, input)
	if err != nil {
		return nil, err
	}
	w.counts = newCounters(&s.settings, w.horizons)
	if w.known, err = readPublished(ctx, output, s.settings.subjects(), after); err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", s.settings.Visits, err)
	}
	// What was removed by the stream's limits counts too.
	last := max(w.known.last, w.output.State.LastSeq)
	w.writer, w.subjects = chain.New(js, w.output.Config, last), s.settings.subjects()
	subjects, err := events.NewSubjects(s.settings.Prefix)
	if err != nil {
		return nil, err
	}
	w.filters = []string{subjects.All()}
	reading, stop := context.WithCancel(ctx)
	w.stop = stop
	w.reader, err = consume.Open(reading, js.Conn(), input, consume.FromSequence(w.reducer.Sequence()+1), w.filters...)
	if err != nil {
		stop()
		return nil, fmt.Errorf("reading stream %s: %w", s.settings.Stream, err)
	}
	w.behind = w.reader.Pending
	return w, nil
}

// visitStream returns the stream of visits, which is made where it does not exist.
func (s *Service) visitStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, s.settings.Visits)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || s.settings.Declared {
		return stream, err
	}
	stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: s.settings.Visits, Description: "guestflow: visits of guests", Subjects: []string{s.settings.subjects().All()},
		Storage: jetstream.FileStorage, MaxAge: s.settings.MaxAge, Replicas: s.settings.Replicas, AllowDirect: true,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
		return js.Stream(ctx, s.settings.Visits)
	}
	return stream, err
}

// begin sets the reducer's first state, and returns the sequence of the last visit event
// that it has made.
func (w *work) begin(ctx context.Context, input jetstream.Stream) (after uint64, err error) {
	log := w.s.settings.Log
	c, err := w.s.load(ctx, w.js)
	if err != nil {
		return 0, err
	}
	if c != nil {
		w.horizons = c.Horizons
	}
	why := ""
	switch {
	case c == nil:
		why = "there is no checkpoint"
	case !c.Input.Equal(w.input.Created), c.Snapshot.Sequence > w.input.State.LastSeq:
		why = "the stream of session events was made anew"
	case !c.Visits.Equal(w.output.Created), c.Last > w.output.State.LastSeq:
		why = "the stream of visits was made anew"
	case c.Snapshot.Sequence >= w.input.State.FirstSeq && c.Snapshot.Sequence > 0:
		m, err := input.GetMsg(ctx, c.Snapshot.Sequence)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, err
		}
		// One that was deleted since says nothing against the state.
		if err == nil && m.Header.Get(jetstream.MsgIDHeader) != c.Anchor {
			why = "the stream of session events has others than those that were read"
		}
	}
	if why == "" {
		c.Snapshot.Forget(w.s.settings.Forgotten)
		if w.reducer, err = Restore(w.s.settings.Rules, c.Snapshot); err == nil {
			w.anchor, w.resumed = c.Anchor, true
			for account := range w.reducer.accounts {
				if w.s.clocks[account] == nil {
					skew, known := c.Skews[account]
					w.s.clocks[account] = &clock{skew: skew, known: known}
				}
			}
			w.saved.sequence, w.saved.at = c.Snapshot.Sequence, w.s.settings.Now()
			if err := w.missed(ctx, c.Snapshot.Sequence); err != nil {
				return 0, err
			}
			return c.Last, nil
		}
		why = "the checkpoint cannot be used: " + err.Error()
	}
	log.Info("visits: reading the session events from the start of their stream", "why", why)
	w.reducer = NewReducer(w.s.settings.Rules)
	return 0, nil
}

// missed says so where session events after the last one that was read have left their stream,
// those aside that were erased to forget people.
func (w *work) missed(ctx context.Context, last uint64) error {
	first, log := w.input.State.FirstSeq, w.s.settings.Log
	if first <= last+1 {
		return nil
	}
	gone, err := erased.From(ctx, w.js, w.input)
	if err != nil {
		if ctx.Err() != nil || !w.js.Conn().IsConnected() {
			return err
		}
		log.Warn("visits: what was erased to forget people counts as lost", "error", err)
	}
	if gone.Lost(last, first) {
		log.Warn("visits: session events left their stream before they were read; visits of that time may be split or miss sessions. Keep the stream longer than the longest outage",
			"first_kept", first, "last_read", last)
	}
	return nil
}

// incoming is a session event on its way.
type incoming struct {
	msg  jetstream.Msg
	meta *jetstream.MsgMetadata
}

// run applies session events until ctx ends, which gives nil, or something fails.
func (w *work) run(ctx context.Context) error {
	messages, failed := make(chan incoming, 256), make(chan error, 1)
	stopped, stop := context.WithCancel(ctx)
	var pump sync.WaitGroup
	pump.Go(func() { failed <- forward(stopped, w.reader, messages) })
	defer w.reader.Close()
	defer pump.Wait()
	defer w.counts.asking.Wait()
	defer func() { _ = w.arrive() }() // broken off
	defer w.stop()
	defer stop()

	tick := time.NewTicker(w.s.settings.TickEvery)
	defer tick.Stop()
	save := time.NewTicker(w.s.settings.CheckpointEvery)
	defer save.Stop()
	w.report()
	if err := w.askTime(ctx); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case done := <-w.s.asked:
			err = w.forget(ctx)
			if done <- err; errors.Is(err, errBehind) {
				err = nil
			}
		case m := <-messages:
			err = w.apply(ctx, m.msg, m.meta)
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading stream %s: %w", w.s.settings.Stream, err)
		case <-tick.C:
			if err = w.tick(ctx); err == nil {
				w.ask(stopped)
			}
		case f := <-w.counts.findings:
			if err = w.take(ctx, f); err == nil {
				w.ask(stopped)
			}
		case <-save.C:
			if w.saving == nil && w.worthSaving() {
				err = w.depart(stopped)
			}
		case err = <-w.saving:
			w.saving = nil
		}
		if err != nil {
			return err
		}
	}
}

// forward hands messages on until ctx ends or they do.
func forward(ctx context.Context, from *consume.Reader, to chan<- incoming) error {
	for {
		msg, meta, err := from.Next()
		if err != nil {
			return err
		}
		select {
		case to <- incoming{msg, meta}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply folds one message in.
func (w *work) apply(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata) error {
	if err := w.repeatSteps(ctx, meta.Sequence.Stream); err != nil {
		return err
	}
	e, err := events.Decode(m.Data())
	if err != nil {
		w.s.settings.Log.Warn("visits: message is no event; skipped", "stream", w.s.settings.Stream, "sequence", meta.Sequence.Stream, "error", err)
		w.reducer.Skip(meta.Sequence.Stream)
	} else {
		w.s.settings.Forgotten.Cleanse(&e)
		c := w.clock(e.Account)
		c.skew, c.known = meta.Timestamp.Sub(seenAt(&e, meta.Timestamp)), true
		if err := w.publish(ctx, w.reducer.Apply(Message{Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Event: e})); err != nil {
			return err
		}
	}
	w.anchor, w.behind = m.Headers().Get(jetstream.MsgIDHeader), meta.NumPending
	if w.behind == 0 || meta.Sequence.Stream%1024 == 0 {
		w.report()
	}
	return w.askTime(ctx)
}

// askTime asks it once all is in: the next turn to ask may be too late where another process
// is faster with the next visit.
func (w *work) askTime(ctx context.Context) error {
	if w.asked || w.behind > 0 {
		return nil
	}
	w.asked = true
	return w.tick(ctx)
}

// ask asks what the session events do not tell, once all of them are in.
func (w *work) ask(ctx context.Context) {
	if w.behind > 0 || w.known != nil {
		return
	}
	for account := range w.reducer.accounts {
		w.counts.ask(ctx, account, w.reducer)
	}
}

// take takes what came of asking.
func (w *work) take(ctx context.Context, f finding) error {
	answer := w.counts.took(f)
	if answer == nil {
		return nil
	}
	return w.publish(ctx, w.reducer.Answer(f.account, *answer))
}

// repeatSteps takes the steps of an earlier process that came before a session event.
func (w *work) repeatSteps(ctx context.Context, before uint64) error {
	for w.known != nil && len(w.known.steps) > 0 && w.known.steps[0].input < before {
		t := w.known.steps[0]
		w.known.steps = w.known.steps[1:]
		// Without a checkpoint it is from before a stream that was made anew. With one it was
		// published while a process that had read more saved that.
		if t.input < w.reducer.Sequence() && !w.resumed {
			continue
		}
		if err := w.publish(ctx, t.repeat(w.reducer)); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes what is not there yet.
func (w *work) publish(ctx context.Context, out []Output) error {
	for _, o := range out {
		if w.known != nil && w.known.ids[o.Event.ID] {
			delete(w.known.ids, o.Event.ID)
			continue
		}
		m, err := message(w.subjects, o)
		if err == nil {
			err = w.writer.Publish(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("publishing a visit: %w", err)
		}
		w.s.count(o.Event.Kind)
	}
	return nil
}

// settle waits until all that was published is stored.
func (w *work) settle(ctx context.Context) error {
	if err := w.writer.Settle(ctx); err != nil {
		return fmt.Errorf("publishing visits: %w", err)
	}
	return nil
}

// caughtUp makes sure that all that was published before is derived again.
func (w *work) caughtUp(ctx context.Context) error {
	if w.known == nil {
		return nil
	}
	if err := w.repeatSteps(ctx, w.reducer.Sequence()+1); err != nil {
		return err
	}
	if n := len(w.known.ids); n > 0 {
		w.s.settings.Log.Warn("visits: the stream of visits has events that the session events no longer give; they stay", "events", n)
	}
	w.known = nil
	return nil
}

// report brings the status up to date.
func (w *work) report() {
	open, present := w.reducer.Open()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	st := &w.s.status
	st.Live, st.Sequence, st.Behind, st.Open, st.Present = w.behind == 0, w.reducer.Sequence(), w.behind, open, present
	if st.Live {
		st.Error, w.s.told = "", ""
	}
}

func (s *Service) count(k visits.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Published[k]++
}
