package publisher

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

// TestReplicatedStreamChangesItsLeader: the expectations hold in a cluster too,
// where the server checks them before the messages before are stored, and while
// the stream's leader moves from one server to another.
func TestReplicatedStreamChangesItsLeader(t *testing.T) {
	js := connect(t, natstest.Cluster(t)[0].ClientURL())
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for {
		// The cluster has to elect a leader first.
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := EnsureStream(try, js, StreamSettings{Name: testStream, Replicas: 3})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	one, two := newMemory("one"), newMemory("two")
	p1, w1 := newTestPublisher(js, one, Atomic)
	p2, w2 := newTestPublisher(js, two, Chained)
	run(t, p1)
	run(t, p2)
	total := 0
	for range 6 {
		one.add(100)
		two.add(100)
		total += 100
		w1.until(t, "account one to go on", func() bool { return w1.sent > total-100 })
		if err := stepDown(ctx, js); err != nil {
			t.Fatal(err)
		}
	}
	w1.until(t, "account one", func() bool { return w1.sent == total })
	w2.until(t, "account two", func() bool { return w2.sent == total })
	if w1.healed+w2.healed > 0 {
		t.Errorf("took a change of leader for a loss: %d healed", w1.healed+w2.healed)
	}
	holdsExactly(t, js, one, two)
}

func stepDown(ctx context.Context, js jetstream.JetStream) error {
	for ctx.Err() == nil {
		request, cancel := context.WithTimeout(ctx, time.Second)
		m, err := js.Conn().RequestWithContext(request, "$JS.API.STREAM.LEADER.STEPDOWN."+testStream, nil)
		cancel()
		if err == nil && len(m.Data) > 0 {
			return nil
		}
	}
	return errors.Join(errors.New("the stream's leader does not step down"), ctx.Err())
}
