package occupancy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
)

const (
	// pace is the shortest time between two writes to one client: what comes in
	// between goes out together.
	pace = 50 * time.Millisecond
	// patience is how long one write may take before the client counts as gone.
	patience = 10 * time.Second
	// maxReplay bounds ?replay=.
	maxReplay = 500
)

// Reasons for which a client is let go, in the last message that it gets.
var (
	errSlow     = errors.New("too slow: more came in than is kept for you; reconnect with the Last-Event-ID that you have")
	errStopping = errors.New("the service is stopping; reconnect in a moment")
	errReset    = errors.New("the stream was made anew; load the locations again and reconnect without Last-Event-ID")
	errRevoked  = errors.New("the token shows nothing any more; ask whoever gave it for another one")
	errRegroup  = errors.New("the groups have changed, and what may be seen with them; load the locations again and reconnect")
)

// client is one open stream of server-sent events.
type client struct {
	api    *api
	w      http.ResponseWriter
	to     *http.ResponseController
	filter filter
	sent   uint64 // stream sequence of the last event that was considered
	epoch  string
	// What may be seen follows from these: another tree may show less.
	token, group string
	regrouped    <-chan struct{} // closed when another tree is in use
}

// stream serves GET /v1/stream: every event, and once a second the locations
// that changed.
func (a *api) stream(w http.ResponseWriter, r *http.Request, x access) {
	query := r.URL.Query()
	x, ok := narrowed(w, r, x)
	if !ok {
		return
	}
	c := &client{api: a, w: w, to: http.NewResponseController(w), token: tokenOf(r), group: query.Get("group"), filter: filter{
		account: query.Get("account"), location: query.Get("location"), access: x, kinds: map[events.Kind]bool{},
	}}
	for _, list := range query["kind"] {
		for name := range strings.SplitSeq(list, ",") {
			k := events.Kind(name)
			if !k.Valid() {
				refuse(w, http.StatusBadRequest, fmt.Sprintf("kind %q: want some of %v, joined by commas.", name, events.Kinds()))
				return
			}
			c.filter.kinds[k] = true
		}
	}
	replay, ok := count(w, r, "replay", 0, maxReplay)
	if !ok {
		return
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = query.Get("last_event_id")
	}
	after, epoch, ok := parseEventID(last)
	if !ok {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("Last-Event-ID is %q: want the id of an event of this stream.", last))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold messages back
	if r.Method == http.MethodHead {
		return
	}
	a.s.clients.Add(1)
	defer a.s.clients.Add(-1)
	if err := c.serve(r.Context(), last != "", after, epoch, replay); err != nil {
		if errors.Is(err, errRegroup) {
			_ = c.send(sse("reset", "", []byte(`{"reason":"`+errRegroup.Error()+`"}`)))
		}
		body, _ := json.Marshal(map[string]string{"reason": err.Error()}) // a string always marshals
		_ = c.send(sse("dropped", "", body))                              // it is gone anyway
	}
}

// parseEventID reads "<sequence>" or "<sequence>.<epoch>".
func parseEventID(id string) (sequence uint64, epoch string, ok bool) {
	if id == "" {
		return 0, "", true
	}
	number, epoch, _ := strings.Cut(id, ".")
	sequence, err := strconv.ParseUint(number, 10, 64)
	return sequence, epoch, err == nil
}

// serve sends until the client leaves, which gives nil, or is let go.
func (c *client) serve(ctx context.Context, resume bool, after uint64, epoch string, replay int) error {
	s := c.api.s
	if err := c.review(); err != nil { // the groups may have changed since the request came
		return err
	}
	hello, err := json.Marshal(s.Status())
	if err != nil {
		return err
	}
	if err := c.send(append([]byte("retry: 2000\n"), sse("status", "", hello)...)); err != nil {
		return nil
	}
	if err := c.await(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	var position uint64
	position, c.epoch = s.feed.end()
	switch {
	case resume && epoch != "" && epoch != c.epoch:
		if err := c.send(sse("reset", "", []byte(`{"reason":"`+errReset.Error()+`"}`))); err != nil {
			return nil
		}
	case resume:
		c.sent = after
		if position, err = c.catchUp(ctx); err != nil {
			return err
		}
	case replay > 0:
		position = s.feed.latest(replay, c.filter.wants)
	}
	return c.follow(ctx, position)
}

// review finds out whether the client may still see what it could, and watches for the next
// change of that.
func (c *client) review() error {
	tree, regrouped := c.api.s.groupTree()
	c.regrouped = regrouped
	x, ok := c.api.judge(c.token, tree)
	if !ok {
		return errRevoked
	}
	if c.group != "" {
		if x, ok = x.within(c.group); !ok {
			return errRegroup
		}
	}
	if x.clear != c.filter.clear || !x.scope.Equal(c.filter.scope) {
		return errRegroup
	}
	c.filter.access = x
	return nil
}

// current is review where the groups have changed.
func (c *client) current() error {
	select {
	case <-c.regrouped:
		return c.review()
	default:
		return nil
	}
}

// await waits until the state is whole, so that a client which comes while the
// stream is read from its start does not get the past as news.
func (c *client) await(ctx context.Context) error {
	s := c.api.s
	s.mu.RLock()
	whole := s.whole
	s.mu.RUnlock()
	beat := time.NewTicker(s.settings.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-whole:
			return nil
		case <-ctx.Done():
			return nil
		case <-s.stopped:
			return errStopping
		case <-c.regrouped:
			if err := c.review(); err != nil {
				return err
			}
		case <-beat.C:
			if c.send([]byte(": still reading the stream\n\n")) != nil {
				return ctx.Err()
			}
		}
	}
}

// follow sends the frames from a position on.
func (c *client) follow(ctx context.Context, position uint64) error {
	s := c.api.s
	beat := time.NewTimer(s.settings.Heartbeat)
	defer beat.Stop()
	heartbeat := func() error {
		beat.Reset(s.settings.Heartbeat)
		return c.send([]byte(": still here\n\n"))
	}
	rest := time.NewTimer(pace)
	defer rest.Stop()
	batch := make([]*frame, 0, 64)
	for {
		if err := c.current(); err != nil {
			return err
		}
		select {
		case <-beat.C: // nothing of all that came was for this client
			if heartbeat() != nil {
				return nil
			}
		default:
		}
		list, next, grown, held := s.feed.read(position, batch)
		switch {
		case !held && c.moved():
			return errReset
		case !held:
			return errSlow
		}
		if len(list) == 0 {
			if left, err := c.idle(ctx, grown, beat.C, heartbeat); left || err != nil {
				return err
			}
			continue
		}
		position = next
		wrote, err := c.frames(list)
		if err != nil {
			return nil
		}
		if wrote {
			beat.Reset(s.settings.Heartbeat)
		}
		full := len(list) == cap(list)
		clear(list) // the log lets go of them, and so does the client
		if full {
			continue
		}
		rest.Reset(pace)
		select {
		case <-ctx.Done():
			return nil
		case <-rest.C:
		}
	}
}

// idle waits for something to tell the client, and reports whether it has left.
func (c *client) idle(ctx context.Context, grown <-chan struct{}, beat <-chan time.Time, heartbeat func() error) (left bool, err error) {
	select {
	case <-ctx.Done():
		return true, nil
	case <-c.api.s.stopped:
		return false, errStopping
	case <-beat:
		return heartbeat() != nil, nil
	case <-c.regrouped: // the caller looks
	case <-grown:
	}
	return false, nil
}

// moved reports whether the sequences belong to another stream by now.
func (c *client) moved() bool {
	_, epoch := c.api.s.feed.end()
	return epoch != c.epoch
}

// frames sends what of them is for this client, and reports whether anything was.
func (c *client) frames(list []*frame) (wrote bool, err error) {
	for _, f := range list {
		if f.sequence > 0 {
			if f.sequence <= c.sent {
				continue
			}
			c.sent = f.sequence
		}
		if b := c.filter.bytes(f); b != nil {
			if !wrote {
				c.deadline()
			}
			if _, err := c.w.Write(b); err != nil {
				return wrote, err
			}
			wrote = true
		}
	}
	if !wrote {
		return false, nil
	}
	return true, c.to.Flush()
}

func (c *client) send(b []byte) error {
	c.deadline()
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	return c.to.Flush()
}

// deadline lets the next write fail when the client does not read. A writer
// without deadlines (in a test) has none to set.
func (c *client) deadline() { _ = c.to.SetWriteDeadline(time.Now().Add(patience)) }

// catchUp sends every event after c.sent that is no longer in the log, read from
// the stream, and returns the position in the log at which the rest begins.
func (c *client) catchUp(ctx context.Context) (uint64, error) {
	s := c.api.s
	for {
		position, oldest := s.feed.after(c.sent)
		upTo := oldest // exclusive
		if oldest == 0 {
			upTo = s.Status().Sequence + 1
		}
		if c.sent+1 >= upTo {
			return position, nil
		}
		if err := c.replay(ctx, upTo); err != nil {
			return 0, err
		}
		c.sent = max(c.sent, upTo-1)
	}
}

// replay sends the events after c.sent and before upTo from the stream.
func (c *client) replay(ctx context.Context, upTo uint64) error {
	s := c.api.s
	select {
	case s.replays <- struct{}{}:
		defer func() { <-s.replays }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return errStopping
	}
	s.mu.RLock()
	stream := s.stream
	s.mu.RUnlock()
	if stream == nil {
		return errors.New("the stream was not reached yet; reconnect in a moment")
	}
	account := c.filter.account
	if account == "" {
		account = s.settings.Account
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("the past cannot be read now (%w); reconnect in a moment", err)
	}
	if first := info.State.FirstSeq; c.sent+1 < first {
		gap := fmt.Sprintf(`{"reason":"the stream has dropped these events","from":%d,"to":%d}`, c.sent+1, min(first, upTo)-1)
		if err := c.send(sse("gap", "", []byte(gap))); err != nil {
			return err
		}
		c.sent = first - 1
	}
	// A session that moves is published at its new location, and concerns the old
	// one too: so the location is not filtered by the server.
	var gone, barred error // of the client
	err = consume.Past(ctx, stream, consume.FromSequence(c.sent+1), []string{s.subjects.Filter(account, "", "")},
		func(msg jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
			if barred = c.current(); barred != nil || meta.Sequence.Stream >= upTo {
				return false, nil
			}
			if e, body, err := s.decode(msg); err == nil {
				f := eventFrame(Message{Sequence: meta.Sequence.Stream, Event: e}, body, c.epoch)
				_, gone = c.frames([]*frame{f})
			}
			return gone == nil, nil
		})
	if err != nil {
		return fmt.Errorf("the past cannot be read now (%w); reconnect in a moment", err)
	}
	return cmp.Or(barred, gone)
}
