// Package natstest runs real NATS servers with JetStream in tests, on free ports of
// the loopback address. It imports nothing of the project, so that the tests of
// every package can use it.
package natstest

import (
	"fmt"
	"net"
	"net/url"
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

// Run runs a server with options of the test's own until it ends, and returns it when it
// takes connections. It listens on the loopback address, on a free port unless they name
// one, and keeps JetStream's files in a directory of the test unless they do.
func Run(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s := start(t, o)
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// Cluster runs three servers that replicate JetStream.
func Cluster(t testing.TB) (all []*server.Server) {
	t.Helper()
	var free []net.Listener // all at once, so that each has another port
	var routes []*url.URL
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, l)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	for _, l := range free {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range free {
		all = append(all, Run(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), JetStream: true, Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, Routes: routes,
		}))
	}
	return all
}

func start(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.JetStream && o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		s.Shutdown()
		t.Fatal("the NATS server does not accept connections")
	}
	return s
}

// Start starts a server that was stopped, and returns when it takes connections.
func (s *Server) Start() {
	s.t.Helper()
	s.server = start(s.t, &server.Options{Port: s.port, JetStream: true, StoreDir: s.dir})
	s.port = s.server.Addr().(*net.TCPAddr).Port
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
	js, err := jetstream.New(Connect(s.t, s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0)))
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// Connect connects for the time of the test, and waits for longer than the client does by
// itself: a server in a process full of other tests may take seconds to answer.
func Connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, append([]nats.Option{nats.Timeout(time.Minute)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// CreateStream makes a stream in the server's files.
func (s *Server) CreateStream(name string, subjects ...string) {
	s.t.Helper()
	_, err := s.JetStream().CreateStream(s.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.FileStorage})
	if err != nil {
		s.t.Fatal(err)
	}
}
