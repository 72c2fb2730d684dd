package retention

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/consume"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/natstest"
)

// told is the n-th event: of a guest with an address of their own.
func told(n int) events.Event {
	e := full()
	e.Data.Session.ID, e.Data.Session.DeviceMAC = fmt.Sprint("s", n), fmt.Sprintf("02:00:00:00:00:%02x", n%256)
	e.Data.Guest.Email = fmt.Sprintf("guest-%d@example.org", n)
	e.Data.Session.Downloaded.Value = int64(n)
	e.Data.Previous = nil
	return e.Sealed()
}

type bench struct {
	*testing.T
	js       jetstream.JetStream
	dir      string
	replicas int // of each stream
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, dir: t.TempDir(), replicas: 1}
	return b.on(natstest.Run(t, &server.Options{JetStream: true, StoreDir: b.dir}))
}

func (b *bench) on(s *server.Server) *bench {
	b.Helper()
	js, err := jetstream.New(natstest.Connect(b, s.ClientURL()))
	if err != nil {
		b.Fatal(err)
	}
	b.js = js
	return b
}

func (b *bench) stream(name string, c jetstream.StreamConfig) jetstream.Stream {
	b.Helper()
	c.Name, c.Replicas = name, b.replicas
	var s jetstream.Stream
	b.eventually("stream "+name+" is made", func() (is bool) { // a cluster has no leader at first
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		defer cancel()
		var err error
		s, err = b.js.CreateStream(ctx, c)
		return err == nil
	})
	return s
}

// publish puts events from one number to before another into the stream.
func (b *bench) publish(from, to int) {
	b.Helper()
	for n := from; n < to; n++ {
		e := told(n)
		body, err := events.Encode(e)
		if err != nil {
			b.Fatal(err)
		}
		m := &nats.Msg{Subject: events.Subjects{}.Of(e), Data: body, Header: nats.Header{jetstream.MsgIDHeader: {e.ID}}}
		if _, err := b.js.PublishMsg(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}

// holds reads the events of a stream.
func (b *bench) holds(name string) (all []events.Event) {
	b.Helper()
	stream, err := b.js.Stream(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	err = consume.Past(b.Context(), stream, consume.FromStart(), nil, func(m jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
		e, err := events.Decode(m.Data())
		all = append(all, e)
		return true, err
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// expect fails unless a copy has the events up to a number, each once and in order, without
// what it lacks and otherwise as they were.
func (b *bench) expect(c Copy, n int) {
	b.Helper()
	got := b.holds(c.Stream(events.DefaultStream))
	if len(got) != n {
		b.Fatalf("%s has %d events, want %d", c.Stream(events.DefaultStream), len(got), n)
	}
	for i := range got {
		body, err := events.Encode(told(i))
		if err != nil {
			b.Fatal(err)
		}
		want, err := events.Decode(body)
		if err != nil {
			b.Fatal(err)
		}
		if c.strip(&want); !reflect.DeepEqual(got[i], want) {
			b.Fatalf("event %d is\n%+v, want\n%+v", i, got[i], want)
		}
	}
}

func (b *bench) eventually(what string, is func() bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after a minute still not: %s", what)
		}
	}
}

func (b *bench) run(s Settings) (k *Keeper, stop func()) {
	s.Sources = append(s.Sources, Source{Stream: events.DefaultStream, Prefix: events.DefaultPrefix})
	s.Log = slog.New(slog.DiscardHandler)
	s.Replicas = b.replicas
	k = New(s)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx, b.js); err != nil {
			b.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	b.Cleanup(stop)
	return k, stop
}

func (b *bench) size(name string) int {
	stream, err := b.js.Stream(b.Context(), name)
	if err != nil {
		return -1
	}
	return int(stream.CachedInfo().State.Msgs)
}

var both = Policy{Fields: map[Field]time.Duration{Email: 700 * time.Hour, Name: 700 * time.Hour, MAC: 2000 * time.Hour}, Events: 17520 * time.Hour}

// TestCopiesHaveEverythingOnce: whatever ends while it copies, and beside another one.
func TestCopiesHaveEverythingOnce(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		copyWithOthers(newBench(t))
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		b := &bench{T: t, replicas: 3}
		copyWithOthers(b.on(natstest.Cluster(t)[0]))
	})
}

func copyWithOthers(b *bench) {
	main := b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}, AllowDirect: true, MaxAge: 17520 * time.Hour})
	const each, rounds = 60, 8
	last := both.Copies()[1]
	for round := range rounds {
		b.publish(each*round, each*(round+1))
		_, stop := b.run(Settings{Policy: both})
		if round%2 == 1 {
			_, other := b.run(Settings{Policy: both})
			defer other()
		}
		reached := each*round + 7*round
		b.eventually(fmt.Sprint("copied beyond ", reached), func() bool { return b.size(last.Stream(events.DefaultStream)) > reached })
		stop()
	}
	k, _ := b.run(Settings{Policy: both})
	b.eventually("both are whole", func() bool {
		s := k.Status()
		return len(s) == 2 && !s[0].Whole.IsZero() && !s[1].Whole.IsZero()
	})
	for _, c := range both.Copies() {
		b.expect(c, each*rounds)
	}
	b.eventually("the stream with all fields keeps them for 700 hours", func() bool {
		info, err := main.Info(b.Context())
		return err == nil && info.Config.MaxAge == 700*time.Hour
	})
	for i, c := range both.Copies() {
		stream, err := b.js.Stream(b.Context(), c.Stream(events.DefaultStream))
		if err != nil {
			b.Fatal(err)
		}
		if got, want := stream.CachedInfo().Config.MaxAge, []time.Duration{2000 * time.Hour, 17520 * time.Hour}[i]; got != want {
			b.Errorf("%s keeps events for %v, want %v", c.Stream(""), got, want)
		}
	}
	b.expect(Copy{Without: []Field{Email, Name}}, each*rounds)
	if n := len(b.holds(events.DefaultStream)); n != each*rounds {
		b.Errorf("the stream has %d events, want all %d", n, each*rounds)
	}
}

// stored reports whether a text is in any file of the NATS server.
func (b *bench) stored(text string) (found string) {
	b.Helper()
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it has gone meanwhile
		}
		if body, err := os.ReadFile(path); err == nil && bytes.Contains(body, []byte(text)) {
			found = path
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// TestAFieldIsNowhereAfterItsTime: not in the server's files either, and the figures are
// there.
func TestAFieldIsNowhereAfterItsTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}, AllowDirect: true})
	b.stream("DEAD", jetstream.StreamConfig{Subjects: []string{"dead.*"}})
	if _, err := b.js.Publish(t.Context(), "dead.crm", []byte("guest-1@example.org")); err != nil {
		t.Fatal(err)
	}
	b.publish(0, 200)
	if b.stored("guest-1@example.org") == "" {
		t.Fatal("the test does not find what is there")
	}
	p := Policy{Fields: map[Field]time.Duration{Email: 2 * time.Second}}
	b.run(Settings{Policy: p, Others: []string{"DEAD", "ABSENT"}})
	b.eventually("the events have left the stream", func() bool { return b.size(events.DefaultStream) == 0 && b.size("DEAD") == 0 })
	b.expect(p.Copies()[0], 200)
	b.eventually("no file has an e-mail address", func() bool { return b.stored("@example.org") == "" })
	if b.stored("Ann's phone") == "" {
		t.Error("what has no time of its own has gone as well")
	}
	// The next events are copied, too.
	b.publish(200, 203)
	b.eventually("they are copied", func() bool { return b.size(p.Copies()[0].Stream(events.DefaultStream)) == 203 })
	b.expect(p.Copies()[0], 203)
}

// TestWhatIsOldAlreadyStaysForTheRest: a copy that is made late does not keep events for
// longer than one that was there from the start.
func TestWhatIsOldAlreadyStaysForTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}})
	c := &copying{Keeper: New(Settings{Log: slog.New(slog.DiscardHandler)}), source: Source{Stream: events.DefaultStream, Prefix: events.DefaultPrefix}, copy: Copy{[]Field{Email}, 100 * time.Hour}}
	body, err := events.Encode(told(1))
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]string{0: "", 30 * time.Hour: "70h", 100 * time.Hour: "none", 200 * time.Hour: "none"} {
		m := c.message(late{body}, &jetstream.MsgMetadata{Timestamp: time.Now().Add(-age)})
		got := "none"
		if m != nil {
			got = m.Header.Get(jetstream.MsgTTLHeader)
		}
		if d, err := time.ParseDuration(got); err == nil {
			got = strings.TrimSuffix(d.Round(time.Minute).String(), "0m0s")
		}
		if got != want {
			t.Errorf("%v old: kept for %q, want %q", age, got, want)
		}
	}
}

// late is a message with a body.
type late struct{ body []byte }

func (l late) Data() []byte                            { return l.body }
func (l late) Headers() nats.Header                    { return nats.Header{} }
func (late) Metadata() (*jetstream.MsgMetadata, error) { return nil, nil }
func (late) Subject() string                           { return "" }
func (late) Reply() string                             { return "" }
func (late) Ack() error                                { return nil }
func (late) DoubleAck(context.Context) error           { return nil }
func (late) Nak() error                                { return nil }
func (late) NakWithDelay(time.Duration) error          { return nil }
func (late) InProgress() error                         { return nil }
func (late) Term() error                               { return nil }
func (late) TermWithReason(string) error               { return nil }

// TestAStreamThatIsMadeAgainIsCopiedOn: events that are published once more are no further
// ones.
func TestAStreamThatIsMadeAgainIsCopiedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}}
	b.stream(events.DefaultStream, config)
	b.publish(0, 50)
	_, stop := b.run(Settings{Policy: both})
	last := both.Copies()[1]
	b.eventually("all is copied", func() bool { return b.size(last.Stream(events.DefaultStream)) == 50 })
	stop()
	if err := b.js.DeleteStream(t.Context(), events.DefaultStream); err != nil {
		t.Fatal(err)
	}
	config.Metadata = map[string]string{events.MetadataMade: events.MadeAgain}
	b.stream(events.DefaultStream, config)
	b.publish(30, 60) // from 30 on they were kept
	_, stop = b.run(Settings{Policy: both})
	b.eventually("all is copied", func() bool { return b.size(last.Stream(events.DefaultStream)) == 60 })
	stop()
	b.publish(60, 61)
	b.run(Settings{Policy: both})
	b.eventually("all is copied", func() bool { return b.size(last.Stream(events.DefaultStream)) == 61 })
	b.expect(last, 61)
}

// TestAFormerPolicyHoldsNobodyLonger: its streams stay, and lose what the present one says.
func TestAFormerPolicyHoldsNobodyLonger(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}})
	b.publish(0, 3)
	first := Policy{Fields: map[Field]time.Duration{Email: 700 * time.Hour}, Events: 17520 * time.Hour}
	_, stop := b.run(Settings{Policy: first})
	former := first.Copies()[0].Stream(events.DefaultStream)
	b.eventually("it is copied", func() bool { return b.size(former) == 3 })
	stop()
	b.run(Settings{Policy: both})
	b.eventually("the former copy, which has names, keeps them for 700 hours", func() bool {
		stream, err := b.js.Stream(t.Context(), former)
		return err == nil && stream.CachedInfo().Config.MaxAge == 700*time.Hour
	})
}

// TestDeclaredStreamsAreNotChanged: what is to be changed is told.
func TestDeclaredStreamsAreNotChanged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	main := b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}})
	b.publish(0, 3)
	p := Policy{Fields: map[Field]time.Duration{Email: 700 * time.Hour}, Events: 17520 * time.Hour}
	k, _ := b.run(Settings{Policy: p, Declared: true})
	says := func(text string) func() bool {
		return func() bool { return strings.Contains(k.Status()[0].Error, text) }
	}
	b.eventually("the copy is missed", says("GUEST_SESSIONS_WITHOUT_EMAIL: "))
	c := p.Copies()[0]
	b.stream(c.Stream(events.DefaultStream), jetstream.StreamConfig{Subjects: []string{c.Prefix(events.DefaultPrefix) + ".*.*.*"}, MaxAge: c.Age, AllowMsgTTL: true})
	b.eventually("the edit is named", says("nats stream edit GUEST_SESSIONS --max-age=700h"))
	b.expect(c, 3)
	info, err := main.Info(t.Context())
	if err != nil || info.Config.MaxAge != 0 {
		t.Errorf("the declared stream was changed: %v, %v", info.Config.MaxAge, err)
	}
}

// TestVisitsAndWhoIsForgotten: visits are copied as well, and nobody comes back by a copy.
func TestVisitsAndWhoIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}})
	b.stream(visits.DefaultStream, jetstream.StreamConfig{Subjects: []string{visits.Subjects{}.All()}})
	for _, guest := range []string{"ann", "bob", "carl"} {
		v := visits.Event{Account: "default", Kind: visits.Started, Time: noon, Data: visits.Data{Revision: 1, Guest: &events.Guest{Email: guest + "@x.org"}, Observed: visits.Observed{At: noon}}}
		v.Data.Visit = visits.Visit{ID: guest, Place: "bar", LocationID: "bar", Locations: []string{"bar"}, GuestID: guest, DeviceMAC: "m", StartedAt: noon, Arrival: visits.Seen, Identity: visits.ByGuest}
		body, err := visits.Encode(v.Sealed())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.js.Publish(t.Context(), visits.Subjects{}.Of(v), body); err != nil {
			t.Fatal(err)
		}
	}
	b.publish(0, 1)
	list := forgotten.NewList("key")
	list.Add([]string{forgotten.Mark("key", forgotten.GuestID, "", "ann"), forgotten.Mark("key", forgotten.Email, "", "carl@x.org"), forgotten.Mark("key", forgotten.GuestID, "", "guest 7")})
	p := Policy{Fields: map[Field]time.Duration{Email: 700 * time.Hour}}
	k, _ := b.run(Settings{Policy: p, Forgotten: list, Sources: []Source{{Stream: visits.DefaultStream, Prefix: visits.DefaultPrefix, Visits: true}}})
	b.eventually("both are whole", func() bool { s := k.Status(); return !s[0].Whole.IsZero() && !s[1].Whole.IsZero() })
	stream, err := b.js.Stream(t.Context(), "GUEST_VISITS_WITHOUT_EMAIL")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "bob", ""} {
		m, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		v, err := visits.Decode(m.Data)
		if err != nil || v.Data.Guest != nil || v.Data.Visit.GuestID != want || m.Subject != "guest.visits-without-email.default.bar.started" {
			t.Errorf("visit %d on %s is %+v, %v", i, m.Subject, v.Data, err)
		}
	}
	if e := b.holds("GUEST_SESSIONS_WITHOUT_EMAIL")[0]; e.Data.Session.GuestID != "" || e.Data.Session.DeviceMAC != "" {
		t.Errorf("who is forgotten is in the copy: %+v", e.Data.Session)
	}
}

// TestKeepersDoNotRace: of several processes, those that another one is ahead of let it copy
// for a while.
func TestKeepersDoNotRace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.stream(events.DefaultStream, jetstream.StreamConfig{Subjects: []string{events.Subjects{}.All()}, AllowDirect: true})
	policy := Policy{Fields: map[Field]time.Duration{Email: 700 * time.Hour}, Events: 17520 * time.Hour}
	name := policy.Copies()[0].Stream(events.DefaultStream)
	for range 4 {
		b.run(Settings{Policy: policy})
	}
	var begun atomic.Int64
	if _, err := b.js.Conn().Subscribe("$JS.API.CONSUMER.CREATE."+events.DefaultStream+".>", func(*nats.Msg) { begun.Add(1) }); err != nil {
		t.Fatal(err)
	}
	const n = 300
	for i := range n {
		b.publish(i, i+1)
		b.eventually(fmt.Sprint("event ", i, " is copied"), func() bool { return b.size(name) == i+1 })
	}
	b.expect(policy.Copies()[0], n)
	if begun := begun.Load(); begun > n {
		t.Errorf("the stream was begun to be read %d times for %d events", begun, n)
	}
}
