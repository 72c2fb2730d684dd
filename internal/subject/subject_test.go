package subject

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/natstest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// told is an event of a session with a guest, a device and an e-mail address, each empty
// for none.
func told(session, guest, device, email string, revision int64) events.Event {
	e := events.Event{Account: "default", Kind: events.Started, Time: noon, Data: events.Data{Revision: revision, Observed: events.Observed{At: noon}}}
	if revision > 1 {
		e.Kind = events.Updated
	}
	e.Data.Session = events.Session{ID: session, LocationID: "bar", Online: true, GuestID: guest, DeviceMAC: device, DeviceIP: "10.0.0." + session}
	if email != "" {
		e.Data.Guest = &events.Guest{Name: "Ann", Email: email}
		e.Data.Observed.Guest = events.GuestConfirmed
	}
	return e.Sealed()
}

// TestFindsOnePersonAndNobodyElse: by each of the three ways to ask, in every stream.
func TestFindsOnePersonAndNobodyElse(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	for stream, subject := range map[string]string{"S": events.Subjects{}.All(), "DEAD": "dead.*", "SKIPPED": "skipped.*", "V": visits.Subjects{}.All()} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(subject string, body []byte, err error) {
		t.Helper()
		if err == nil {
			_, err = js.Publish(t.Context(), subject, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	passed := told("5", "bob", "m4", "", 2) // from Ann's hands into Bob's
	was := "ann"
	passed.Data.Previous = &events.Previous{GuestID: &was}
	nobody := told("1", "ann", "m1", "", 3)
	nobody.Forget()
	for _, e := range []events.Event{
		told("1", "", "m1", "", 1),             // becomes Ann's with the next one
		told("1", "ann", "m1", "", 2),          // 2
		told("2", "ann", "m2", "Ann@x.org", 1), // 3
		told("3", "bob", "m1", "bob@x.org", 1), // 4: with Ann's device
		told("4", "carl", "m3", "", 1),         // 5
		told("5", "ann", "m4", "", 1),          // 6
		passed.Sealed(),                        // 7
		told("6", "bob", "m5", "", 1),          // 8
		nobody.Sealed(),                        // 9: Ann's session goes on, and names nobody
	} {
		body, err := events.Encode(e)
		put(events.Subjects{}.Of(e), body, err)
	}
	body, err := events.Encode(told("2", "ann", "m2", "Ann@x.org", 1))
	put("dead.crm", body, err)
	for _, skip := range []webhook.SkippedEvent{{Stream: "sessions", Subject: "1"}, {Stream: "sessions", Subject: "4"}, {Stream: "visits", Subject: "v"}, {Stream: "visits", Subject: "1"}} {
		skip.Account = "default"
		body, err := json.Marshal(skip)
		put("skipped.crm", body, err)
	}
	put("skipped.crm", []byte(`{"account":"default","session_id":"2"}`), nil) // as former versions wrote it
	put("dead.crm", []byte("no event"), nil)
	v := visits.Event{Account: "default", Kind: visits.Started, Time: noon, Data: visits.Data{Revision: 1, Observed: visits.Observed{At: noon}}}
	v.Data.Visit = visits.Visit{ID: "v", Place: "bar", LocationID: "bar", Locations: []string{"bar"}, Identity: visits.ByGuest, GuestID: "ann", Arrival: visits.Seen, StartedAt: noon, Devices: 1, Sessions: 1}
	body, err = visits.Encode(v.Sealed())
	put(visits.Subjects{}.Of(v), body, err)
	put("dead.crm", body, err)

	places := []Place{{"S", events.Subjects{}.All(), Events}, {"DEAD", "dead.*", Letters}, {"SKIPPED", "skipped.*", Skips}, {"V", visits.Subjects{}.All(), Visits}, {"NONE", "x", Events}}
	for _, c := range []struct {
		name     string
		q        Query
		sessions []string
		sequence []uint64 // in the stream of events
		dead     int
		skipped  int
		visits   int
	}{
		{"guest", Query{Guests: []string{"ann"}}, []string{"1", "2", "5"}, []uint64{1, 2, 3, 6, 7}, 2, 3, 1},
		{"e-mail", Query{Emails: []string{"ann@x.org"}}, []string{"1", "2", "5"}, []uint64{1, 2, 3, 6, 7}, 2, 3, 1},
		{"MAC", Query{MACs: []string{"m1"}}, []string{"1", "3"}, []uint64{1, 2, 4}, 0, 1, 0},
		{"nobody", Query{Guests: []string{"an"}}, nil, nil, 0, 0, 0},
		{"other account", Query{Guests: []string{"ann"}, Account: "other"}, nil, nil, 0, 0, 0},
	} {
		c.q.Places = places
		f, err := Find(t.Context(), js, c.q)
		if err != nil {
			t.Fatal(err)
		}
		var sessions []string
		for _, id := range f.Sessions {
			sessions = append(sessions, id.ID)
		}
		var sequence []uint64
		for _, m := range f.Messages {
			if m.Stream == "S" {
				sequence = append(sequence, m.Sequence)
			}
		}
		n := f.Places
		if !slices.Equal(sessions, c.sessions) || !slices.Equal(sequence, c.sequence) || n[1].Messages != c.dead || n[2].Messages != c.skipped || n[3].Messages != c.visits || !n[4].Absent {
			t.Errorf("%s: sessions %v, events %v, %+v; want %+v", c.name, sessions, sequence, n, c)
		}
		if ann := []ID{{"default", "ann"}}; (c.name == "e-mail" || c.name == "guest") != slices.Equal(f.Guests, ann) {
			t.Errorf("%s: the person's guests are %v", c.name, f.Guests)
		}
		if c.name == "e-mail" && (!slices.Contains(f.Known.GuestIDs, "ann") || !slices.Equal(f.Known.Emails, []string{"Ann@x.org"}) || !slices.Equal(f.Known.Names, []string{"Ann"})) {
			t.Errorf("%s: known is %+v", c.name, f.Known)
		}
	}
	if _, err := Find(t.Context(), js, Query{}); err == nil {
		t.Error("nobody was asked for, and that is no error")
	}
}

// late is a stream that is answered for by servers which do not have a message yet, the first
// so many times.
type late struct {
	jetstream.Stream
	times int
}

func (l *late) GetMsg(ctx context.Context, n uint64, o ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	if l.times--; l.times >= 0 {
		return nil, jetstream.ErrMsgNotFound
	}
	return l.Stream.GetMsg(ctx, n, o...)
}

// TestAMessageHasGoneWhenTheLeaderSaysSo: any server of a cluster may answer, also one that
// lags.
func TestAMessageHasGoneWhenTheLeaderSaysSo(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := js.Publish(t.Context(), "s.a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []uint64{1, 3} {
		if err := stream.DeleteMsg(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := message(t.Context(), &late{stream, 2}, 2); err != nil || m == nil {
		t.Errorf("a message that some servers do not have yet: %v, %v", m, err)
	}
	if m, err := message(t.Context(), &late{stream, 9}, 2); !errors.Is(err, consume.ErrLagging) {
		t.Errorf("a message that no server has yet: %v, %v", m, err)
	}
	for _, n := range []uint64{1, 3, 5} {
		if m, err := message(t.Context(), stream, n); err != nil || m != nil {
			t.Errorf("message %d, which there is none of: %v, %v", n, m, err)
		}
	}
}
