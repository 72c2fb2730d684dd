package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Transport is an http.RoundTripper that does not stay with a dead connection. A NAT
// or firewall that forgets one drops its packets without a word, and a proxy may go on
// acknowledging what it passes to nobody; net/http alone goes on sending requests over
// such an HTTP/2 connection until the kernel gives it up, after 16 minutes or never.
//
// A connection on which nothing came in for half the time-out is pinged (HTTP/2), and
// closed where the answer takes as long again. After a request that ran into its
// deadline the next one goes over a new connection, as it does in HTTP/1.1; requests
// that are still under way on the old one may end.
type Transport struct {
	template *http.Transport

	mu      sync.Mutex
	current *http.Transport

	// A server has asked for a client certificate; one has answered a request.
	asked, answered atomic.Bool
}

// ErrCertificateWanted: a server that asked for a client certificate broke the
// connection off before it answered anything. What it says of that is often lost, since
// it comes after the handshake is over for this end.
var ErrCertificateWanted = errors.New("the server asks for a client certificate, and broke the connection off")

// NewTransport returns a Transport whose connections are made as t makes them, which
// must not be used itself any more. The time-out is that of the requests, whose
// contexts must have it as their deadline.
func NewTransport(t *http.Transport, timeout time.Duration) *Transport {
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: timeout / 2, PingTimeout: timeout / 2, WriteByteTimeout: timeout}
	made := &Transport{template: t}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLSClientConfig != nil {
		config = t.TLSClientConfig.Clone()
	}
	choose := config.GetClientCertificate
	config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		made.asked.Store(true)
		if choose != nil {
			return choose(r)
		}
		for i := range config.Certificates {
			if r.SupportsCertificate(&config.Certificates[i]) == nil {
				return &config.Certificates[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
	t.TLSClientConfig = config
	made.current = t.Clone()
	return made
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	used := t.current
	t.mu.Unlock()
	response, err := used.RoundTrip(r)
	if err != nil {
		t.ended(r.Context(), used)
		if t.asked.Load() && !t.answered.Load() && broken(err) {
			err = fmt.Errorf("%w: %w", ErrCertificateWanted, err)
		}
		return nil, err
	}
	t.answered.Store(true)
	response.Body = &body{response.Body, func() { t.ended(r.Context(), used) }}
	return response, nil
}

// broken reports that the other end closed the connection.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		strings.Contains(err.Error(), "http2: client conn could not be established") // what net/http makes of them
}

// ended gives up the connections of a transport with which a request ran into its
// deadline. Which of them it was is not known, and there is mostly one.
func (t *Transport) ended(ctx context.Context, used *http.Transport) {
	t.mu.Lock()
	if t.current == used && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.current = t.template.Clone()
	}
	old := t.current != used
	t.mu.Unlock()
	if old {
		used.CloseIdleConnections()
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current.CloseIdleConnections()
}

// body tells when its reader is done with it.
type body struct {
	io.ReadCloser
	done func()
}

func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
