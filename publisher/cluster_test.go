package publisher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// startCluster starts three servers and returns the URL of the first.
func startCluster(t *testing.T) string {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		ports = append(ports, port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		l.Close()
	}
	var first *server.Server
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if i == 0 {
			first = s
		}
	}
	if !first.ReadyForConnections(patience) {
		t.Fatal("the cluster does not start")
	}
	return first.ClientURL()
}

// TestReplicatedStreamChangesItsLeader: the expectations hold in a cluster too,
// where the server checks them before the messages before are stored, and while
// the stream's leader moves from one server to another.
func TestReplicatedStreamChangesItsLeader(t *testing.T) {
	js := connect(t, startCluster(t))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for {
		// The cluster has to elect a leader first.
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := EnsureStream(try, js, StreamSettings{Name: testStream, Replicas: 3})
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	one, two := newMemory("one"), newMemory("two")
	p1, w1 := newTestPublisher(js, one, Atomic)
	p2, w2 := newTestPublisher(js, two, Chained)
	run(t, p1)
	run(t, p2)
	total := 0
	for range 6 {
		one.add(100)
		two.add(100)
		total += 100
		w1.until(t, "account one to go on", func() bool { return w1.sent > total-100 })
		if err := stepDown(ctx, js); err != nil {
			t.Fatal(err)
		}
	}
	w1.until(t, "account one", func() bool { return w1.sent == total })
	w2.until(t, "account two", func() bool { return w2.sent == total })
	if w1.healed+w2.healed > 0 {
		t.Errorf("took a change of leader for a loss: %d healed", w1.healed+w2.healed)
	}
	holdsExactly(t, js, one, two)
}

func stepDown(ctx context.Context, js jetstream.JetStream) error {
	for ctx.Err() == nil {
		request, cancel := context.WithTimeout(ctx, time.Second)
		m, err := js.Conn().RequestWithContext(request, "$JS.API.STREAM.LEADER.STEPDOWN."+testStream, nil)
		cancel()
		if err == nil && len(m.Data) > 0 {
			return nil
		}
	}
	return errors.Join(errors.New("the stream's leader does not step down"), ctx.Err())
}
