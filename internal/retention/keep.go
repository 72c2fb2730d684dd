package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/internal/chain"
	"github.com/guestflow/guestflow/internal/erased"
)

// Source is a stream of which copies are made.
type Source struct {
	Stream string
	Prefix string // of its subjects
	Visits bool   // it holds visits, else session events
}

func (s Source) filter(prefix string) string { return prefix + ".*.*.*" }

// Settings of a Keeper.
type Settings struct {
	Policy  Policy
	Sources []Source
	// Others are further streams that hold events, and are not copied.
	Others []string
	// Replicas of new streams. Declared makes and changes none.
	Replicas int
	Declared bool
	// Forgotten says who is forgotten.
	Forgotten *forgotten.List
	Log       *slog.Logger
}

// Keeper makes the copies, and has each stream keep what it holds for no longer than the
// policy permits. Several may run at once; each event is stored once.
type Keeper struct {
	settings Settings
	mu       sync.Mutex
	copies   []*copying
}

// Status is how a copy stands.
type Status struct {
	Stream string
	// Behind is how many events are not copied yet.
	Behind uint64
	// Whole is when the copy last had all events; zero where that was not yet.
	Whole time.Time
	// Error is why it gets none; empty where it does.
	Error string
}

// copying is a copy that is made.
type copying struct {
	*Keeper
	source Source
	copy   Copy
	// created is when the source was made that is read.
	created time.Time
	// mu of the Keeper is held for these.
	status Status
	again  time.Time // when the ages of streams are looked at next
	longer string    // which stream keeps messages for too long, and why
}

// New returns a Keeper that does nothing before Run.
func New(s Settings) *Keeper {
	k := &Keeper{settings: s}
	for _, source := range s.Sources {
		for _, c := range s.Policy.Copies() {
			k.copies = append(k.copies, &copying{Keeper: k, source: source, copy: c, status: Status{Stream: c.Stream(source.Stream)}})
		}
	}
	return k
}

// Status returns that of each copy.
func (k *Keeper) Status() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Status, len(k.copies))
	for i, c := range k.copies {
		all[i] = c.status
	}
	return all
}

// Run copies until ctx ends, and outlives outages of NATS.
func (k *Keeper) Run(ctx context.Context, js jetstream.JetStream) error {
	var copying sync.WaitGroup
	for _, c := range k.copies {
		copying.Go(func() { c.run(ctx, js) })
	}
	copying.Wait()
	return nil
}

func (c *copying) run(ctx context.Context, js jetstream.JetStream) {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		went := false
		err := c.work(ctx, js, func() { went = true })
		if ctx.Err() != nil {
			return
		}
		c.failed(err)
		// Where another process copies, too, one of them is enough: to find out each time what it
		// has copied costs more than copying does.
		if went && !errors.Is(err, chain.ErrOther) {
			pauses.Reset()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// failed notes why copying stopped; a stream that is not there yet, or another process that
// copies as well, is no fault.
func (c *copying) failed(err error) {
	text := ""
	if !errors.Is(err, chain.ErrOther) && !errors.Is(err, consume.ErrAway) && !errors.Is(err, errNoSource) {
		text = err.Error()
	}
	c.mu.Lock()
	was := c.status.Error
	c.status.Error = text
	c.mu.Unlock()
	if text != "" && text != was {
		c.settings.Log.Warn("retention: events are not copied; they stay in their stream for as long as they did", "stream", c.status.Stream, "error", err)
	}
}

// errNoSource: there is nothing to copy yet.
var errNoSource = errors.New("the stream to be copied does not exist")

// work copies until something fails.
func (c *copying) work(ctx context.Context, js jetstream.JetStream, goes func()) error {
	source, err := js.Stream(ctx, c.source.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return errNoSource
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", c.source.Stream, err)
	}
	target, err := c.ensure(ctx, js)
	if err != nil {
		return err
	}
	at, err := c.position(ctx, source, target)
	if err != nil {
		return err
	}
	info := source.CachedInfo()
	c.created = info.Created
	if err := c.missed(ctx, js, at.after, info); err != nil {
		return err
	}
	all := c.source.filter(c.source.Prefix)
	r, err := consume.Open(ctx, js.Conn(), source, consume.FromSequence(at.after+1), all)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", c.source.Stream, err)
	}
	defer r.Close()
	w := chain.New(js, target.CachedInfo().Config, at.last)
	// whole notes that all is copied that the stream has, as its leader says.
	whole := func(read uint64) error {
		if err := w.Settle(ctx); err != nil {
			return err
		}
		err := consume.Complete(ctx, source, []string{all}, read, info.State.LastSeq)
		if errors.Is(err, consume.ErrLagging) {
			return nil // the rest comes
		}
		if err == nil {
			goes()
			c.whole(ctx, js)
		}
		return err
	}
	if r.Pending == 0 {
		if err := whole(at.after); err != nil {
			return err
		}
	}
	for {
		msg, meta, err := r.Next()
		if err != nil {
			return errors.Join(fmt.Errorf("reading stream %s: %w", c.source.Stream, err), w.Settle(ctx))
		}
		if err := c.take(ctx, w, msg, meta, at.known); err != nil {
			return err
		}
		if meta.NumPending > 0 {
			continue
		}
		if err := whole(meta.Sequence.Stream); err != nil {
			return err
		}
	}
}

// missed says so where events after the last one that was copied have left their stream, those
// aside that were erased to forget people.
func (c *copying) missed(ctx context.Context, js jetstream.JetStream, last uint64, source *jetstream.StreamInfo) error {
	first := source.State.FirstSeq
	if last == 0 || first <= last+1 {
		return nil
	}
	gone, err := erased.From(ctx, js, source)
	if err != nil && (ctx.Err() != nil || !js.Conn().IsConnected()) {
		return err
	}
	if gone.Lost(last, first) {
		c.settings.Log.Warn("retention: events left their stream before they were copied", "stream", c.source.Stream, "copy", c.status.Stream, "last_copied", last, "first_kept", first)
	}
	return nil
}

// take copies one message, unless it is known.
func (c *copying) take(ctx context.Context, w *chain.Writer, msg jetstream.Msg, meta *jetstream.MsgMetadata, known map[string]bool) error {
	c.behind(meta.NumPending)
	m := c.message(msg, meta)
	if m == nil || known[m.Header.Get(jetstream.MsgIDHeader)] {
		return nil
	}
	return w.Publish(ctx, m)
}

func (c *copying) behind(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Behind, c.status.Error = n, c.longer
}
