package visit

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/blackhole"
	"github.com/guestflow/guestflow/internal/natstest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	breath := time.NewTicker(2 * time.Millisecond)
	defer breath.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-breath.C:
		case <-timeout:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// trial is a NATS server with a stream of session events, and services on it.
type trial struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream
	list   []Message
	sent   int
	looked atomic.Int64 // Unix milliseconds
	over   atomic.Bool  // the clock goes on by itself, a minute each time it is asked
}

func newTrial(t *testing.T, list []Message) *trial {
	t.Helper()
	tr := &trial{t: t, server: natstest.New(t), list: list}
	tr.server.CreateStream(events.DefaultStream, events.Subjects{}.All())
	tr.js = tr.server.JetStream()
	return tr
}

func (tr *trial) settings() Settings {
	return Settings{
		Rules: testRules(), TickEvery: 2 * time.Millisecond, CheckpointEvery: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(tr.t.Output(), nil)),
		LookedAt: func(string) time.Time {
			if tr.over.Load() {
				return time.UnixMilli(tr.looked.Add(60_000)).UTC()
			}
			return time.UnixMilli(tr.looked.Load()).UTC()
		},
	}
}

// start runs a service until the returned function, or the test, ends it.
func (tr *trial) start() (s *Service, stop func()) {
	tr.t.Helper()
	return tr.startWith(tr.settings())
}

func (tr *trial) startWith(settings Settings) (s *Service, stop func()) {
	tr.t.Helper()
	return tr.startOn(tr.server.JetStream(), settings)
}

func (tr *trial) startOn(js jetstream.JetStream, settings Settings) (s *Service, stop func()) {
	tr.t.Helper()
	s = New(settings)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, js) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tr.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			stacks := make([]byte, 1<<20)
			tr.t.Errorf("Run does not end:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	})
	tr.t.Cleanup(stop)
	return s, stop
}

// publish stores the next n session events.
func (tr *trial) publish(n int) {
	tr.t.Helper()
	for ; n > 0 && tr.sent < len(tr.list); n-- {
		e := tr.list[tr.sent].Event
		until(tr.t, "the event is stored", func() bool { // the server may have been restarted just now
			_, err := tr.js.Publish(tr.t.Context(), events.Subjects{}.Of(e), encoded(tr.t, e), jetstream.WithMsgID(e.ID))
			return err == nil
		})
		tr.sent++
		tr.looked.Store(e.Data.Observed.At.UnixMilli())
	}
}

func (tr *trial) reached(s *Service) func() bool {
	return func() bool {
		st := s.Status()
		return st.Live && st.Sequence == uint64(tr.sent)
	}
}

// ended lets time go on until nobody is left, and returns what the stream has.
func (tr *trial) ended(s *Service) []Output {
	tr.t.Helper()
	until(tr.t, "every event is in", tr.reached(s))
	tr.over.Store(true)
	until(tr.t, "every visit is over", func() bool { st := s.Status(); return st.Open == 0 && st.Live })
	return tr.stored()
}

// stored reads the stream of visits.
func (tr *trial) stored() (out []Output) {
	tr.t.Helper()
	stream, err := tr.js.Stream(tr.t.Context(), visits.DefaultStream)
	if err != nil {
		tr.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(tr.t.Context(), seq)
		if err != nil {
			tr.t.Fatal(err)
		}
		e, err := visits.Decode(m.Data)
		if err != nil {
			tr.t.Fatal(err)
		}
		if subject := (visits.Subjects{}).Of(e); m.Subject != subject || m.Header.Get(jetstream.MsgIDHeader) != e.ID || m.Header.Get(HeaderInput) == "" {
			tr.t.Errorf("message %d on %s, header %v; want %s, id %s", seq, m.Subject, m.Header, subject, e.ID)
		}
		out = append(out, Output{Event: e})
	}
	return out
}

// same holds the ended visits against those of the definition.
func same(t *testing.T, out []Output, all []stretch) {
	t.Helper()
	got, want := checked(t, out), expected(all, 1800)
	if len(got) != len(want) {
		t.Errorf("%d visits, want %d", len(got), len(want))
	}
	for k, w := range want {
		e, ok := got[k]
		v := e.Data.Visit
		if !ok || !v.EndedAt.Equal(w.to) || v.Sessions != w.sessions || v.Devices != w.devices || v.DownloadedBytes != w.bytes {
			t.Errorf("visit %+v, want %+v", v, w)
		}
	}
}

// checkpointBytes returns the stored checkpoint; nil while there is none.
func (tr *trial) checkpointBytes() []byte {
	store, err := tr.js.ObjectStore(tr.t.Context(), DefaultState)
	if err != nil {
		return nil
	}
	b, err := store.GetBytes(tr.t.Context(), checkpointName)
	if err != nil {
		return nil
	}
	return b
}

func (tr *trial) putCheckpoint(b []byte) {
	tr.t.Helper()
	store, err := tr.js.ObjectStore(tr.t.Context(), DefaultState)
	if err != nil {
		tr.t.Fatal(err)
	}
	if _, err := store.PutBytes(tr.t.Context(), checkpointName, b); err != nil {
		tr.t.Fatal(err)
	}
}

// TestRestartsLoseAndRepeatNothing: whatever of the service, its checkpoints and NATS is
// lost at whatever moment, the stream of visits is what it must be.
func TestRestartsLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 5))
			told, all := crowd(r, 8, 120)
			tr := newTrial(t, told.messages())
			s, stop := tr.start()
			var old []byte
			for tr.sent < len(tr.list) {
				tr.publish(1 + r.IntN(40))
				switch r.IntN(6) {
				case 0:
					stop()
					s, stop = tr.start()
				case 1: // as after a crash: the last checkpoint is an older one
					stop()
					if old != nil {
						tr.putCheckpoint(old)
					}
					s, stop = tr.start()
				case 2:
					tr.server.Stop()
					tr.server.Start()
				case 3:
					until(t, "every event is in", tr.reached(s))
					if b := tr.checkpointBytes(); b != nil {
						old = b
					}
				case 4: // the checkpoint is lost
					stop()
					if err := tr.js.DeleteObjectStore(t.Context(), DefaultState); err != nil {
						t.Log(err) // there was none yet
					}
					old = nil
					s, stop = tr.start()
				}
			}
			same(t, tr.ended(s), all)
		})
	}
}

// TestTimeWaitsForWhatIsStored: that time came does not mean that what was stored until
// then has arrived here.
func TestTimeWaitsForWhatIsStored(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(13, 5)), 8, 120)
	tr := newTrial(t, told.messages())
	settings, step := tr.settings(), testRules().Lateness-time.Second
	settings.LookedAt = func(string) time.Time {
		until := time.UnixMilli(tr.looked.Load()).Add(step)
		for tr.sent < len(tr.list) && !tr.list[tr.sent].Event.Data.Observed.At.After(until) {
			tr.publish(1)
		}
		tr.looked.Store(until.UnixMilli())
		return until.UTC()
	}
	tr.publish(1)
	s, stop := tr.startWith(settings)
	until(t, "every event is stored", func() bool { return s.Status().Sequence == uint64(len(tr.list)) })
	until(t, "every visit is over", func() bool { st := s.Status(); return st.Open == 0 && st.Live })
	stop()
	same(t, tr.stored(), all)
}

// TestTimeGoesOnWhereNobodyHereLooks: it is this machine's then, corrected by the stream.
func TestTimeGoesOnWhereNobodyHereLooks(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(12, 5)), 4, 30)
	tr := newTrial(t, told.messages())
	var ahead atomic.Int64
	settings := tr.settings()
	settings.LookedAt = func(string) time.Time { return time.Time{} }
	settings.Now = func() time.Time {
		if tr.over.Load() {
			ahead.Add(int64(time.Minute))
		}
		return time.Now().Add(time.Duration(ahead.Load()))
	}
	s := New(settings)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, tr.js) }()
	tr.publish(len(tr.list))
	same(t, tr.ended(s), all)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTwoProcessesPublishOnce: one of them does it, whichever is first.
func TestTwoProcessesPublishOnce(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(9, 5)), 8, 60)
	tr := newTrial(t, told.messages())
	a, stopA := tr.start()
	b, _ := tr.start()
	tr.publish(len(tr.list) / 2)
	until(t, "one of them has read it", func() bool { return tr.reached(a)() || tr.reached(b)() })
	stopA()
	tr.publish(len(tr.list))
	same(t, tr.ended(b), all)
}

// TestVisitsAreMadeAnewWhereTheirStreamIs: with the same ids.
func TestVisitsAreMadeAnewWhereTheirStreamIs(t *testing.T) {
	t.Parallel()
	told, all := crowd(rand.New(rand.NewPCG(11, 5)), 5, 40)
	tr := newTrial(t, told.messages())
	s, _ := tr.start()
	tr.publish(len(tr.list))
	first := tr.ended(s)
	if err := tr.js.DeleteStream(t.Context(), visits.DefaultStream); err != nil {
		t.Fatal(err)
	}
	_, stop := tr.start()
	stop()
	again, _ := tr.start()
	until(t, "the stream is there", func() bool { _, err := tr.js.Stream(t.Context(), visits.DefaultStream); return err == nil })
	second := tr.ended(again)
	same(t, second, all)
	ids := map[string]bool{}
	for _, o := range second {
		ids[o.Event.ID] = true
	}
	for _, o := range first {
		if !ids[o.Event.ID] {
			t.Errorf("lacks %+v", o.Event)
		}
		delete(ids, o.Event.ID)
	}
	for _, o := range second {
		if ids[o.Event.ID] {
			t.Errorf("has %+v beside", o.Event)
		}
	}
}

func TestSettingsThatCannotWorkAreNamed(t *testing.T) {
	t.Parallel()
	for want, settings := range map[string]Settings{
		"location a is in the groups x and y":              {Rules: Rules{Groups: map[string][]string{"x": {"a"}, "y": {"a"}}}},
		"a stay of 1.5s: use whole seconds":                {Rules: Rules{Stays: []time.Duration{1500 * time.Millisecond}}},
		"must not be negative":                             {Rules: Rules{Gap: -time.Second}},
		"location a of account d is in the groups x and y": {Rules: Rules{Groups: map[string][]string{"x": {"a"}}, Grouped: []Grouped{{"d", "a", "y"}}}},
		"location b of account d is in the groups y and z": {Rules: Rules{Grouped: []Grouped{{"d", "b", "y"}, {"e", "b", "z"}, {"d", "b", "z"}}}},
		"a group has no name":                              {Rules: Rules{Groups: map[string][]string{"": {"a"}}}},
		"of visits: subject prefix":                        {VisitPrefix: "a b"},
	} {
		if err := New(settings).Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestErrorIsNoLostConnection: what fails while the connection stands is called what it is.
func TestErrorIsNoLostConnection(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, nil)
	settings := tr.settings()
	settings.Stream = "NONE"
	s, _ := tr.startWith(settings)
	until(t, "it cannot go on", func() bool { return s.Status().Error != "" })
	if told := s.Status().Error; !strings.Contains(told, "stream NONE does not exist") {
		t.Error(told)
	}
}

// TestCheckpointIsGivenUpWhereNobodyAnswers: looking up where it belongs takes no longer than
// any request, though writing a large one may.
func TestCheckpointIsGivenUpWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(natstest.Run(t, &server.Options{JetStream: true}).ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	hole, err := blackhole.To(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hole.Close)
	nc, err := nats.Connect("nats://" + hole.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	hole.Forget()
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(10*time.Second, cancel).Stop()
	if err := New(Settings{Rules: testRules()}).save(ctx, js, checkpoint{}); err == nil || ctx.Err() != nil {
		t.Errorf("error is %v, want that of a request that nobody answers", err)
	}
}
