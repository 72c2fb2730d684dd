package platform

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestNoRequestGoesOutTwice: net/http sends a request again by itself where a connection that
// served others ends before the answer; the platform may have counted it by then, and the
// budget knows of one.
func TestNoRequestGoesOutTwice(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*httptest.Server){"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			countRequests(t, start)
		})
	}
}

func countRequests(t *testing.T, start func(*httptest.Server)) {
	var counted atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Length") != "" {
			t.Errorf("it came with a body: %d, %v", r.ContentLength, r.TransferEncoding)
		}
		if counted.Add(1)%2 == 0 { // the second over each connection
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
			return
		}
		_, _ = io.WriteString(w, `{"data":[]}`)
	}))
	start(server)
	t.Cleanup(server.Close)
	c, err := New(Config{BaseURL: server.URL, Transport: server.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	const asked = 6
	for n := range asked {
		_, err := c.Sessions(t.Context(), Query{})
		if ended := n%2 == 1; (err != nil) != ended {
			t.Errorf("request %d: error %v; the connection ended before its answer: %t", n+1, err, ended)
		}
	}
	if n := counted.Load(); n != asked {
		t.Errorf("the platform counted %d requests of %d", n, asked)
	}
}

// TestIdleConnectionIsLeft before the platform leaves it: a request that it closes one upon
// would be lost.
func TestIdleConnectionIsLeft(t *testing.T) {
	t.Parallel()
	left := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":[]}`) }))
	server.Config.ConnState = func(_ net.Conn, is http.ConnState) {
		if is == http.StateClosed {
			left <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c, err := New(Config{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Sessions(t.Context(), Query{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		t.Error("it is still open after half a minute")
	}
}
