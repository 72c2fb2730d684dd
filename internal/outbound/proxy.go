package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ParseProxy reads the URL of an HTTP proxy. The error does not repeat it, since it may
// hold a password.
func ParseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("must be http://host:port of a proxy, or https://host:port, with user:password@ before the host where it asks for them")
	}
	return u, nil
}

// Tunnel dials through an HTTP proxy by CONNECT: what passes is for the other end
// alone, whatever its protocol.
type Tunnel struct {
	Proxy *url.URL // see ParseProxy
	// RootCAs judge the certificate of an https proxy; nil means the system's.
	RootCAs *x509.CertPool
	// Timeout bounds the way through the proxy where the context does not; zero means
	// 15 s.
	Timeout time.Duration
}

// Dial is DialContext for callers without a context, such as package nats.
func (t *Tunnel) Dial(network, address string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, address)
}

// DialContext returns a connection to an address, whose name, if it is one, the proxy
// resolves. Errors name the proxy's host and no password.
func (t *Tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := t.reach(ctx, network)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", t.Proxy.Host, err)
	}
	// Whatever ends the context breaks the exchange off.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = t.connect(conn, address)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", t.Proxy.Host, err)
	}
	return conn, nil
}

// reach connects to the proxy itself.
func (t *Tunnel) reach(ctx context.Context, network string) (net.Conn, error) {
	port := t.Proxy.Port()
	secure := t.Proxy.Scheme == "https"
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[secure]
	}
	address := net.JoinHostPort(t.Proxy.Hostname(), port)
	if secure {
		d := tls.Dialer{Config: &tls.Config{RootCAs: t.RootCAs, ServerName: t.Proxy.Hostname(), MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// connect asks for the tunnel.
func (t *Tunnel) connect(conn net.Conn, address string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u := t.Proxy.User; u != nil {
		password, _ := u.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	// Neither TLS nor NATS' client is ahead of this end, but a NATS server speaks
	// first: not a byte may be read beyond the answer's header.
	in := bufio.NewReaderSize(io.LimitReader(&oneByOne{conn}, maxHeader), 16)
	answer, err := http.ReadResponse(in, request)
	if err != nil {
		return fmt.Errorf("its answer to CONNECT: %w", err)
	}
	answer.Body.Close()
	return refusal(address, answer.StatusCode)
}

// maxHeader bounds a proxy's answer, in bytes.
const maxHeader = 64 << 10

// refusal is the error that a proxy's answer to CONNECT amounts to.
func refusal(address string, status int) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w (HTTP 407); give its URL as http://user:password@host:port", ErrProxyCredentials)
	}
	return fmt.Errorf("%w to %s (HTTP %d); have it permit CONNECT there", ErrProxyRefuses, address, status)
}

// ProxyAnswered is an http.Transport's OnProxyConnectResponse that says what is wrong,
// and with which proxy.
func ProxyAnswered(_ context.Context, proxy *url.URL, request *http.Request, answer *http.Response) error {
	if err := refusal(request.Host, answer.StatusCode); err != nil {
		return fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return nil
}

// What a proxy may answer.
var (
	// ErrProxyCredentials: it wants a user and password, or others.
	ErrProxyCredentials = errors.New("the proxy does not accept the credentials")
	// ErrProxyRefuses: it does not connect to this address.
	ErrProxyRefuses = errors.New("the proxy does not connect")
)

// oneByOne reads a byte at a time, so that a buffer behind it takes no more than is
// asked of it.
type oneByOne struct{ conn net.Conn }

func (o *oneByOne) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return o.conn.Read(b[:1])
}
