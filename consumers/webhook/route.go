package webhook

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/guestflow/guestflow/internal/handwritten"
	"github.com/guestflow/guestflow/internal/outbound"
)

// fieldNames are the settings of an entry that an error of TLS may be about.
var fieldNames = outbound.Names{URL: "url", CA: "ca", Cert: "client_cert", Key: "client_key"}

// route reads how the endpoint is reached: certificates and proxy.
func (l *loader) route(e *Endpoint, raw entry) (problems []error) {
	for _, file := range [...]struct {
		field, path string
		to          *[]byte
	}{{"ca", raw.CA, &e.pem.CA}, {"client_cert", raw.ClientCert, &e.pem.Cert}, {"client_key", raw.ClientKey, &e.pem.Key}} {
		if file.path == "" {
			continue
		}
		data, err := l.file(file.path)
		if err != nil {
			problems = append(problems, raw.wrong(file.field, fmt.Errorf("%w; name a PEM file that this user may read", err)))
		}
		*file.to = append([]byte{}, data...) // not nil: it is configured
	}
	if len(problems) == 0 {
		var err error
		if e.tls, err = e.pem.Config(fieldNames); err != nil {
			problems = append(problems, fmt.Errorf("line %d: endpoint %q: %w", raw.line, e.Name, err))
		}
	}
	if raw.Proxy == "" {
		return problems
	}
	value, err := l.reference(raw.Proxy)
	if err == nil {
		value, _ = handwritten.Unquoted(value)
		e.proxy, err = outbound.ParseProxy(value)
	}
	if err != nil {
		problems = append(problems, raw.wrong("proxy", err))
	}
	return problems
}

// file reads what an entry names. A relative path counts from the folder of the
// endpoints file.
func (l *loader) file(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.folder, path)
	}
	l.files = append(l.files, path) // also one that is still to be made
	return l.read(path)
}

// transport makes the endpoint's connections, only where allow says yes unless it
// permits private addresses. Names are resolved with resolver (nil: the system's).
func transport(e Endpoint, resolver *net.Resolver, allow func(netip.Addr) bool) *outbound.Transport {
	dialer := &net.Dialer{Timeout: e.Timeout, KeepAlive: 30 * time.Second, Resolver: resolver}
	if !e.AllowPrivate {
		dialer.Control = guard(allow)
	}
	dial := dialer.DialContext
	if e.proxy != nil {
		tunnel := &outbound.Tunnel{Proxy: e.proxy, Timeout: e.Timeout}
		if e.tls != nil {
			tunnel.RootCAs = e.tls.RootCAs
		}
		dial = tunnel.DialContext
		if !e.AllowPrivate {
			dial = guarded(tunnel, resolver, allow)
		}
	}
	return outbound.NewTransport(&http.Transport{
		Proxy:                  nil, // that of the environment would connect where guard cannot see
		DialContext:            dial,
		TLSClientConfig:        e.tls,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a small answer cannot grow
		MaxConnsPerHost:        e.Concurrency,
		MaxIdleConns:           e.Concurrency,
		MaxIdleConnsPerHost:    e.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    e.Timeout,
		MaxResponseHeaderBytes: maxAnswer,
	}, e.Timeout)
}

// guarded has the name resolved here, and the proxy connect to an address of it that
// allow takes. Left to the proxy, a name could be checked as one address and lead to
// another.
func guarded(tunnel *outbound.Tunnel, resolver *net.Resolver, allow func(netip.Addr) bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	check := guard(allow)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		found, err := resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("%w; the address is checked here before the proxy connects to it: set allow_private for the endpoint where the proxy alone can resolve the name, and decides where it leads", err)
		}
		var refused, failed error // the latest of each
		for _, a := range found {
			target := net.JoinHostPort(a.Unmap().String(), port)
			if refused = check(network, target, nil); refused != nil {
				continue
			}
			conn, err := tunnel.DialContext(ctx, network, target)
			if err == nil {
				return conn, nil
			}
			failed = err
		}
		return nil, cmp.Or(failed, refused)
	}
}
