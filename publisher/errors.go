package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFenced is wrapped by *FencedError.
	ErrFenced = errors.New("another writer publishes this account")
	// ErrStreamMissing: the server has no such stream. Nothing is lost; publishing
	// goes on once it exists.
	ErrStreamMissing = errors.New("stream does not exist")
	// ErrStreamFull: stream, account or server has no room for another event. They
	// wait in the outbox until there is some.
	ErrStreamFull = errors.New("no room for events")
	// ErrStreamSealed: the stream takes no events any more. They wait in the outbox
	// until there is another stream.
	ErrStreamSealed = errors.New("stream is sealed")
	// ErrTooLarge: an event is larger than the server or the stream takes. It stays
	// first in the outbox until the limit is raised.
	ErrTooLarge = errors.New("event is larger than the server takes")
	// ErrDisconnected: there is no connection to NATS. Publishing goes on once there
	// is one.
	ErrDisconnected = errors.New("not connected to NATS")
	// ErrRunning is returned by Run and Drain when the publisher runs already and ctx
	// ends before it stops.
	ErrRunning = errors.New("publisher is running already")

	// errTurn: nothing is wrong, the next attempt publishes the other way.
	errTurn      = errors.New("the way to publish changes")
	errNotAtomic = errors.New("stream does not take atomic batches")
	errNotFast   = errors.New("stream does not take fast batches")
	errNoAnswer  = errors.New("the server did not answer in time; it may be overloaded or the user may lack permissions")
	// ErrBehind is wrapped by a *FencedError of a store that never published, while the
	// stream holds events of the account: its state is to be rebuilt from these.
	ErrBehind = errors.New("the stream holds events of this account that this state does not know")
	// errUnsettled: the stream looks shorter than it was; it is read once more
	// before that is believed, since a new leader may lag for a moment.
	errUnsettled = errors.New("stream ends before the last acknowledged message; reading it again to be sure")
)

// FencedError says that the last message of the account was written by somebody
// else: a second process with the same account, or this process after its data
// directory was restored from a backup. It wraps ErrFenced; Run returns it, since
// going on would fight.
type FencedError struct {
	Account, Stream string
	// Sequence is the stream sequence of the foreign message.
	Sequence uint64
	// Writer is the outbox that it came from, Own the one of this publisher.
	Writer, Own string
	// Behind says that this publisher never published; see ErrBehind.
	Behind bool
}

func (e *FencedError) Error() string {
	if e.Behind {
		return fmt.Sprintf("account %s: message %d of stream %s is from outbox %s: %v", e.Account, e.Sequence, e.Stream, e.Writer, ErrBehind)
	}
	return fmt.Sprintf("account %s: message %d of stream %s is from outbox %s, this is %s: %v; stop the other process, or start this one with an empty data directory to take over",
		e.Account, e.Sequence, e.Stream, e.Writer, e.Own, ErrFenced)
}

// Unwrap returns ErrFenced, and ErrBehind where that is why.
func (e *FencedError) Unwrap() []error {
	if e.Behind {
		return []error{ErrFenced, ErrBehind}
	}
	return []error{ErrFenced}
}

// refusal is an error answer of the server to a publish or request.
type refusal struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (r *refusal) Error() string {
	return r.Description + " (" + strconv.Itoa(r.ErrCode) + ")"
}

// Error codes of nats-server, from server/errors.json.
const (
	codeStreamNotFound     = 10059
	codeMessageTooLarge    = 10054
	codeWrongLastMsgID     = 10070
	codeWrongLastSeq       = 10071
	codeWrongLastSeqInUse  = 10164
	codeNoMessage          = 10037
	codeStoreFailed        = 10077
	codeSealed             = 10109
	codeAccountFull        = 10002
	codeServerFull         = 10023
	codeStorageFull        = 10047
	codeBatchTooLarge      = 10199
	codeBatchDuplicate     = 10201
	codeFastInFlight       = 10211
	codeJetStreamDisabled  = 10076
	codeJetStreamNoAccount = 10039
)

// refusedWith reports whether err is a refusal with one of the codes.
func refusedWith(err error, codes ...int) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range codes {
		if r.ErrCode == c {
			return true
		}
	}
	return false
}

// outrun reports that the chain did not hold: somebody, perhaps an earlier
// attempt of this very publisher, wrote in between.
func outrun(err error) bool {
	return refusedWith(err, codeWrongLastSeq, codeWrongLastSeqInUse, codeWrongLastMsgID)
}

// unanswered finds out whether a missing right is why no answer came: the server
// does not answer what it forbids.
func unanswered(ctx context.Context, nc *nats.Conn, r Right, err error) error {
	if violation(nc) == nil {
		return err
	}
	if missing := TryRights(context.WithoutCancel(ctx), nc, []Right{r}); errors.Is(missing, ErrPermission) {
		return missing
	}
	return err
}

// missing returns ErrStreamMissing with what to do.
func (p *Publisher) missing() error {
	if p.Make != nil {
		return fmt.Errorf("stream %s: %w; it was deleted, and is about to be made again", p.Stream, ErrStreamMissing)
	}
	return fmt.Errorf("stream %s: %w; it was deleted, or never made: declare it again, or run `nats stream add %s`", p.Stream, ErrStreamMissing, p.Stream)
}

// noRoom explains a refusal for lack of room, nil for any other error.
func noRoom(err error, stream string) error {
	var r *refusal
	if !errors.As(err, &r) {
		return nil
	}
	switch {
	case r.ErrCode == codeStoreFailed && strings.Contains(r.Description, "maximum bytes"):
		return fmt.Errorf("stream %s: %w: %w; it is full: raise its limit or let the oldest events go: nats stream edit %s --max-bytes=-1, or --discard=old", stream, ErrStreamFull, err, stream)
	case r.ErrCode == codeStoreFailed && strings.Contains(r.Description, "maximum messages"):
		return fmt.Errorf("stream %s: %w: %w; it is full: raise its limit or let the oldest events go: nats stream edit %s --max-msgs=-1, or --discard=old", stream, ErrStreamFull, err, stream)
	case r.ErrCode == codeAccountFull:
		return fmt.Errorf("stream %s: %w: %w; raise the JetStream limits of the account, or bound the stream: nats stream edit %s --max-bytes=SIZE --discard=old", stream, ErrStreamFull, err, stream)
	case r.ErrCode == codeServerFull, r.ErrCode == codeStorageFull:
		return fmt.Errorf("stream %s: %w: %w; free space on the NATS server's disk, or raise max_file_store in its configuration", stream, ErrStreamFull, err)
	}
	return nil
}

// lasting reports that trying again soon is pointless: somebody has to change
// something first.
func lasting(err error) bool {
	var differs *StreamError
	return errors.As(err, &differs) || errors.Is(err, ErrStreamFull) || errors.Is(err, ErrStreamSealed) ||
		errors.Is(err, ErrStreamMissing) || errors.Is(err, ErrTooLarge) || errors.Is(err, errNotAtomic) || errors.Is(err, errNotFast) || errors.Is(err, ErrPermission) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) ||
		refusedWith(err, codeJetStreamDisabled, codeJetStreamNoAccount)
}
