#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# A pull of JetStream asks for ten messages, gets the four that there are, and its
# subscriber goes away while the pull is still open at the server. Then all four are
# given back by NAK, in order, and somebody else fetches. One would expect 1 2 3 4, as
# the server sends again in the order of the naks. It sends 2 3 4 1: the first message
# that came back was meant for the pull nobody waits for, and went to the end of the queue
# when that was noticed. To read is to change: whoever asks for the consumer's info before
# the naks gets 1 2 3 4, since the server drops dead pulls when it counts those that wait.
# Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
	js, err := jetstream.New(nc)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	must(err)
	for n := range 4 {
		_, err = js.Publish(ctx, "s", []byte{byte('1' + n)})
		must(err)
	}
	for _, asked := range []bool{false, true} {
		c, err := js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
		must(err)
		name := c.CachedInfo().Name
		// A pull for more than there is stays open at the server for its 30 s.
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		must(err)
		must(nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.S."+name, inbox, []byte(`{"batch":10,"expires":30000000000}`)))
		var got []*nats.Msg
		for range 4 {
			m, err := sub.NextMsg(5 * time.Second)
			must(err)
			got = append(got, m)
		}
		must(sub.Unsubscribe())
		must(nc.Flush())
		if asked {
			_, err = c.Info(ctx)
			must(err)
		}
		for _, m := range got {
			must(nc.Publish(m.Reply, []byte("-NAK")))
		}
		must(nc.Flush())
		fmt.Print("info asked ", asked, ":")
		batch, err := c.Fetch(4, jetstream.FetchMaxWait(5*time.Second))
		must(err)
		for m := range batch.Messages() {
			fmt.Print(" ", string(m.Data()))
		}
		must(batch.Error())
		fmt.Println()
	}
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
info asked false: 2 3 4 1
info asked true: 1 2 3 4
EOF
cat seen
diff want seen
