#!/bin/sh
# Versions: nats-server 2.15.2 (embedded), nats.go 1.55.0.
# ObjectStore.Get returns an object that is read as a stream of bytes. With a context
# that has no deadline, the client library's default of 5 s for a request bounds not
# the request but all of the reading: who pauses for 6 s after the first kilobyte of a
# megabyte gets "nats: timeout" in the midst of it. With a deadline of a minute on the
# same context the same reading succeeds. So context.Background, which elsewhere waits
# longest, waits least here, and large objects over slow links come cut off.
# Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	store, err := js.CreateObjectStore(context.Background(), jetstream.ObjectStoreConfig{Bucket: "B"})
	must(err)
	_, err = store.PutBytes(context.Background(), "o", bytes.Repeat([]byte("x"), 1<<20))
	must(err)
	long, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, ctx := range map[string]context.Context{"without a deadline": context.Background(), "with one of a minute": long} {
		o, err := store.Get(ctx, "o")
		must(err)
		n, err := io.ReadFull(o, make([]byte, 1000))
		must(err)
		time.Sleep(6 * time.Second) // what is done with that much
		rest, err := io.Copy(io.Discard, o)
		fmt.Println(name, int64(n)+rest == 1<<20, err)
	}
}
GO
go mod init finding 2>/dev/null
go get github.com/nats-io/nats-server/v2/server@v2.15.2 github.com/nats-io/nats.go/jetstream@v1.55.0 2>got || { cat got >&2; exit 1; }
go run . | sort >seen
cat >want <<'EOF'
with one of a minute true <nil>
without a deadline false nats: timeout
EOF
cat seen
diff want seen
