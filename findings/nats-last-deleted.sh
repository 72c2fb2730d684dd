#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# The last message of a stream is deleted, as it may be when a person is to be forgotten;
# two are left. Asked for the last message of "visits.>", which is every subject that the
# stream has, JetStream gives the one before, as expected. Asked for the last of ">", which
# is the same, it says that there is none. So too a consumer with DeliverLast: with the
# filter "visits.>" it begins with the message before, without one or with ">" it has
# nothing to deliver, as if the stream were empty. (There the server takes the stream's
# last sequence, without looking whether that message is still there.) File and memory
# alike, direct get or not.
# Guessed before: the last message that there is, however one asks.
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
	for _, c := range []jetstream.StreamConfig{
		{Storage: jetstream.FileStorage},
		{Storage: jetstream.FileStorage, AllowDirect: true},
		{Storage: jetstream.MemoryStorage},
	} {
		c.Name, c.Subjects = "VISITS", []string{"visits.>"}
		show(js, c)
	}
}

func show(js jetstream.JetStream, c jetstream.StreamConfig) {
	ctx := context.Background()
	stream, err := js.CreateStream(ctx, c)
	must(err)
	for _, subject := range []string{"visits.hall", "visits.bar", "visits.hall"} {
		_, err := js.Publish(ctx, subject, nil)
		must(err)
	}
	must(stream.DeleteMsg(ctx, 3))
	info, err := stream.Info(ctx)
	must(err)
	fmt.Println(c.Storage, "direct", c.AllowDirect, "messages", info.State.Msgs)
	for _, subject := range []string{"visits.>", ">"} {
		m, err := stream.GetLastMsgForSubject(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			fmt.Println("last of", subject, "none")
		case err != nil:
			panic(err)
		default:
			fmt.Println("last of", subject, m.Sequence)
		}
	}
	for _, filter := range []string{"visits.>", ">", ""} {
		consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPolicy, FilterSubject: filter})
		must(err)
		fmt.Printf("consumer of %q has %d\n", filter, consumer.CachedInfo().NumPending)
	}
	must(js.DeleteStream(ctx, c.Name))
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
for kind in "File direct false" "File direct true" "Memory direct false"; do
	cat <<EOF
$kind messages 2
last of visits.> 2
last of > none
consumer of "visits.>" has 1
consumer of ">" has 0
consumer of "" has 0
EOF
done >want
cat seen
diff want seen
