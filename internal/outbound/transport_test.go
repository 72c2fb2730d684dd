package outbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/guestflow/guestflow/internal/blackhole"
)

// pipes is a listener of connections within the process, so that time can be virtual.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return mine, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// site is an HTTP server behind a proxy that can forget connections.
type site struct {
	proxy     *blackhole.Proxy
	transport *http.Transport
	h2        bool
}

// newSite serves over HTTP/2 or 1.1.
func newSite(t *testing.T, h2 bool, handler http.HandlerFunc) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"site.example"}, NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	inner, outer := newPipes(), newPipes()
	server := &http.Server{
		Handler: handler, Protocols: &protocols, ReadHeaderTimeout: time.Hour,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
	}
	go server.ServeTLS(inner, "", "") //nolint:errcheck // ends with Close
	s := &site{proxy: blackhole.New(outer, inner.dial), h2: h2}
	s.transport = &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, IdleConnTimeout: 90 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return outer.dial(ctx) },
	}
	t.Cleanup(func() { s.proxy.Close(); server.Close() })
	return s
}

// get makes one request with a time-out, reads the answer, and returns its error.
func (s *site) get(t *testing.T, client http.RoundTripper, path string, timeout time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://site.example"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.RoundTrip(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	if s.h2 != (w.ProtoMajor == 2) {
		t.Fatalf("it is answered over %s", w.Proto)
	}
	_, err = io.Copy(io.Discard, w.Body)
	return err
}

// timeout of a request in these tests, in virtual time.
const timeout = 15 * time.Second

func ok(http.ResponseWriter, *http.Request) {}

// TestForgottenConnectionIsLeftWithinTwoTimeOuts: whatever is dropped without a
// word, the second request at the latest is answered, and the first too if the
// connection was idle for a time-out before it.
func TestForgottenConnectionIsLeftWithinTwoTimeOuts(t *testing.T) {
	for name, c := range map[string]struct {
		h2   bool
		idle time.Duration // between the last answer and the next request
		lost int           // requests that may fail
	}{
		"HTTP/2, busy":   {true, 0, 1},
		"HTTP/2, idle":   {true, timeout + time.Second, 0},
		"HTTP/1.1, busy": {false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, c.h2, ok)
				client := NewTransport(s.transport, timeout)
				defer client.CloseIdleConnections()
				if err := s.get(t, client, "/", timeout); err != nil {
					t.Fatal(err)
				}
				s.proxy.Forget()
				time.Sleep(c.idle) // virtual
				begun := time.Now()
				lost := 0
				for s.get(t, client, "/", timeout) != nil {
					if lost++; lost > c.lost {
						t.Fatalf("%d requests in %v failed", lost, time.Since(begun))
					}
				}
				if took := time.Since(begun); took > 2*timeout {
					t.Errorf("the first answer came after %v", took)
				}
			})
		})
	}
}

// TestSilentRequestCostsItsConnection: a server that answers pings, and nothing that
// is asked over one connection, is asked over another.
func TestSilentRequestCostsItsConnection(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, h2, func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/headers":
						<-r.Context().Done()
					case "/body":
						_, _ = w.Write([]byte("begun"))
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
						panic(http.ErrAbortHandler) // lest the client still read a clean end
					}
				})
				client := NewTransport(s.transport, timeout)
				defer client.CloseIdleConnections()
				for i, path := range []string{"/headers", "/body"} {
					if err := s.get(t, client, path, timeout); !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("%s: %v", path, err)
					}
					if err := s.get(t, client, "/", timeout); err != nil {
						t.Fatal(err)
					}
					if made := s.proxy.Made(); made != i+2 {
						t.Errorf("after %s: %d connections, want %d", path, made, i+2)
					}
				}
			})
		})
	}
}

// TestRequestsUnderWaySurviveOneThatTimedOut: what else is asked over the same
// connection is answered, and a request that its caller breaks off costs nothing.
func TestRequestsUnderWaySurviveOneThatTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		s := newSite(t, true, func(_ http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/slow":
				<-answer
			case "/never":
				<-r.Context().Done()
			}
		})
		client := NewTransport(s.transport, timeout)
		defer client.CloseIdleConnections()
		if err := s.get(t, client, "/", timeout); err != nil {
			t.Fatal(err)
		}
		slow := make(chan error)
		go func() { slow <- s.get(t, client, "/slow", time.Hour) }()
		synctest.Wait()
		if err := s.get(t, client, "/never", timeout); err == nil {
			t.Fatal("answered")
		}
		close(answer)
		if err := <-slow; err != nil {
			t.Errorf("the other request: %v", err)
		}
		if err := s.get(t, client, "/", timeout); err != nil || s.proxy.Made() != 2 {
			t.Fatalf("%v after %d connections", err, s.proxy.Made())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://site.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := client.RoundTrip(r); err == nil {
			w.Body.Close()
			t.Fatal("sent after its end")
		}
		if err := s.get(t, client, "/", timeout); err != nil || s.proxy.Made() != 2 {
			t.Errorf("after a request was broken off: %v, %d connections", err, s.proxy.Made())
		}
	})
}
