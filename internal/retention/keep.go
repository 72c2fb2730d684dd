package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
)

// HeaderCopied says of which message a copy was made: when its stream was made, and its
// sequence there.
const HeaderCopied = "Guestflow-Copied"

// Metadata of a copy's stream: which stream it is of, and what it lacks.
const (
	MetadataOf      = "guestflow.copy-of"
	MetadataWithout = "guestflow.without"
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
		err := c.work(ctx, js, pauses.Reset)
		if ctx.Err() != nil {
			return
		}
		if c.failed(err); errors.Is(err, errOther) {
			continue
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
	if !errors.Is(err, errOther) && !errors.Is(err, consume.ErrAway) && !errors.Is(err, errNoSource) {
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

var (
	// errOther: somebody else writes into the copy.
	errOther = errors.New("the copy has grown by other hands; reading on")
	// errNoSource: there is nothing to copy yet.
	errNoSource = errors.New("the stream to be copied does not exist")
)

// maxUnacked bounds the messages that wait for their acks.
const maxUnacked = 1000

// writer publishes in order. The first message says which sequence must come before it, each
// further one which event, so that the first one which fails makes all after it fail too.
type writer struct {
	js       jetstream.JetStream
	stream   string
	last     uint64
	previous string // id of the message that was published last; empty for none
	unacked  []unacked
}

type unacked struct {
	ack  jetstream.PubAckFuture
	want uint64
}

func (w *writer) publish(ctx context.Context, m *nats.Msg) error {
	if len(w.unacked) >= maxUnacked {
		if err := w.settle(ctx, maxUnacked/2); err != nil {
			return err
		}
	}
	after := jetstream.WithExpectLastSequence(w.last)
	if w.previous != "" {
		after = jetstream.WithExpectLastMsgID(w.previous)
	}
	ack, err := w.js.PublishMsgAsync(m, jetstream.WithExpectStream(w.stream), after)
	if err != nil {
		return err
	}
	w.last, w.previous = w.last+1, m.Header.Get(jetstream.MsgIDHeader)
	w.unacked = append(w.unacked, unacked{ack, w.last})
	return nil
}

// wrongLastID is the server's code for another message id than the expected last one.
const wrongLastID jetstream.ErrorCode = 10070

// settle waits until no more than so many messages wait for their acks.
func (w *writer) settle(ctx context.Context, left int) error {
	for len(w.unacked) > left {
		u := w.unacked[0]
		select {
		case ack := <-u.ack.Ok():
			if ack.Duplicate || ack.Sequence != u.want {
				return errOther
			}
		case err := <-u.ack.Err():
			var refused *jetstream.APIError
			if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == wrongLastID) {
				return errOther
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		w.unacked = w.unacked[1:]
	}
	return nil
}

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
	if at.after > 0 && at.after+1 < info.State.FirstSeq {
		c.settings.Log.Warn("retention: events left their stream before they were copied", "stream", c.source.Stream, "copy", c.status.Stream, "last_copied", at.after, "first_kept", info.State.FirstSeq)
	}
	all := c.source.filter(c.source.Prefix)
	r, err := consume.Open(ctx, js.Conn(), source, consume.FromSequence(at.after+1), all)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", c.source.Stream, err)
	}
	defer r.Close()
	w := writer{js: js, stream: c.status.Stream, last: at.last}
	// whole notes that all is copied that the stream has, as its leader says.
	whole := func(read uint64) error {
		if err := w.settle(ctx, 0); err != nil {
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
			return errors.Join(fmt.Errorf("reading stream %s: %w", c.source.Stream, err), w.settle(ctx, 0))
		}
		if err := c.take(ctx, &w, msg, meta, at.known); err != nil {
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

// take copies one message, unless it is known.
func (c *copying) take(ctx context.Context, w *writer, msg jetstream.Msg, meta *jetstream.MsgMetadata, known map[string]bool) error {
	c.behind(meta.NumPending)
	m := c.message(msg, meta)
	if m == nil || known[m.Header.Get(jetstream.MsgIDHeader)] {
		return nil
	}
	return w.publish(ctx, m)
}

func (c *copying) behind(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Behind, c.status.Error = n, c.longer
}

// slack is how much longer than the policy says a message may stay in a copy: only what was
// longer in coming there bears a time of its own.
const slack = time.Minute

// message is what is published of one, nil for none.
func (c *copying) message(msg jetstream.Msg, meta *jetstream.MsgMetadata) *nats.Msg {
	subject, id, body, err := c.stripped(msg.Data())
	if err != nil {
		c.settings.Log.Warn("retention: a message is no event, and not copied", "stream", c.source.Stream, "sequence", meta.Sequence.Stream, "error", err)
		return nil
	}
	h := nats.Header{}
	h.Set(jetstream.MsgIDHeader, id)
	h.Set("Content-Type", events.ContentType)
	h.Set(HeaderCopied, strconv.FormatInt(c.created.UnixNano(), 10)+" "+strconv.FormatUint(meta.Sequence.Stream, 10))
	if old := time.Since(meta.Timestamp); c.copy.Age > 0 && old > slack {
		left := c.copy.Age - old
		if left < time.Second { // the least that a message may be kept
			return nil
		}
		h.Set(jetstream.MsgTTLHeader, strconv.Itoa(int(left/time.Second))+"s")
	}
	return &nats.Msg{Subject: subject, Header: h, Data: body}
}

// stripped is an event without the fields, and without whom the list of who is forgotten
// has; its id is also that of the message.
func (c *copying) stripped(body []byte) (subject, id string, _ []byte, err error) {
	prefix := c.copy.Prefix(c.source.Prefix)
	if c.source.Visits {
		e, err := visits.Decode(body)
		if err != nil {
			return "", "", nil, err
		}
		subjects, err := visits.NewSubjects(prefix)
		if err != nil {
			return "", "", nil, err
		}
		if l, v := c.settings.Forgotten, &e.Data.Visit; l.Has(forgotten.GuestID, e.Account, v.GuestID) || l.Has(forgotten.MAC, e.Account, v.DeviceMAC) {
			v.GuestID, v.DeviceMAC, e.Data.Guest = "", "", nil
		}
		c.copy.stripVisit(&e)
		body, err = visits.Encode(e)
		return subjects.Of(e), e.ID, body, err
	}
	e, err := events.Decode(body)
	if err != nil {
		return "", "", nil, err
	}
	subjects, err := events.NewSubjects(prefix)
	if err != nil {
		return "", "", nil, err
	}
	c.settings.Forgotten.Cleanse(&e)
	c.copy.strip(&e)
	body, err = events.Encode(e)
	return subjects.Of(e), e.ID, body, err
}

// place is where a copy stands.
type place struct {
	after uint64 // sequence of the source that was copied last
	last  uint64 // sequence of the copy
	// known are ids of events that the copy has and the source may have once more.
	known map[string]bool
}

// position finds out where copying goes on.
func (c *copying) position(ctx context.Context, source, target jetstream.Stream) (p place, err error) {
	info, err := target.Info(ctx)
	if err != nil {
		return p, err
	}
	p.last = info.State.LastSeq
	var created int64
	var id string
	note := func(sequence uint64, h nats.Header) error {
		if sequence > p.last {
			return errOther
		}
		stamp, number, _ := strings.Cut(h.Get(HeaderCopied), " ")
		created, err = strconv.ParseInt(stamp, 10, 64)
		if err == nil {
			p.after, err = strconv.ParseUint(number, 10, 64)
		}
		if id = h.Get(jetstream.MsgIDHeader); err != nil {
			return fmt.Errorf("stream %s: message %d was not put there by guestflow; delete it", info.Config.Name, sequence)
		}
		return nil
	}
	from := info.State.FirstSeq
	if m, err := target.GetLastMsgForSubject(ctx, c.source.filter(c.copy.Prefix(c.source.Prefix))); err == nil {
		if err := note(m.Sequence, m.Header); err != nil {
			return p, err
		}
		from = m.Sequence + 1
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return p, err
	}
	// Any server of a cluster may have told of the last one, also one that lags.
	err = consume.Past(ctx, target, consume.FromSequence(max(from, 1)), nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		return true, note(meta.Sequence.Stream, m.Headers())
	})
	if err != nil || p.after == 0 {
		return p, err
	}
	// The copy may have come on since the source was looked at.
	is, err := source.Info(ctx)
	if err != nil {
		return p, err
	}
	again := is.Config.Metadata[events.MetadataMade] == events.MadeAgain
	same, err := c.same(ctx, source, p.after, created, id)
	if err != nil || same && !again {
		return p, err
	}
	if !same {
		p.after = 0
	}
	p.known, err = ids(ctx, target, p.last)
	return p, err
}

// same reports whether the source is the one of which the last copy was made, and has not
// lost its tail since.
func (c *copying) same(ctx context.Context, source jetstream.Stream, sequence uint64, created int64, id string) (bool, error) {
	if is := source.CachedInfo(); is.Created.UnixNano() != created || is.State.LastSeq < sequence {
		return false, nil
	}
	m, err := source.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) { // it was deleted, or has gone by its age
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_, is, _, err := c.stripped(m.Data)
	return err == nil && is == id, nil
}

// ids are those of the messages of a copy up to a sequence: a stream that was made again, or
// had lost its tail, gets events once more.
func ids(ctx context.Context, stream jetstream.Stream, last uint64) (map[string]bool, error) {
	all := map[string]bool{}
	err := consume.Past(ctx, stream, consume.FromStart(), nil, func(m jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if meta.Sequence.Stream > last {
			return false, errOther
		}
		all[m.Headers().Get(jetstream.MsgIDHeader)] = true
		return true, nil
	})
	return all, err
}

// ensure finds the copy's stream, or makes it.
func (c *copying) ensure(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	name := c.status.Stream
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !c.settings.Declared {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "guestflow: " + c.source.Stream + " without " + c.copy.join(", "),
			Subjects: []string{c.source.filter(c.copy.Prefix(c.source.Prefix))},
			Storage:  jetstream.FileStorage, MaxAge: c.copy.Age, Replicas: c.settings.Replicas, AllowDirect: true, AllowMsgTTL: true,
			Metadata: map[string]string{MetadataOf: c.source.Stream, MetadataWithout: c.copy.join(",")},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			stream, err = js.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	if config := stream.CachedInfo().Config; config.MaxAge != c.copy.Age {
		return stream, c.keepFor(ctx, js, config, c.copy.Age)
	}
	return stream, nil
}

// whole notes that a copy has all. Once every copy of a stream does, that stream keeps its
// own for no longer than it may.
func (c *copying) whole(ctx context.Context, js jetstream.JetStream) {
	now := time.Now()
	c.mu.Lock()
	c.status.Whole, c.status.Behind, c.status.Error = now, 0, c.longer
	lacking := func(o *copying) bool { return o.source == c.source && o.status.Whole.IsZero() }
	ready := !now.Before(c.again) && !slices.ContainsFunc(c.copies, lacking)
	if ready {
		c.again = now.Add(shortenAgain)
	}
	c.mu.Unlock()
	if !ready {
		return
	}
	longer := ""
	if err := c.shorten(ctx, js, append([]string{c.source.Stream}, c.settings.Others...)); err != nil && ctx.Err() == nil {
		longer = err.Error()
		c.settings.Log.Error("retention: what is to go stays", "error", err)
	}
	c.mu.Lock()
	c.longer, c.status.Error = longer, longer
	c.mu.Unlock()
}

// shortenAgain is after which time is looked again whether streams keep nothing for too long:
// somebody may have changed one.
const shortenAgain = 10 * time.Minute

// shorten has streams with all fields keep them for no longer than the shortest-lived may
// be, and copies of a former policy likewise.
func (c *copying) shorten(ctx context.Context, js jetstream.JetStream, names []string) error {
	for _, name := range names {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		if err := c.keepForNoLonger(ctx, js, stream.CachedInfo().Config, c.settings.Policy.Age()); err != nil {
			return err
		}
	}
	former, err := c.former(ctx, js)
	if err != nil { // this takes a right that nothing else needs
		c.settings.Log.Debug("retention: whether there are streams of a former policy does not show", "error", err)
	}
	for _, config := range former {
		var without []Field
		for f := range strings.SplitSeq(config.Metadata[MetadataWithout], ",") {
			without = append(without, Field(f))
		}
		c.settings.Log.Warn("retention: this stream is of a former policy, and gets no more events; delete it when it is not needed: nats stream rm "+config.Name, "stream", config.Name)
		if err := c.keepForNoLonger(ctx, js, config, c.settings.Policy.Age(without...)); err != nil {
			return err
		}
	}
	return nil
}

// former are the copies of the source that the policy no longer has.
func (c *copying) former(ctx context.Context, js jetstream.JetStream) (all []jetstream.StreamConfig, err error) {
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		is := func(o *copying) bool { return o.status.Stream == info.Config.Name }
		if info.Config.Metadata[MetadataOf] == c.source.Stream && !slices.ContainsFunc(c.copies, is) {
			all = append(all, info.Config)
		}
	}
	return all, streams.Err()
}

func (c *copying) keepForNoLonger(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, age time.Duration) error {
	if age == 0 || config.MaxAge > 0 && config.MaxAge <= age {
		return nil
	}
	return c.keepFor(ctx, js, config, age)
}

func (c *copying) keepFor(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, age time.Duration) error {
	edit := fmt.Sprintf("nats stream edit %s --max-age=%s", config.Name, short(age))
	if age == 0 {
		edit = fmt.Sprintf("nats stream edit %s --max-age=-1", config.Name)
	}
	if c.settings.Declared {
		return fmt.Errorf("stream %s keeps messages for %s, and is to for %s: %s", config.Name, short(config.MaxAge), short(age), edit)
	}
	was := config.MaxAge
	if config.MaxAge = age; age > 0 && config.Duplicates > age {
		config.Duplicates = age // the server refuses a longer one
	}
	if _, err := js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("stream %s keeps messages for %s, and is to for %s: %w; %s", config.Name, short(was), short(age), err, edit)
	}
	c.settings.Log.Info("retention: a stream keeps messages for another time", "stream", config.Name, "was", short(was), "is", short(age))
	return nil
}
