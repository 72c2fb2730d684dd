#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# NakWithDelay asks for a message to be delivered again after a delay. On a
# JetStream consumer without BackOff it is, each time. On one with BackOff
# [1s 4s] this holds for the first delivery only: the second one, refused with
# a delay of 200 ms, comes back after 3.2 s, which is the delay plus what the
# BackOff of this delivery has more than its first step. (The server sets the
# message's time back by AckWait, that is BackOff[0], but compares it with the
# BackOff of the current delivery.) No error, no warning.
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
	ctx := context.Background()
	st, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	must(err)
	_, err = js.Publish(ctx, "s", nil)
	must(err)
	for _, backoff := range [][]time.Duration{nil, {time.Second, 4 * time.Second}} {
		cfg := jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second, MaxDeliver: 5, BackOff: backoff}
		c, err := st.CreateConsumer(ctx, cfg)
		must(err)
		var nak time.Time
		for i := 1; i <= 3; i++ {
			m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
			must(err)
			if i > 1 {
				fmt.Println("backoff", backoff, "delivery", i, time.Since(nak).Round(100*time.Millisecond))
			}
			nak = time.Now()
			must(m.NakWithDelay(200 * time.Millisecond))
		}
	}
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
backoff [] delivery 2 200ms
backoff [] delivery 3 200ms
backoff [1s 4s] delivery 2 200ms
backoff [1s 4s] delivery 3 3.2s
EOF
cat seen
diff want seen
