package occupancy

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/forgotten"
)

const forgetKey = "0123456789abcdef"

// TestForgettingLosesNobodyElse: who is forgotten is counted and not named, and the
// messages that were deleted for it make no session uncertain, at a rebuild neither; any
// other that is missing does.
func TestForgettingLosesNobodyElse(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	list := newVenue(16, 3, 30).messages(80, time.Second)
	publish(t, js, list...)
	settings := quickSettings()
	settings.Forgotten = forgotten.NewList(forgetKey)
	s, stop := running(t, js, settings)
	until(t, "live", reaches(s, 80))
	var who events.Session
	for _, a := range snapshotOf(s).Accounts {
		for _, v := range a.Sessions {
			if v.Guest != "" && v.MAC != "" {
				who = events.Session{ID: v.ID, GuestID: v.Guest, DeviceMAC: v.MAC}
			}
		}
	}
	if who.ID == "" {
		t.Fatal("nobody is online")
	}
	online := func(s *Service) (n int) {
		for _, a := range snapshotOf(s).Accounts {
			n += len(a.Sessions)
		}
		return n
	}
	before := online(s)

	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: forgotten.DefaultStream, Subjects: []string{forgotten.DefaultPrefix + ".*"}}); err != nil {
		t.Fatal(err)
	}
	entry := forgotten.Entry{Marks: []string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", who.GuestID), forgotten.Mark(forgetKey, forgotten.MAC, "", who.DeviceMAC)},
		Erased: []forgotten.Erased{{Stream: events.DefaultStream, Created: stream.CachedInfo().Created}}}
	for i, m := range list {
		if d := &m.Event.Data.Session; i == 0 || d.GuestID == who.GuestID || d.DeviceMAC == who.DeviceMAC { // the stream's first ones, too
			entry.Erased[0].Sequences = append(entry.Erased[0].Sequences, uint64(i+1))
		}
	}
	body, err := json.Marshal(entry)
	if err == nil {
		_, err = js.Publish(t.Context(), forgotten.ListSubject, body)
	}
	if err != nil {
		t.Fatal(err)
	}
	settings.Forgotten.Add(entry.Marks)
	if err := s.Forget(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	names := func(s *Service) bool {
		text, err := json.Marshal(snapshotOf(s))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), who.GuestID) || strings.Contains(string(text), who.DeviceMAC)
	}
	if names(s) || online(s) != before {
		t.Errorf("%d online, %d before; named still: %v", online(s), before, names(s))
	}
	stop()
	if changed, err := ForgetSaved(t.Context(), js, settings); err != nil || changed {
		t.Errorf("the checkpoint still had something of the person: %v, %v", changed, err)
	}

	for _, n := range entry.Erased[0].Sequences {
		if err := stream.SecureDeleteMsg(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := js.DeleteObjectStore(t.Context(), settings.withDefaults().Bucket+"-state"); err != nil {
		t.Fatal(err)
	}
	rebuilt, stop := running(t, js, settings)
	until(t, "live", func() bool { return rebuilt.Status().State == Live })
	if c, uncertain := rebuilt.Gaps(); c.Missing != 0 || uncertain != 0 || !rebuilt.Status().Exact {
		t.Errorf("%d messages are taken for lost, %d sessions for uncertain, and the state is %+v", c.Missing, uncertain, rebuilt.Status())
	}
	stop()
	other := uint64(0)
	for n := uint64(40); other == 0; n++ {
		if _, err := stream.GetMsg(t.Context(), n); err == nil {
			other = n
		}
	}
	if err := stream.DeleteMsg(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	// Deleted a second time while its files are being removed, the store would keep what it has
	// (nats-server 2.15.2).
	store, err := js.ObjectStore(t.Context(), settings.withDefaults().Bucket+"-state")
	if err == nil {
		err = store.Delete(t.Context(), rebuilt.checkpointName())
	}
	if err != nil {
		t.Fatal(err)
	}
	again, _ := running(t, js, settings)
	until(t, "live", func() bool { return again.Status().State == Live })
	if c, _ := again.Gaps(); c.Missing == 0 {
		t.Error("a message that was deleted otherwise is not missed")
	}
}

// slowStores lets the first checkpoint wait on its way to the server.
type slowStores struct {
	jetstream.JetStream
	first    chan struct{} // holds one
	begun    chan struct{}
	released <-chan struct{}
}

type slowStore struct {
	jetstream.ObjectStore
	s *slowStores
}

func (s *slowStores) ObjectStore(ctx context.Context, name string) (jetstream.ObjectStore, error) {
	store, err := s.JetStream.ObjectStore(ctx, name)
	return slowStore{store, s}, err
}

func (s slowStore) Put(ctx context.Context, meta jetstream.ObjectMeta, r io.Reader) (*jetstream.ObjectInfo, error) {
	select {
	case <-s.s.first:
		close(s.s.begun)
		<-s.s.released
	default:
	}
	return s.ObjectStore.Put(ctx, meta, r)
}

// TestNoEarlierCheckpointComesBehindForgetting: one that was under way, and long in coming,
// would name again who is forgotten.
func TestNoEarlierCheckpointComesBehindForgetting(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	list := newVenue(16, 3, 30).messages(80, time.Second)
	publish(t, js, list...)
	settings := quickSettings()
	settings.Forgotten = forgotten.NewList(forgetKey)
	settings.CheckpointEvery = time.Hour
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 80))
	who := ""
	for _, a := range snapshotOf(s).Accounts {
		for _, v := range a.Sessions {
			if v.Guest != "" {
				who = v.Guest
			}
		}
	}
	release := make(chan struct{})
	slow := &slowStores{JetStream: js, first: make(chan struct{}, 1), begun: make(chan struct{}), released: release}
	slow.first <- struct{}{}
	saved, forgot := make(chan error, 1), make(chan error, 1)
	go func() { saved <- s.save(t.Context(), slow) }()
	<-slow.begun
	settings.Forgotten.Add([]string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", who)})
	go func() { forgot <- s.Forget(t.Context(), slow) }()
	var err error
	select {
	case err = <-forgot: // it did not wait for the other
		close(release)
	case <-time.After(300 * time.Millisecond):
		close(release)
		err = <-forgot
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	if changed, err := ForgetSaved(t.Context(), js, settings); err != nil || changed {
		t.Errorf("the checkpoint names whom it forgot: %v, %v", changed, err)
	}
}

// TestReplayNamesNobodyWhoIsForgotten, though the stream has the events still.
func TestReplayNamesNobodyWhoIsForgotten(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	list := newVenue(31, 3, 40).messages(900, time.Second)
	publish(t, js, list...)
	settings := quickSettings()
	settings.FeedBytes, settings.Unmasked = 20<<10, true // all but the last few are read from the stream
	settings.Forgotten = forgotten.NewList(forgetKey)
	who := list[0].Event.Data.Session
	if who.GuestID == "" {
		t.Fatal("the first session has no guest")
	}
	settings.Forgotten.Add([]string{forgotten.KeyMark(forgetKey), forgotten.Mark(forgetKey, forgotten.GuestID, "", who.GuestID)})
	s, _ := running(t, js, settings)
	until(t, "live", reaches(s, 900))
	l := listen(t, serve(t, s), "/v1/stream", "Last-Event-ID", "0")
	for n := range list {
		m := l.until(t, "session")
		if strings.Contains(m.data, who.GuestID) {
			t.Fatalf("event %d, %s, names who is forgotten: %s", n+1, m.id, m.data)
		}
		if n == 0 && !strings.Contains(m.data, who.ID) {
			t.Errorf("the first event does not tell of its session: %s", m.data)
		}
	}
}
