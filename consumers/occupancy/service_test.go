package occupancy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// snapshotOf returns what the service holds, without what depends on when the
// server stored a message.
func snapshotOf(s *Service) Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	snap := s.state.Snapshot()
	snap.Clock = clock{}
	return snap
}

func folded(list []Message) Snapshot {
	o := NewOccupancy(Limits{})
	for _, m := range list {
		o.Apply(m)
	}
	snap := o.Snapshot()
	snap.Clock = clock{}
	return snap
}

func TestRestartedServiceGoesOnFromItsCheckpoint(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	v := newVenue(11, 3, 30)
	var all []Message
	for range 6 {
		list := v.messages(57, 3*time.Second)
		publish(t, js, list[:20]...)
		all = append(all, list...)
		s, stop := running(t, js, quickSettings())
		until(t, "the service is live", reaches(s, list[19].Sequence))
		publish(t, js, list[20:]...)
		until(t, "every event is in", reaches(s, list[56].Sequence))
		stop()
		if got, want := snapshotOf(s), folded(all); !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d events\ngot  %+v\nwant %+v", len(all), got, want)
		}
		// What was read is dropped: only the checkpoint knows it now.
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(list[56].Sequence+1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLostCheckpointIsRebuiltFromTheStream(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	list := newVenue(12, 3, 30).messages(200, time.Second)
	publish(t, js, list...)
	s, stop := running(t, js, quickSettings())
	until(t, "live", reaches(s, 200))
	stop()
	store, err := js.ObjectStore(t.Context(), "guest-occupancy-state")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"garbage": func() error {
			_, err := store.PutBytes(t.Context(), s.checkpointName(), []byte("not a checkpoint"))
			return err
		},
		"gone": func() error { return js.DeleteObjectStore(t.Context(), "guest-occupancy-state") },
	} {
		if err := spoil(); err != nil {
			t.Fatal(name, err)
		}
		again, stop := running(t, js, quickSettings())
		until(t, "live again", reaches(again, 200))
		if got, want := snapshotOf(again), folded(list); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, want)
		}
		if !again.Status().Exact {
			t.Errorf("%s: the whole stream was read, so the state is exact", name)
		}
		stop()
	}
}

func TestMissingPastIsSaid(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	publish(t, js, newVenue(13, 2, 20).messages(50, time.Second)...)
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(20)); err != nil {
		t.Fatal(err)
	}
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 50))
	if s.Status().Exact {
		t.Error("19 events were dropped before they were read, and the state claims to be exact")
	}
}

func TestRecreatedStreamStartsOver(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	publish(t, js, newVenue(14, 3, 30).messages(120, time.Second)...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 120))
	epoch := s.Status().Epoch
	if err := js.DeleteStream(t.Context(), s.settings.Stream); err != nil {
		t.Fatal(err)
	}
	until(t, "the loss is noticed", func() bool { return s.Status().State == Disconnected })
	makeStream(t, js)
	v := newVenue(15, 2, 5)
	v.account = "other"
	list := v.messages(30, time.Second)
	publish(t, js, list...)
	until(t, "the new stream is in", func() bool { st := s.Status(); return st.Epoch != epoch && reaches(s, 30)() })
	if got, want := snapshotOf(s), folded(list); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	kv, err := js.KeyValue(t.Context(), "guest-occupancy")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the bucket holds the new stream's locations alone", func() bool {
		keys, err := kv.Keys(t.Context())
		if err != nil {
			return false
		}
		for _, k := range keys {
			if !bytes.HasPrefix([]byte(k), []byte("other.")) {
				return false
			}
		}
		return len(keys) == len(s.state.Places(""))
	})
}

func TestLostTailOfTheStreamStartsOver(t *testing.T) {
	dir, kept := t.TempDir(), t.TempDir()
	ns := startServer(t, dir, -1)
	port := portOf(t, ns.Addr().String())
	js := connect(t, ns)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{"guest.sessions.*.*.*"}}); err != nil {
		t.Fatal(err)
	}
	restart := func(between func() error) {
		ns.Shutdown()
		ns.WaitForShutdown()
		if err := between(); err != nil {
			t.Fatal(err)
		}
		ns = startServer(t, dir, port)
	}
	list := newVenue(16, 3, 30).messages(80, time.Second)
	publish(t, js, list[:60]...)
	restart(func() error { return os.CopyFS(kept, os.DirFS(dir)) })
	js = connect(t, ns)
	publish(t, js, list[60:]...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 80))
	before := s.Status().Epoch
	// The server loses power, and with it what it had acknowledged and not synced.
	restart(func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.CopyFS(dir, os.DirFS(kept))
	})
	until(t, "sequences mean other events", func() bool { return s.Status().Epoch != before && reaches(s, 60)() })
	if got, want := snapshotOf(s), folded(list[:60]); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestDeletedLastMessageChangesNothing: the state is what was read, also where that
// left the stream since.
func TestDeletedLastMessageChangesNothing(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	list := newVenue(16, 3, 30).messages(80, time.Second)
	publish(t, js, list...)
	s, stop := running(t, js, quickSettings())
	until(t, "live", reaches(s, 80))
	stop()
	for _, sequence := range []uint64{80, 40} {
		if err := stream.DeleteMsg(t.Context(), sequence); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := running(t, js, quickSettings())
	until(t, "live", reaches(again, 80))
	if got, want := snapshotOf(again), folded(list); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestStreamMadeAgainKeepsWhoIsOnline: guestflow itself made it in place of one that
// was deleted, so the sessions are the same, though some may have ended between.
func TestStreamMadeAgainKeepsWhoIsOnline(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	come, leave, later := crowdEvents()
	publish(t, js, come...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 30))
	before := s.Status().Epoch
	if err := js.DeleteStream(t.Context(), events.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, Storage: jetstream.MemoryStorage,
		Metadata: map[string]string{events.MetadataMade: events.MadeAgain},
	}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, come[20:]...) // what the publisher still keeps
	publish(t, js, leave[:10]...)
	until(t, "the new stream is read", func() bool { return s.Status().Epoch != before && reaches(s, 20)() })
	look := func() Location {
		s.mu.RLock()
		defer s.mu.RUnlock()
		l, _ := s.state.Location(Place{Account: events.DefaultAccount, Location: "bar"}, minutes(131), 0)
		return l
	}
	if l := look(); l.Online != 20 || l.Uncertain != 20 {
		t.Errorf("%d online, %d uncertain; 20 of 30 were not heard of", l.Online, l.Uncertain)
	}
	publish(t, js, later...)
	until(t, "all is read", reaches(s, 20+uint64(len(later))))
	if l := look(); l.Online != 4 || l.Uncertain != 0 {
		t.Errorf("%d online, %d uncertain in the end; 4 are online", l.Online, l.Uncertain)
	}
}

func TestServiceOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	ns := startServer(t, dir, -1)
	js := connect(t, ns)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "GUEST_SESSIONS", Subjects: []string{"guest.sessions.*.*.*"}}); err != nil {
		t.Fatal(err)
	}
	v := newVenue(17, 3, 30)
	all := v.messages(60, time.Second)
	publish(t, js, all...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 60))
	port := ns.Addr().String()
	ns.Shutdown()
	ns.WaitForShutdown()
	until(t, "the loss is noticed", func() bool { return s.Status().State == Disconnected })
	if st := s.Status(); st.Error == "" {
		t.Error("disconnected without a reason")
	}
	js = connect(t, startServer(t, dir, portOf(t, port)))
	more := v.messages(60, time.Second)
	publish(t, js, more...)
	all = append(all, more...)
	until(t, "live again", reaches(s, 120))
	if got, want := snapshotOf(s), folded(all); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestUnreadableMessagesAreCountedAndSkipped(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	if _, err := js.Publish(t.Context(), "guest.sessions.a.b.started", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	publish(t, js, newVenue(18, 1, 5).messages(3, time.Second)...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 4))
	if c := s.state.Counters(); c.Unreadable != 1 || c.Events != 3 {
		t.Errorf("%+v", c)
	}
}

func TestBucketHoldsWhatTheStateSays(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	makeStream(t, js)
	v := newVenue(19, 6, 40)
	publish(t, js, v.messages(150, time.Second)...)
	s, _ := running(t, js, quickSettings())
	until(t, "live", reaches(s, 150))
	same := func() bool {
		kv, err := js.KeyValue(t.Context(), "guest-occupancy")
		if err != nil {
			return false
		}
		s.mu.RLock()
		want := s.state.Locations(nil, s.now(), 0)
		s.mu.RUnlock()
		for _, l := range want {
			entry, err := kv.Get(t.Context(), Key(Place{l.Account, l.ID}))
			if err != nil || !reflect.DeepEqual(decode[Location](t, entry.Value()), l) {
				return false
			}
		}
		return len(want) > 0
	}
	until(t, "the bucket is equal", same)
	publish(t, js, v.messages(20, time.Second)...)
	until(t, "the bucket follows", func() bool { return reaches(s, 170)() && same() })
	if err := js.DeleteKeyValue(t.Context(), "guest-occupancy"); err != nil {
		t.Fatal(err)
	}
	until(t, "the bucket is made anew", same)
}

func TestKeyIsOneToOneAndValid(t *testing.T) {
	seen := map[string]Place{}
	for _, p := range []Place{{"", ""}, {"a", "b"}, {"a.b", ""}, {"a", "=62"}, {"a", "b c"}, {"ä", "*"}, {"a=", "62"}, {"a", "b/c"}, {"a", "b>"}} {
		k := Key(p)
		if other, twice := seen[k]; twice {
			t.Errorf("%v and %v share key %s", p, other, k)
		}
		seen[k] = p
	}
	if k := Key(Place{"default", "oWNe6 XW"}); k != "default.oWNe6=20XW" {
		t.Errorf("key %s", k)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, s := range map[string]Settings{
		"private without token": {Private: true},
		"unmasked with token":   {Unmasked: true, Token: "x"},
		"origin with a path":    {Origins: []string{"https://a.example/x"}},
		"bucket":                {Bucket: "a b"},
		"prefix":                {Prefix: "a..b"},
	} {
		if err := New(s).Run(t.Context(), nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRunIsForOnce(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	s, stop := running(t, js, quickSettings())
	until(t, "it runs", s.running.Load)
	stop()
	if err := s.Run(t.Context(), js); !errors.Is(err, ErrRunning) {
		t.Errorf("second Run: %v", err)
	}
}

// unread refuses to read checkpoints a few times, as a server that is slow or just starts does.
type unread struct {
	jetstream.JetStream
	times *atomic.Int32 // as often as this
}

func (u unread) ObjectStore(ctx context.Context, name string) (jetstream.ObjectStore, error) {
	if u.times.Add(-1) >= 0 {
		return nil, context.DeadlineExceeded
	}
	return u.JetStream.ObjectStore(ctx, name)
}

// TestCheckpointThatCannotBeReadNowIsReadLater: it alone knows of who came before what the
// stream still has.
func TestCheckpointThatCannotBeReadNowIsReadLater(t *testing.T) {
	js := connect(t, startServer(t, t.TempDir(), -1))
	stream := makeStream(t, js)
	list := newVenue(16, 3, 30).messages(80, time.Second)
	publish(t, js, list...)
	settings := quickSettings()
	s, stop := running(t, js, settings)
	until(t, "live", reaches(s, 80))
	stop()
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(70)); err != nil {
		t.Fatal(err)
	}
	var times atomic.Int32
	times.Store(2)
	again, _ := running(t, unread{js, &times}, settings)
	until(t, "live", reaches(again, 80))
	if st := again.Status(); !st.Exact {
		t.Errorf("what left the stream counts as unknown: %+v", st)
	}
}

// TestMissingRightToTheCheckpointIsNotWaitedFor: it does not come by waiting.
func TestMissingRightToTheCheckpointIsNotWaitedFor(t *testing.T) {
	users := []*server.User{{Username: "all", Password: "x"}, {Username: "some", Password: "x", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.OBJ_guest-occupancy-state"}},
	}}}
	ns := natstest.Run(t, &server.Options{JetStream: true, Users: users})
	as := func(user string) jetstream.JetStream {
		nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo(user, "x"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	makeStream(t, as("all"))
	publish(t, as("all"), newVenue(16, 3, 30).messages(20, time.Second)...)
	settings, now := quickSettings(), time.Now()
	settings.Now = func() time.Time { return now }
	s, _ := running(t, as("some"), settings)
	until(t, "live", reaches(s, 20))
}
