package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/publisher/embedded"
)

// host is what all consumers meet: the simulated platform and a NATS server.
type host struct {
	dir     string
	api     *httptest.Server
	nats    *embedded.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	records atomic.Int64 // that were served
	asked   atomic.Int64 // requests that were served
}

// perVenue is how many sessions a location has, on average.
const perVenue = 100

// throughput makes a session cross the threshold of traffic once in 800 s.
const throughput = 1250

// open starts both, for an estate of so many sessions; zero is no platform.
func (p Plan) open(ctx context.Context, online, limit int) (_ *host, err error) {
	h := &host{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.dir, err = os.MkdirTemp(p.Dir, "guestflow-bench-"); err != nil {
		return nil, fmt.Errorf("a directory for the benchmark: %w; name another one with --dir", err)
	}
	// Unsynced: how fast a disk syncs is not what is compared.
	h.nats, err = embedded.Start(ctx, embedded.Settings{
		Dir: filepath.Join(h.dir, "nats"), Listen: "127.0.0.1:0", SyncInterval: 2 * time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if h.conn, err = nats.Connect(h.nats.URL()); err != nil {
		return nil, err
	}
	if h.js, err = jetstream.New(h.conn); err != nil {
		return nil, err
	}
	if online == 0 {
		return h, nil
	}
	cfg := simulator.Config{
		Seed: 1, HasLocations: true, HasCount: true, Throughput: throughput, HistoryBefore: 10 * time.Minute,
		Stay: simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}, RateLimit: limit,
	}
	venues := max(1, online/perVenue)
	cfg.Locations = simulator.Venues("venue%05d", venues, float64(online)/float64(venues))
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	sim := simulator.New(cfg, time.Now)
	h.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sim.ServeHTTP(&counted{w, h}, r)
		h.asked.Add(1)
	}))
	return h, nil
}

func (h *host) close() {
	if h.api != nil {
		h.api.CloseClientConnections()
		h.api.Close()
	}
	if h.conn != nil {
		h.conn.Close()
	}
	if h.nats != nil {
		h.nats.Close()
	}
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
}

// counted counts the records that are served.
type counted struct {
	http.ResponseWriter
	host *host
}

func (c *counted) Write(b []byte) (int, error) {
	c.host.records.Add(int64(bytes.Count(b, []byte(`"guest_device_mac":`))))
	return c.ResponseWriter.Write(b)
}

// stored is how many messages a stream has taken.
func (h *host) stored(ctx context.Context, stream string) (uint64, error) {
	s, err := h.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", stream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}
