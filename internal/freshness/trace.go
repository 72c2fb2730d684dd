package freshness

import (
	"fmt"
	"io"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/virtual"
	"github.com/guestflow/guestflow/poller/plan"
	"github.com/guestflow/guestflow/poller/platform"
)

// trace writes down what a run did: what it decided, asked and published, and
// when. The nil trace writes nothing. What takes the bytes is a hash or a file in a
// test, so errors are its own to keep.
type trace struct {
	w     io.Writer
	clock *virtual.Clock
}

func newTrace(w io.Writer, clock *virtual.Clock) *trace {
	if w == nil {
		return nil
	}
	return &trace{w, clock}
}

func (t *trace) line(format string, args ...any) {
	if t != nil {
		fmt.Fprintf(t.w, "%d "+format+"\n", append([]any{t.clock.Now().Sub(epoch)}, args...)...)
	}
}

func (t *trace) asked(q platform.Query) {
	online := "any"
	if q.Online != nil {
		online = fmt.Sprint(*q.Online)
	}
	t.line("ask page=%d per_page=%d online=%s location=%s guest=%s mac=%s yas=%s since=%s",
		q.Page, q.PerPage, online, q.LocationID, q.GuestID, q.DeviceMAC, q.YasID, q.StartDate)
}

func (t *trace) published(changes []events.Event) {
	for i := range changes {
		t.line("event %s", changes[i].ID)
	}
}

// traced is a strategy whose decisions are written down.
type traced struct {
	plan.Strategy
	trace *trace
}

func (s traced) Next(now time.Time, v *plan.View) plan.Decision {
	d := s.Strategy.Next(now, v)
	s.trace.line("look %s location=%s session=%s in_turn=%t", d.Kind, d.Location, d.Session, d.InTurn)
	return d
}
