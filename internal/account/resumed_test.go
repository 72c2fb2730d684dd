package account

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/store"
)

// TestRebuiltStateIsTrackedSinceTheStreamBegan, also where a look came before it, as where
// NATS was slow to answer: who arrived in between would be discovered, and who left by then
// too would never be told of. What is known of earlier times is kept.
func TestRebuiltStateIsTrackedSinceTheStreamBegan(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	server.CreateStream(events.DefaultStream, events.DefaultPrefix+".>")
	js, subjects := server.JetStream(), events.Subjects{}
	e := arrival("told")
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), written(e, body, 1), jetstream.WithMsgID(e.ID)); err != nil {
		t.Fatal(err)
	}
	values := func(at time.Time) map[string][]byte {
		t.Helper()
		of, err := poller.Resumed(at, at, func(string) ([]byte, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		return of
	}
	told := e.Data.Observed.At
	for name, c := range map[string]struct{ former, want time.Time }{
		"a look before the rebuild": {former: told.Add(30 * time.Minute), want: told},
		"an older state":            {former: told.Add(-30 * time.Minute), want: told.Add(-30 * time.Minute)},
		"an empty state":            {want: told},
	} {
		st, err := store.Open(t.TempDir()+"/default.db", store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		if !c.former.IsZero() {
			for key, v := range values(c.former) {
				if err := st.Put(key, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		a := &Account{Store: st, link: there{js}, settings: Settings{Name: "default", Stream: events.DefaultStream, Subjects: subjects, Log: slog.New(slog.DiscardHandler)}}
		if err := a.rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		for key, want := range values(c.want) {
			if got, err := st.Get(key); err != nil || string(got) != string(want) {
				t.Errorf("%s: %s is %s, %v, want %s", name, key, got, err, want)
			}
		}
	}
}
