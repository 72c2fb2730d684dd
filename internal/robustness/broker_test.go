package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
)

// TestBrokerAnswersAsTheServerDoes: the same messages, some of them where they are not
// expected, some of them twice, some in batches, get the same answers from the broker
// in memory and from a real nats-server.
func TestBrokerAnswersAsTheServerDoes(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	js := server.JetStream()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{"guest.sessions.*.*.*"}, Storage: jetstream.FileStorage, AllowAtomicPublish: true, Duplicates: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker()
	b.log.atomic, b.log.window = true, time.Hour
	fake, err := b.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	random := rand.New(rand.NewPCG(1, 2))
	refusals := make(map[float64]int)
	for n := range 400 {
		for _, m := range drawn(random, n) {
			real, ours := ask1(t, js.Conn(), m), ask1(t, fake, m)
			if !reflect.DeepEqual(real, ours) {
				t.Fatalf("message %d, %v\nserver: %v\nbroker: %v", n, m.Header, real, ours)
			}
			if e, ok := real["error"].(map[string]any); ok {
				refusals[e["err_code"].(float64)]++
			}
		}
	}
	if len(refusals) < 4 {
		t.Errorf("too few kinds of refusal came up: %v", refusals)
	}
}

// drawn are the messages of one attempt: one, or a batch.
func drawn(random *rand.Rand, n int) []*nats.Msg {
	of := func() *nats.Msg {
		m := nats.NewMsg("guest.sessions." + []string{"a", "b"}[random.IntN(2)] + ".place.started")
		m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint("id", n-random.IntN(2)*random.IntN(3), random.IntN(2)))
		m.Header.Set(jetstream.ExpectedStreamHeader, []string{events.DefaultStream, events.DefaultStream, events.DefaultStream, "OTHER"}[random.IntN(4)])
		return m
	}
	if random.IntN(3) > 0 {
		m := of()
		switch random.IntN(5) {
		case 0:
			m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(random.IntN(2)*n/2))
			m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, "guest.sessions.a.*.*")
		case 1:
			m.Header.Set(jetstream.ExpectedLastSeqHeader, fmt.Sprint(n/2))
		case 2:
			m.Header.Set(jetstream.ExpectedLastMsgIDHeader, fmt.Sprint("id", n-1, random.IntN(2)))
		}
		return []*nats.Msg{m}
	}
	var batch []*nats.Msg
	for i := range 2 + random.IntN(3) {
		m := of()
		m.Header.Set(jetstream.ExpectedStreamHeader, events.DefaultStream)
		m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint("batch", n-random.IntN(2)*random.IntN(4), i))
		m.Header.Set("Nats-Batch-Id", fmt.Sprint("b", n))
		m.Header.Set("Nats-Batch-Sequence", fmt.Sprint(i+1))
		batch = append(batch, m)
	}
	batch[len(batch)-1].Header.Set("Nats-Batch-Commit", "1")
	return batch
}

// ask1 sends a message and returns the answer, without the words of a refusal.
func ask1(t *testing.T, nc *nats.Conn, m *nats.Msg) map[string]any {
	t.Helper()
	got, err := nc.RequestMsg(m, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(map[string]any)
	if len(got.Data) == 0 {
		return answer
	}
	if err := json.Unmarshal(got.Data, &answer); err != nil {
		t.Fatal(err)
	}
	if e, ok := answer["error"].(map[string]any); ok {
		return map[string]any{"error": map[string]any{"err_code": e["err_code"]}}
	}
	return answer
}
