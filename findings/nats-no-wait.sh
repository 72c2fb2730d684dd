#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# A pull with no_wait is answered at once: with what there is, or with 404. But when the
# JetStream consumer has as many messages out as MaxAckPending allows, it is not answered
# at all: the server keeps it, without an end since it names none, and the message it then
# waits for comes when another one is acknowledged. A paused consumer, which does not
# deliver either, does answer at once. FetchNoWait of the client library sees no
# answer, gives up after a second of its own, and tells neither by an error nor otherwise
# that messages are there; whoever calls it before the acknowledgements of what the last
# call brought reads a second slower each time.
# Guessed before: 404 or 409 at once.
# Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var ctx = context.Background()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	dir, err := os.MkdirTemp(".", "js")
	must(err)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(err)
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		panic("not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(err)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "VISITS", Subjects: []string{"visits"}})
	must(err)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "empty"})
	must(err)
	pull(nc, "empty", "nothing there")
	for range 3 {
		_, err := js.Publish(ctx, "visits", nil)
		must(err)
	}
	later := time.Now().Add(time.Hour)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "paused", PauseUntil: &later})
	must(err)
	pull(nc, "paused", "paused")

	full, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: "full", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, MaxAckPending: 1})
	must(err)
	first, err := full.Next()
	must(err)
	began := time.Now()
	batch, err := full.FetchNoWait(1)
	must(err)
	got := 0
	for range batch.Messages() {
		got++
	}
	fmt.Println("FetchNoWait:", got, "messages, error", batch.Error(), "a second later:", time.Since(began) >= time.Second)
	answers := pull(nc, "full", "full")
	info, err := full.Info(ctx)
	must(err)
	fmt.Println("pulls waiting:", info.NumWaiting, "messages to come:", info.NumPending)
	must(first.Ack())
	m, err := answers.NextMsg(20 * time.Second)
	must(err)
	meta, err := m.Metadata()
	must(err)
	fmt.Println("after the ack: message", meta.Sequence.Stream)
}

// pull asks the server itself, as the client library would.
func pull(nc *nats.Conn, consumer, what string) *nats.Subscription {
	answers, err := nc.SubscribeSync(nc.NewInbox())
	must(err)
	must(nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.VISITS."+consumer, answers.Subject, []byte(`{"batch":1,"no_wait":true}`)))
	m, err := answers.NextMsg(3 * time.Second)
	switch {
	case errors.Is(err, nats.ErrTimeout):
		fmt.Println(what+":", "no answer")
	case err != nil:
		panic(err)
	default:
		fmt.Println(what+":", m.Header.Get("Status"), m.Header.Get("Description"))
	}
	return answers
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
nothing there: 404 No Messages
paused: 404 No Messages
FetchNoWait: 0 messages, error <nil> a second later: true
full: no answer
pulls waiting: 1 messages to come: 2
after the ack: message 2
EOF
cat seen
diff want seen
