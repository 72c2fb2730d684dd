package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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

// TestBrokerTakesFastBatchesAsTheServerDoes: batches with a message missing, out of
// place or repeated, with others of them under way and with more than are permitted, get
// the same answers on the way and at the end.
func TestBrokerTakesFastBatchesAsTheServerDoes(t *testing.T) {
	t.Parallel()
	const limit = 40
	server := natstest.Run(t, &server.Options{JetStream: true, JetStreamLimits: server.JSLimitOpts{MaxBatchInflightPerStream: limit}})
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: events.DefaultStream, Subjects: []string{"guest.sessions.*.*.*"}, Storage: jetstream.FileStorage, AllowBatchPublish: true, Duplicates: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker()
	b.log.batched, b.log.fastLimit, b.log.window = true, limit, time.Hour
	fake, err := b.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	real, ours := conversing(t, nc), conversing(t, fake)
	random := rand.New(rand.NewPCG(3, 4))
	kinds := make(map[string]int)
	for n := range 600 {
		sent := drawnFast(random, n)
		theirs := real.say(t, sent)
		if got := ours.say(t, sent); !reflect.DeepEqual(theirs, got) {
			t.Fatalf("batch %d\nserver: %v\nbroker: %v", n, theirs, got)
		}
		for _, answer := range theirs {
			kinds[fmt.Sprint(answer["type"], answer["error"], answer["duplicate"])]++
		}
	}
	for _, kind := range []string{"ack", "gap", "10070", "10071", "10208", "10211", "true", "<nil> <nil> <nil>"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(kinds)), func(k string) bool { return strings.Contains(k, kind) }) {
			t.Errorf("no answer had %q: %v", kind, kinds)
		}
	}
}

// drawnFast are the messages of a fast batch, or a part of them; replies lack the inbox.
func drawnFast(random *rand.Rand, n int) (batch []*nats.Msg) {
	total := 1 + random.IntN(6)
	flow := 1 + random.IntN(4)
	lost := -1
	if random.IntN(4) == 0 {
		lost = random.IntN(total)
	}
	for i := range total {
		if i == lost {
			continue
		}
		m := nats.NewMsg("guest.sessions.a.place.started")
		id := func(n, i int) string { return fmt.Sprintf("f%d.%d", n, i) }
		m.Header.Set(jetstream.MsgIDHeader, id(n, i))
		if random.IntN(6) == 0 {
			m.Header.Set(jetstream.MsgIDHeader, id(max(0, n-1-random.IntN(3)), random.IntN(2)))
		}
		switch {
		case i > 0 && random.IntN(8) > 0:
			m.Header.Set(jetstream.ExpectedLastMsgIDHeader, id(n, i-1))
		case i == 0 && random.IntN(6) == 0:
			m.Header.Set(jetstream.ExpectedLastSeqHeader, fmt.Sprint(n))
		case i == 0 && random.IntN(20) == 0:
			m.Header.Set(jetstream.ExpectedStreamHeader, "OTHER")
		}
		operation := 1
		switch {
		case i == total-1 && random.IntN(12) > 0:
			operation = 2
		case i == 0:
			operation = 0
		}
		number := i + 1
		if random.IntN(25) == 0 {
			number = random.IntN(3)
		}
		m.Reply = fmt.Sprintf("b%d.%d.fail.%d.%d.$FI", n, flow, number, operation)
		batch = append(batch, m)
	}
	return batch
}

// conversation is what is sent on a connection, and what comes back.
type conversation struct {
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription
}

func conversing(t *testing.T, nc *nats.Conn) *conversation {
	t.Helper()
	c := &conversation{nc: nc, inbox: nats.NewInbox() + "."}
	var err error
	if c.sub, err = nc.SubscribeSync(c.inbox + ">"); err != nil {
		t.Fatal(err)
	}
	return c
}

// say sends messages, and returns all answers in their order. The last thing that it
// says is one that is refused: what comes before the answer to it is all.
func (c *conversation) say(t *testing.T, messages []*nats.Msg) (answers []map[string]any) {
	t.Helper()
	last := nats.NewMsg("guest.sessions.a.place.started")
	last.Header.Set(jetstream.ExpectedStreamHeader, "OTHER")
	last.Reply = "last"
	for _, m := range append(slices.Clip(messages), last) {
		sent := *m
		sent.Reply = c.inbox + m.Reply
		if err := c.nc.PublishMsg(&sent); err != nil {
			t.Fatal(err)
		}
	}
	for {
		got, err := c.sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject == c.inbox+"last" {
			return answers
		}
		answer := map[string]any{}
		if err := json.Unmarshal(got.Data, &answer); err != nil {
			t.Fatal(err)
		}
		if e, ok := answer["error"].(map[string]any); ok {
			answer["error"] = fmt.Sprint(e["err_code"], e["code"])
		}
		answer["to"] = strings.TrimPrefix(got.Subject, c.inbox)
		answers = append(answers, answer)
	}
}
