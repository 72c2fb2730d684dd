package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// visits stores n events of sessions 1 to n, and returns the stream.
func visits(t *testing.T, b *natstest.Server, n int) jetstream.Stream {
	t.Helper()
	js := b.JetStream()
	for i := range n {
		publish(t, js, visit("l", fmt.Sprint(i+1)))
	}
	stream, err := js.Stream(t.Context(), events.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// sequences collects those of messages for Past.
type sequences struct {
	t    *testing.T
	seen []uint64
	then func(n int) (bool, error) // after the n-th; nil goes on
}

func (s *sequences) each(_ jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
	s.seen = append(s.seen, meta.Sequence.Stream)
	if s.then == nil {
		return true, nil
	}
	return s.then(len(s.seen))
}

// expect fails unless the sequences from first to last came, each once.
func (s *sequences) expect(first, last int) {
	s.t.Helper()
	if len(s.seen) != last-first+1 {
		s.t.Fatalf("%d messages came, want those from %d to %d", len(s.seen), first, last)
	}
	for i, seq := range s.seen {
		if seq != uint64(first+i) {
			s.t.Fatalf("message %d has sequence %d, want %d", i, seq, first+i)
		}
	}
}

// everything matches all events.
var everything = []string{events.Subjects{}.All()}

func TestPastEndsWithWhatThereWas(t *testing.T) {
	b := startBroker(t)
	stream := visits(t, b, 600)
	s := sequences{t: t}
	s.then = func(n int) (bool, error) {
		if n%100 == 0 { // none of these is read
			publish(t, b.JetStream(), visit("l", fmt.Sprint("later", n)))
		}
		return true, nil
	}
	if err := Past(t.Context(), stream, FromSequence(51), everything, s.each); err != nil {
		t.Fatal(err)
	}
	s.expect(51, 600)

	none := sequences{t: t}
	if err := Past(t.Context(), stream, FromStart(), []string{events.Subjects{}.Filter("", "elsewhere", "")}, none.each); err != nil {
		t.Fatal(err)
	}
	none.expect(1, 0)
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Consumers != 0 {
		t.Errorf("%d consumers are left on the server (error %v)", info.State.Consumers, err)
	}
}

func TestPastEndsWhereItIsTold(t *testing.T) {
	stream := visits(t, startBroker(t), 5)
	s := sequences{t: t, then: func(n int) (bool, error) { return n < 3, nil }}
	if err := Past(t.Context(), stream, FromStart(), everything, s.each); err != nil {
		t.Fatal(err)
	}
	s.expect(1, 3)

	refused := errors.New("refused")
	s = sequences{t: t, then: func(int) (bool, error) { return true, refused }}
	if err := Past(t.Context(), stream, FromStart(), everything, s.each); err != refused {
		t.Errorf("error is %v, want that of the function", err)
	}
	s.expect(1, 1)

	ctx, cancel := context.WithCancel(t.Context())
	s = sequences{t: t, then: func(int) (bool, error) { cancel(); return true, nil }}
	if err := Past(ctx, stream, FromStart(), everything, s.each); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v after its context ended", err)
	}
}

// TestPastDoesNotTakeSilenceForTheEnd: of a server that is away, the client library
// says after a second that it has no message.
func TestPastDoesNotTakeSilenceForTheEnd(t *testing.T) {
	b := startBroker(t)
	stream := visits(t, b, fetched+100)
	s := sequences{t: t}
	s.then = func(n int) (bool, error) {
		if n == fetched {
			b.Stop()
		}
		return true, nil
	}
	err := Past(t.Context(), stream, FromStart(), everything, s.each)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s after sequence %d", events.DefaultStream, fetched)) {
		t.Errorf("error is %v, want one that says how far it came", err)
	}
	s.expect(1, fetched)
}

func TestPastEndsWhenTheRestIsDeleted(t *testing.T) {
	stream := visits(t, startBroker(t), fetched+100)
	s := sequences{t: t}
	s.then = func(n int) (bool, error) {
		if n == fetched {
			return true, stream.Purge(t.Context())
		}
		return true, nil
	}
	if err := Past(t.Context(), stream, FromStart(), everything, s.each); err != nil {
		t.Fatal(err)
	}
	s.expect(1, fetched)
}

// TestPastSaysThatNothingComes: it does not ask for ever.
func TestPastSaysThatNothingComes(t *testing.T) {
	stream := mute{visits(t, startBroker(t), 5)}
	s := sequences{t: t}
	if err := Past(t.Context(), stream, FromStart(), everything, s.each); !errors.Is(err, errSilent) {
		t.Errorf("error is %v, want that the server sends nothing", err)
	}
	s.expect(1, 0)
}

// mute is a stream of whose consumers no message comes.
type mute struct{ jetstream.Stream }

func (m mute) CreateConsumer(ctx context.Context, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := m.Stream.CreateConsumer(ctx, c)
	if err != nil {
		return nil, err
	}
	gone, err := consumer.FetchNoWait(100)
	if err != nil {
		return nil, err
	}
	for range gone.Messages() {
	}
	return consumer, nil
}

// lagging is a stream of a cluster of two servers, on which consumers are made in turn: one
// has just been started again and holds nothing, and the other leads the stream.
type lagging struct {
	jetstream.Stream
	made     int
	leadless bool // no consumer is ever made on the leader
}

func (l *lagging) CachedInfo() *jetstream.StreamInfo {
	info := *l.Stream.CachedInfo()
	info.Cluster = &jetstream.ClusterInfo{Leader: "leader", Replicas: []*jetstream.PeerInfo{{Name: "another"}}}
	return &info
}

func (l *lagging) Info(ctx context.Context, o ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	if _, err := l.Stream.Info(ctx, o...); err != nil {
		return nil, err
	}
	return l.CachedInfo(), nil
}

func (l *lagging) CreateConsumer(ctx context.Context, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	consumer, err := l.Stream.CreateConsumer(ctx, c)
	if err != nil {
		return nil, err
	}
	info := *consumer.CachedInfo()
	info.Cluster = &jetstream.ClusterInfo{Leader: "leader"}
	if l.made++; l.leadless || l.made%3 != 0 {
		info.Cluster.Leader, info.NumPending = "another", 0
	}
	return &placed{consumer, &info}, nil
}

// placed is a consumer on a server.
type placed struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (p *placed) CachedInfo() *jetstream.ConsumerInfo { return p.info }

// TestPastDoesNotEndWithWhatOneServerHas: one of a cluster that was just started again says
// that nothing is pending, of all of a stream and of a part of it.
func TestPastDoesNotEndWithWhatOneServerHas(t *testing.T) {
	b := startBroker(t)
	whole := visits(t, b, 5)
	publish(t, b.JetStream(), visit("elsewhere", "6"))
	for name, c := range map[string]struct {
		from        From
		subjects    []string
		first, last int
	}{
		"all":        {FromStart(), everything, 1, 6},
		"a part":     {FromStart(), []string{events.Subjects{}.Filter("", "l", "")}, 1, 5},
		"of a place": {FromSequence(3), []string{events.Subjects{}.Filter("", "l", "")}, 3, 5},
		"of a time":  {FromTime(time.Unix(1, 0)), []string{events.Subjects{}.Filter("", "l", "")}, 1, 5},
		"none":       {FromStart(), []string{events.Subjects{}.Filter("", "nowhere", "")}, 1, 0},
		"to come":    {FromSequence(7), everything, 7, 6},
	} {
		stream, s := &lagging{Stream: whole}, sequences{t: t}
		if err := Past(t.Context(), stream, c.from, c.subjects, s.each); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.expect(c.first, c.last)

		s = sequences{t: t}
		if err := Past(t.Context(), &lagging{Stream: whole, leadless: true}, c.from, c.subjects, s.each); c.first < 7 && !errors.Is(err, ErrLagging) {
			t.Errorf("%s, and the leader cannot be read: error is %v, want that the server lags", name, err)
		}
		s.expect(c.first, c.first-1)
	}
	if err := Past(t.Context(), &lagging{Stream: whole, made: 2}, FromStart(), everything, func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error) { return false, nil }); err != nil {
		t.Errorf("told to end: %v", err)
	}
	names := whole.ConsumerNames(t.Context())
	for name := range names.Name() {
		t.Errorf("consumer %s is left", name)
	}
}

func TestCompleteIsToldByTheLeader(t *testing.T) {
	b := startBroker(t)
	whole := visits(t, b, 5)
	publish(t, b.JetStream(), visit("elsewhere", "6"))
	if _, err := whole.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	part := []string{events.Subjects{}.Filter("", "l", "")}
	for _, c := range []struct {
		subjects   []string
		read, last uint64
		want       error
	}{
		{part, 4, 6, ErrLagging}, {part, 5, 6, nil}, {part, 4, 4, nil}, {everything, 5, 6, ErrLagging}, {everything, 6, 6, nil}, {everything, 4, 4, nil}, {nil, 0, 6, ErrLagging},
	} {
		if err := Complete(t.Context(), &lagging{Stream: whole}, c.subjects, c.read, c.last); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%v read up to %d of %d: %v, want %v", c.subjects, c.read, c.last, err, c.want)
		}
	}
}

func TestPastReadsAgainWhatWasLostOnTheWay(t *testing.T) {
	b := startBroker(t)
	stream := visits(t, b, fetched+100)
	s := sequences{t: t}
	s.then = func(n int) (bool, error) {
		if n != fetched {
			return true, nil
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			consumer, err := stream.Consumer(t.Context(), name)
			if err != nil {
				return false, err
			}
			lost, err := consumer.FetchNoWait(10)
			if err != nil {
				return false, err
			}
			for range lost.Messages() {
			}
		}
		return true, nil
	}
	if err := Past(t.Context(), stream, FromStart(), everything, s.each); err != nil {
		t.Fatal(err)
	}
	s.expect(1, fetched+100)
}

// TestReaderSaysThatTheConnectionIsLost: at once, as whoever shows what it reads has
// to know.
func TestReaderSaysThatTheConnectionIsLost(t *testing.T) {
	b := startBroker(t)
	stream := visits(t, b, 2)
	nc := b.JetStream().Conn()
	r, err := Open(t.Context(), nc, stream, FromSequence(2), everything...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pending != 1 || r.Behind != 1 {
		t.Errorf("opened with %d pending behind sequence %d", r.Pending, r.Behind)
	}
	if _, meta, err := r.Next(); err != nil || meta.Sequence.Stream != 2 || meta.NumPending != 0 {
		t.Fatalf("came %+v, error %v", meta, err)
	}
	over := make(chan error, 1)
	go func() {
		_, _, err := r.Next()
		over <- err
	}()
	b.Stop()
	if err := receive(t, over, "the end of the reader"); !errors.Is(err, ErrAway) {
		t.Errorf("error is %v, want that the connection is lost", err)
	}
	r.Close()
	r.Close()
	if _, err := Open(t.Context(), nc, stream, FromStart(), everything...); !errors.Is(err, ErrAway) {
		t.Errorf("opening another: %v", err)
	}
}
