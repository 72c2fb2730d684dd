#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# A stream with AllowMsgCounter answers an increment with the counter's new
# value ("val"). An increment that is sent again under its Nats-Msg-Id, since the
# answer was lost, is rightly not counted twice; but that answer has no value at
# all, neither the first one's nor the present one's. Nor has the answer to an
# atomic batch of increments. Whoever counts exactly once has to read the value
# by itself. Guessed before: both answers bear the value.
# Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
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
	stream, err := js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: "C", Subjects: []string{"visits.>"}, AllowMsgCounter: true, AllowAtomicPublish: true, AllowDirect: true,
	})
	must(err)
	send := func(what string, headers ...string) {
		m := nats.NewMsg("visits.hall")
		for i := 0; i < len(headers); i += 2 {
			m.Header.Set(headers[i], headers[i+1])
		}
		reply, err := nc.RequestMsg(m, 5*time.Second)
		must(err)
		if len(reply.Data) == 0 { // a part of a batch
			return
		}
		var ack struct {
			Value     *string `json:"val"`
			Duplicate bool    `json:"duplicate"`
		}
		must(json.Unmarshal(reply.Data, &ack))
		value := "none"
		if ack.Value != nil {
			value = *ack.Value
		}
		fmt.Println(what, "duplicate", ack.Duplicate, "value", value)
	}
	send("first", "Nats-Incr", "+5", "Nats-Msg-Id", "a")
	send("again", "Nats-Incr", "+5", "Nats-Msg-Id", "a")
	send("other", "Nats-Incr", "+7", "Nats-Msg-Id", "b")
	for i := 1; i <= 2; i++ {
		headers := []string{"Nats-Incr", "+1", "Nats-Batch-Id", "batch", "Nats-Batch-Sequence", strconv.Itoa(i)}
		if i == 2 {
			headers = append(headers, "Nats-Batch-Commit", "1")
		}
		send("batch", headers...)
	}
	m, err := stream.GetLastMsgForSubject(context.Background(), "visits.hall")
	must(err)
	fmt.Println("stored", string(m.Data))
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
first duplicate false value 5
again duplicate true value none
other duplicate false value 12
batch duplicate false value none
stored {"val":"14"}
EOF
cat seen
diff want seen
