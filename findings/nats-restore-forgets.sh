#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# A stream that is restored from a backup holds every message with its Nats-Msg-Id,
# but the server knows none of these ids: a publisher that repeats its last message
# within the duplicate window gets it stored once more, and
# Nats-Expected-Last-Msg-Id is compared with an empty id. When the server is started
# again it reads the ids from the messages, and knows those of before the restore.
# Guessed before: ids are known after a restore as they are after a start.
# And a stream that has the restored one as its source takes it for another, and
# copies everything once more; it tells by the end of Nats-Stream-Source, which the
# restore changes. Guessed before: it goes on where it was, as a mirror does.
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
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	ctx = context.Background()
	nc  *nats.Conn
	js  jetstream.JetStream
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func start(dir string) *server.Server {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(err)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		panic("not ready")
	}
	nc, err = nats.Connect(s.ClientURL())
	must(err)
	js, err = jetstream.New(nc)
	must(err)
	return s
}

func ask(subject string, v any) []byte {
	b, err := json.Marshal(v)
	must(err)
	m, err := nc.Request(subject, b, 20*time.Second)
	must(err)
	return m.Data
}

func send(what, id, last string) {
	m := nats.NewMsg("visits.hall")
	m.Header.Set("Nats-Msg-Id", id)
	if last != "" {
		m.Header.Set("Nats-Expected-Last-Msg-Id", last)
	}
	reply, err := nc.RequestMsg(m, 20*time.Second)
	must(err)
	var ack struct {
		Seq       uint64
		Duplicate bool
		Error     struct{ Description string }
	}
	must(json.Unmarshal(reply.Data, &ack))
	fmt.Printf("%s: seq %d duplicate %v %s\n", what, ack.Seq, ack.Duplicate, ack.Error.Description)
}

func messages(name string) uint64 {
	s, err := js.Stream(ctx, name)
	must(err)
	return s.CachedInfo().State.Msgs
}

func await(name string, n uint64) {
	for deadline := time.Now().Add(2 * time.Minute); messages(name) < n; {
		if time.Now().After(deadline) {
			panic(fmt.Sprint(name, " has ", messages(name)))
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Println(name, "has", messages(name))
}

// restore backs up, deletes and restores, and speaks the server's API as the nats command does.
func restore(name string) {
	s, err := js.Stream(ctx, name)
	must(err)
	inbox := nc.NewRespInbox()
	chunks, err := nc.SubscribeSync(inbox)
	must(err)
	ask("$JS.API.STREAM.SNAPSHOT."+name, map[string]any{"deliver_subject": inbox, "chunk_size": 1 << 16})
	var archive [][]byte
	for {
		m, err := chunks.NextMsg(20 * time.Second)
		must(err)
		if len(m.Data) == 0 {
			break
		}
		archive = append(archive, m.Data)
		if m.Reply != "" {
			must(m.Respond(nil))
		}
	}
	must(js.DeleteStream(ctx, name))
	var to struct {
		Subject string `json:"deliver_subject"`
	}
	must(json.Unmarshal(ask("$JS.API.STREAM.RESTORE."+name, map[string]any{"config": s.CachedInfo().Config, "state": s.CachedInfo().State}), &to))
	for _, chunk := range archive {
		_, err := nc.Request(to.Subject, chunk, 20*time.Second)
		must(err)
	}
	_, err = nc.Request(to.Subject, nil, 20*time.Second)
	must(err)
}

func main() {
	dir, err := os.MkdirTemp(".", "js")
	must(err)
	s := start(dir)
	for _, c := range []jetstream.StreamConfig{
		{Name: "VISITS", Subjects: []string{"visits.>"}, Duplicates: 2 * time.Minute},
		{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: "VISITS"}}},
		{Name: "MIRROR", Mirror: &jetstream.StreamSource{Name: "VISITS"}},
	} {
		_, err := js.CreateStream(ctx, c)
		must(err)
	}
	send("first", "a", "")
	send("second", "b", "a")
	send("second again", "b", "")
	await("COPY", 2)
	await("MIRROR", 2)
	restore("VISITS")
	send("restored, after b", "c", "b")
	send("restored, second again", "b", "")
	await("COPY", 5)
	await("MIRROR", 3)
	s.Shutdown()
	s.WaitForShutdown()
	s = start(dir)
	defer s.Shutdown()
	send("started again, first again", "a", "")
	send("started again, after b", "c", "b")
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . >seen
cat >want <<'EOF'
first: seq 1 duplicate false 
second: seq 2 duplicate false 
second again: seq 2 duplicate true 
COPY has 2
MIRROR has 2
restored, after b: seq 0 duplicate false wrong last msg ID: 
restored, second again: seq 3 duplicate false 
COPY has 5
MIRROR has 3
started again, first again: seq 1 duplicate true 
started again, after b: seq 4 duplicate false 
EOF
cat seen
diff want seen
