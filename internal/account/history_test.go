package account

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/publisher"
)

// arrivals publishes one arrival of each of so many sessions, and returns the sequence of
// the last.
func arrivals(t *testing.T, js jetstream.JetStream, account string, n int) uint64 {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Second)
	last := uint64(0)
	for i := range n {
		e := events.Event{Account: account, Kind: events.Started, Time: at}
		e.Data = events.Data{Revision: 1, Observed: events.Observed{At: at}}
		e.Data.Session = events.Session{ID: fmt.Sprint("s", i), LocationID: fmt.Sprint("place-", i%3), Online: true, StartedAt: at}
		e = e.Sealed()
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.PublishMsg(t.Context(), written(e, body, i+1))
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	return last
}

// written is an event's message as another process would have published it.
func written(e events.Event, body []byte, seq int) *nats.Msg {
	m := nats.NewMsg((events.Subjects{}).Of(e))
	m.Data = body
	m.Header.Set(publisher.HeaderOutbox, "another's")
	m.Header.Set(publisher.HeaderSeq, fmt.Sprint(seq))
	return m
}

// TestHistoryIsTheAccountsAlone, whether the server is asked for the account's events or,
// which is faster where most are, for all of them. A message that is no event, or
// that guestflow did not write, is left out, and so is what came behind the sequence that was asked for. The last one may have
// gone meanwhile.
func TestHistoryIsTheAccountsAlone(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
	js := server.JetStream()
	last := map[string]uint64{}
	last["many"] = arrivals(t, js, "many", 60)
	last["few"] = arrivals(t, js, "few", 7)
	ack, err := js.Publish(t.Context(), events.DefaultPrefix+".many.place-1.started", []byte("no event"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := arrival("s1") // edited, and sent by hand
	foreign.Account, foreign.Data.Revision = "many", math.MaxInt64
	body, err := events.Encode(foreign.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	if ack, err = js.Publish(t.Context(), events.DefaultPrefix+".many.place-1.started", body); err != nil {
		t.Fatal(err)
	}
	last["many"] = ack.Sequence
	arrivals(t, js, "many", 5) // of sessions that are known; only the count tells
	gone := arrivals(t, js, "gone", 3)
	stream, err := js.Stream(t.Context(), events.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	last["gone"] = gone
	for account, want := range map[string]int{"many": 60, "few": 7, "gone": 2} {
		a := &Account{link: there{js}, settings: Settings{Name: account, Stream: events.DefaultStream, Log: slog.New(slog.DiscardHandler)}}
		h, err := a.readHistory(t.Context(), last[account], func(*events.State) bool { return false })
		if err != nil || h.events != want || len(h.states) != want {
			t.Errorf("account %s: %d events of %d sessions, %v; want %d", account, h.events, len(h.states), err, want)
		}
		if st := h.states["s1"]; st.Revision != 1 {
			t.Errorf("account %s: %+v", account, st)
		}
		if st := h.states["s0"]; st.Revision != 1 || !st.Session.Online || !h.since.Equal(st.SeenAt) {
			t.Errorf("account %s: %+v since %v", account, st, h.since)
		}
	}
}

// TestHistoryIsReadToItsEnd, although the server that is read has nothing at first, and then
// a part: one of a cluster that was started again lags behind the stream's leader.
func TestHistoryIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
	js := server.JetStream()
	asked := 0
	a := &Account{link: there{js}, settings: Settings{Name: "a", Stream: events.DefaultStream, Log: slog.New(slog.DiscardHandler)}}
	r := historian{Account: a, last: 8, joinAfter: joinAfter, over: func(*events.State) bool { return false }, tail: func(context.Context) (uint64, error) {
		if asked++; asked <= 2 {
			arrivals(t, js, "a", 4) // from the leader, after it was read
		}
		return 8, nil
	}}
	h, err := r.all(t.Context())
	if err != nil || h.events != 8 || asked != 2 {
		t.Errorf("%d events, %v, after it was said %d times that there is more; want 8 after 2 times", h.events, err, asked)
	}
}

// TestHistoryForgetsWhoIsOver: a stream of a month holds the sessions of a month, and memory
// those alone that are not over, and some more.
func TestHistoryForgetsWhoIsOver(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
	js := server.JetStream()
	at := time.Now().UTC().Truncate(time.Second)
	const sessions = 4 * decodeAtOnce
	last := uint64(0)
	publish := func(session, revision int, kind events.Kind) {
		e := events.Event{Account: "a", Kind: kind, Time: at}
		e.Data = events.Data{Revision: int64(revision), Observed: events.Observed{At: at}}
		e.Data.Session = events.Session{ID: fmt.Sprint("s", session), LocationID: "place", Online: kind != events.Ended, StartedAt: at}
		if kind == events.Ended {
			e.Data.Observed.End = events.EndReported
		}
		e = e.Sealed()
		body, err := events.Encode(e)
		if err == nil {
			_, err = js.PublishMsgAsync(written(e, body, revision))
		}
		if err != nil {
			t.Fatal(err)
		}
		last++
	}
	for i := range sessions { // an end comes in the next batch of those that are decoded at once
		publish(i, 1, events.Started)
		if i >= decodeAtOnce {
			publish(i-decodeAtOnce, 2, events.Ended)
		}
	}
	publish(0, 3, events.Resumed)
	<-js.PublishAsyncComplete()
	a := &Account{link: there{js}, settings: Settings{Name: "a", Stream: events.DefaultStream, Log: slog.New(slog.DiscardHandler)}}
	r := historian{Account: a, last: last, joinAfter: 1}
	r.tail = func(context.Context) (uint64, error) { return last, nil }
	most := 0
	r.over = func(st *events.State) bool {
		most = max(most, len(r.whole.states))
		return !st.Session.Online
	}
	h, err := r.all(t.Context())
	if err != nil || h.events != int(last) || len(h.states) != decodeAtOnce+1 || h.states["s0"].Revision != 3 {
		t.Errorf("%d events, %d sessions, the first %+v, %v; want %d events of %d sessions", h.events, len(h.states), h.states["s0"], err, last, decodeAtOnce+1)
	}
	if most > 2*decodeAtOnce {
		t.Errorf("%d sessions were in memory at a time, of which at most %d were online", most, decodeAtOnce)
	}
}
