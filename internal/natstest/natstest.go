// Package natstest runs real NATS servers with JetStream in tests, on free ports of
// the loopback address. It imports nothing of the project, so that the tests of
// every package can use it.
package natstest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is a NATS server whose port and files outlive Stop and Start. It ends
// with the test.
type Server struct {
	t      testing.TB
	dir    string
	port   int
	server *server.Server
}

// New starts a server with file storage in a directory of the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	s.Start()
	t.Cleanup(func() { s.Stop() })
	return s
}

// Start starts a server that was stopped, and returns when it takes connections.
func (s *Server) Start() {
	s.t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(20 * time.Second) {
		s.t.Fatal("the NATS server does not accept connections")
	}
	s.server, s.port = ns, ns.Addr().(*net.TCPAddr).Port
}

// Stop ends the server as an orderly shutdown does, and waits for that.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// URL is where the server listens, whether it runs or not.
func (s *Server) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(s.port) }

// JetStream returns JetStream on a connection of its own, which comes back soon
// after a restart of the server and ends with the test.
func (s *Server) JetStream() jetstream.JetStream {
	s.t.Helper()
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// CreateStream makes a stream in the server's files.
func (s *Server) CreateStream(name string, subjects ...string) {
	s.t.Helper()
	_, err := s.JetStream().CreateStream(s.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.FileStorage})
	if err != nil {
		s.t.Fatal(err)
	}
}
