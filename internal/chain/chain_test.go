package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

func message(id string) *nats.Msg {
	return &nats.Msg{Subject: "c." + id, Header: nats.Header{jetstream.MsgIDHeader: {id}}}
}

// stored returns the ids in a stream, in order.
func stored(t *testing.T, stream jetstream.Stream) (ids []string) {
	t.Helper()
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= info.State.LastSeq; n++ {
		m, err := stream.GetMsg(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get(jetstream.MsgIDHeader))
	}
	return ids
}

// madeOn returns a stream on a server, or one in three replicas, once there is a leader.
func madeOn(t *testing.T, replicas int) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	url := ""
	if replicas == 1 {
		url = natstest.New(t).URL()
	} else {
		url = natstest.Cluster(t)[0].ClientURL()
	}
	js, err := jetstream.New(natstest.Connect(t, url))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "C", Subjects: []string{"c.*"}, Replicas: replicas})
		if cancel(); err == nil {
			return js, stream
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestAChainIsStoredWhole and in order, many messages at a time.
func TestAChainIsStoredWhole(t *testing.T) {
	js, stream := madeOn(t, 1)
	w := New(js, stream.CachedInfo().Config, 0)
	var want []string
	for n := range 2 * maxUnacked {
		want = append(want, strconv.Itoa(n))
		if err := w.Publish(t.Context(), message(want[n])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, stream); !slices.Equal(got, want) || w.Last() != uint64(len(want)) {
		t.Errorf("%d messages are stored, and the last is said to be %d, want %d", len(got), w.Last(), len(want))
	}
}

// TestNothingAfterABreakIsStored: where another writer was first, none of a chain is stored
// behind one that was refused, however many others make later sequences fit again.
func TestNothingAfterABreakIsStored(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		js, stream := madeOn(t, replicas)
		for others := range 4 {
			before := len(stored(t, stream))
			w := New(js, stream.CachedInfo().Config, uint64(before))
			err := interrupted(t, js, w, others)
			if err == nil {
				err = w.Settle(t.Context())
			}
			own := slices.DeleteFunc(stored(t, stream)[before:], func(id string) bool { return !strings.HasPrefix(id, "own") })
			want := 10
			if others > 0 {
				want = 3
			}
			if len(own) != want || errors.Is(err, ErrOther) != (others > 0) {
				t.Errorf("%d replicas, with %d of another between: %q are stored, and the error is %v", replicas, others, own, err)
			}
		}
	}
}

// interrupted publishes ten messages of a chain, and so many of another writer behind the third.
func interrupted(t *testing.T, js jetstream.JetStream, w *Writer, others int) error {
	t.Helper()
	for n := range 10 {
		for range others {
			if n != 3 {
				break
			}
			if _, err := js.PublishMsg(t.Context(), message(strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Publish(t.Context(), message(fmt.Sprintf("own-%d-%d", others, n))); err != nil {
			return err
		}
	}
	return nil
}
