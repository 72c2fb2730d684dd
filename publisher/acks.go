package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// answer is the server's reply to one message, to the commit of a batch, or of a
// fast batch on its way.
type answer struct {
	// Type is empty, or that of an answer on the way: ack, gap or err.
	Type      string   `json:"type"`
	Stream    string   `json:"stream"`
	Seq       uint64   `json:"seq"`
	Duplicate bool     `json:"duplicate"`
	Batch     string   `json:"batch"`
	Count     int      `json:"count"`
	Error     *refusal `json:"error"`

	// token is what the reply was asked for with.
	token uint64
	err   error
}

// answers receives the replies to messages on one inbox. Tokens are never
// reused, so that what arrives late is told apart.
type answers struct {
	nc    *nats.Conn
	right Right // what was sent under
	inbox string
	sub   *nats.Subscription
	ch    chan *nats.Msg
	token uint64
	// status tells when the connection is lost.
	status chan nats.Status
}

// listen subscribes for the answers to what is sent under a right; room is how many
// may wait to be read.
func listen(nc *nats.Conn, right Right, room int) (*answers, error) {
	a := &answers{nc: nc, right: right, inbox: nats.NewInbox() + ".", ch: make(chan *nats.Msg, room)}
	sub, err := nc.ChanSubscribe(a.inbox+">", a.ch)
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	a.sub = sub
	a.status = nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	return a, nil
}

func (a *answers) close() {
	_ = a.sub.Unsubscribe()
	a.nc.RemoveStatusListener(a.status)
}

// ask returns a reply subject and the token that its answer will carry.
func (a *answers) ask() (reply string, token uint64) {
	a.token++
	return a.inbox + strconv.FormatUint(a.token, 36), a.token
}

// waiting reports whether an answer can be read at once.
func (a *answers) waiting() bool { return len(a.ch) > 0 }

// next returns the next answer. It fails when the connection is lost, when
// within passes, and when ctx ends.
func (a *answers) next(ctx context.Context, within *time.Timer) (answer, error) {
	for {
		select {
		case m := <-a.ch:
			if got, ok := a.read(m); ok {
				return got, nil
			}
			continue
		default:
		}
		select {
		case m := <-a.ch:
			if got, ok := a.read(m); ok {
				return got, nil
			}
		case <-a.status:
			return answer{}, ErrDisconnected
		case <-within.C:
			return answer{}, unanswered(ctx, a.nc, a.right, errNoAnswer)
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}

func (a *answers) read(m *nats.Msg) (answer, bool) {
	text, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, a.inbox), ".")
	token, err := strconv.ParseUint(text, 36, 64)
	if err != nil {
		return answer{}, false
	}
	got := answer{token: token}
	switch {
	case len(m.Data) > 0:
		if err := json.Unmarshal(m.Data, &got); err != nil {
			got.err = fmt.Errorf("server's answer %.100q: %w", m.Data, err)
		} else if got.Error != nil {
			got.err = got.Error
		}
	case m.Header.Get("Status") == "503":
		got.err = nats.ErrNoResponders
	}
	return got, true
}
