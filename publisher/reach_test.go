package publisher

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/guestflow/guestflow/internal/blackhole"
	"github.com/guestflow/guestflow/internal/certtest"
	"github.com/guestflow/guestflow/internal/natstest"
)

// serve runs a server with options of its own, and returns host and port.
func serve(t *testing.T, o server.Options) string {
	t.Helper()
	return natstest.Run(t, &o).Addr().String()
}

// TestUnreachedServersAreToldApart: wrong credentials, no TLS and absence are
// different errors with different remedies, and none tells a secret.
func TestUnreachedServersAreToldApart(t *testing.T) {
	now := time.Now()
	own := certtest.New(t, "127.0.0.1", now.Add(24*time.Hour))
	other := certtest.New(t, "127.0.0.1", now.Add(24*time.Hour))
	foreign := certtest.New(t, "nats.example", now.Add(24*time.Hour))
	old := certtest.New(t, "127.0.0.1", now.Add(-time.Hour))
	secure := func(c certtest.Certificate, clients tls.ClientAuthType) server.Options {
		config := &tls.Config{Certificates: []tls.Certificate{c.TLS}, ClientCAs: own.Pool, ClientAuth: clients, MinVersion: tls.VersionTLS12}
		return server.Options{TLSConfig: config, TLSVerify: clients == tls.RequireAndVerifyClientCert, TLSTimeout: 5}
	}
	password := serve(t, server.Options{Username: "guestflow", Password: "right"})
	token := serve(t, server.Options{Authorization: "right"})
	open := serve(t, server.Options{})
	withTLS := serve(t, secure(own, tls.NoClientCert))
	mutual := serve(t, secure(own, tls.RequireAndVerifyClientCert))
	another := serve(t, secure(foreign, tls.NoClientCert))
	expired := serve(t, secure(old, tls.NoClientCert))
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for name, c := range map[string]struct {
		s      ConnectSettings
		err    error // nil where it is to be reached
		remedy string
	}{
		"right password":    {ConnectSettings{URL: password, User: "guestflow", Password: "right"}, nil, ""},
		"wrong password":    {ConnectSettings{URL: password, User: "guestflow", Password: "t0psecret"}, ErrAuthentication, "check GUESTFLOW_NATS_USER and GUESTFLOW_NATS_PASSWORD"},
		"password in URL":   {ConnectSettings{URL: "guestflow:t0psecret@" + password}, ErrAuthentication, "in GUESTFLOW_NATS_URL"},
		"no password":       {ConnectSettings{URL: password}, ErrAuthentication, "it wants some: set GUESTFLOW_NATS_USER"},
		"wrong token":       {ConnectSettings{URL: token, Token: "t0psecret"}, ErrAuthentication, "GUESTFLOW_NATS_TOKEN"},
		"absent":            {ConnectSettings{URL: nobody.Addr().String()}, ErrNoServer, "that the server runs"},
		"unknown name":      {ConnectSettings{URL: "nats.invalid:4222"}, ErrNoServer, "GUESTFLOW_NATS_URL"},
		"web server":        {ConnectSettings{URL: web.Listener.Addr().String()}, ErrNoServer, "check the port in GUESTFLOW_NATS_URL"},
		"no CA":             {ConnectSettings{URL: withTLS}, ErrTLS, "GUESTFLOW_NATS_CA"},
		"another CA":        {ConnectSettings{URL: withTLS, CA: other.Cert}, ErrTLS, "GUESTFLOW_NATS_CA"},
		"right CA":          {ConnectSettings{URL: withTLS, CA: own.Cert}, nil, ""},
		"another name":      {ConnectSettings{URL: another, CA: foreign.Cert}, ErrTLS, "name in GUESTFLOW_NATS_URL"},
		"expired":           {ConnectSettings{URL: expired, CA: old.Cert}, ErrTLS, "renew the server's certificate"},
		"TLS not offered":   {ConnectSettings{URL: open, CA: own.Cert}, ErrTLS, "use nats:// in GUESTFLOW_NATS_URL"},
		"no client's":       {ConnectSettings{URL: mutual, CA: own.Cert}, ErrTLS, "GUESTFLOW_NATS_CERT"},
		"another client's":  {ConnectSettings{URL: mutual, CA: own.Cert, Cert: other.Cert, Key: other.Key}, ErrTLS, "GUESTFLOW_NATS_CERT"},
		"right client's":    {ConnectSettings{URL: mutual, CA: own.Cert, Cert: own.Cert, Key: own.Key}, nil, ""},
		"one of two":        {ConnectSettings{URL: "nats://" + nobody.Addr().String() + ", nats://" + open}, nil, ""},
		"neither of two":    {ConnectSettings{URL: "nats://" + password + ",nats://" + nobody.Addr().String(), User: "guestflow", Password: "t0psecret"}, ErrAuthentication, "that the server runs"},
		"neither, reversed": {ConnectSettings{URL: "nats://" + nobody.Addr().String() + ",nats://" + password, User: "guestflow", Password: "t0psecret"}, ErrAuthentication, "GUESTFLOW_NATS_PASSWORD"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(c.s.URL, "://") {
				c.s.URL = "nats://" + c.s.URL
			}
			c.s.Log = quiet()
			nc, err := Reach(testContext(t), c.s)
			if err == nil {
				nc.Close()
			}
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err == nil {
				return
			}
			host := strings.TrimPrefix(c.s.URL[strings.LastIndexAny(c.s.URL, "@,/")+1:], "nats://")
			if !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("%q does not name %s or %q", err, host, c.remedy)
			}
			if strings.Contains(err.Error(), "t0psecret") {
				t.Errorf("it tells the secret: %v", err)
			}
		})
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Reach(ended, ConnectSettings{URL: "nats://" + open}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// TestForgottenConnectionToNATSIsMadeAnew: where a NAT or firewall has forgotten the
// connection, and nothing is refused.
func TestForgottenConnectionToNATSIsMadeAnew(t *testing.T) {
	hole, err := blackhole.To(serve(t, server.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	again := make(chan struct{}, 1)
	nc, err := Connect(testContext(t), ConnectSettings{
		URL: "nats://" + hole.Address(), Timeout: 200 * time.Millisecond, Log: slog.New(signalHandler{"connected to NATS again", again}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for nc.FlushWithContext(testContext(t)) != nil { // until it is connected
	}
	hole.Forget()
	select {
	case <-again:
	case <-testContext(t).Done():
		t.Fatal("the connection is still taken for one")
	}
	if err := nc.FlushWithContext(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestNATSIsReachedThroughAProxy: by name, which the proxy alone has to know, also
// over TLS, and with the proxy's refusals told.
func TestNATSIsReachedThroughAProxy(t *testing.T) {
	own := certtest.New(t, "nats.invalid", time.Now().Add(24*time.Hour))
	targets := map[string]string{
		"plain.invalid:4222": serve(t, server.Options{}),
		"nats.invalid:4222":  serve(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{own.TLS}, MinVersion: tls.VersionTLS12}, TLSTimeout: 5}),
	}
	proxy := certtest.Proxy(t, "user", "t0psecret", targets)
	with := func(credentials string) string { return "http://" + credentials + proxy }
	for name, c := range map[string]struct {
		s    ConnectSettings
		want string // of the error
	}{
		"plain":           {ConnectSettings{URL: "nats://plain.invalid:4222", Proxy: with("user:t0psecret@")}, ""},
		"TLS":             {ConnectSettings{URL: "tls://nats.invalid:4222", CA: own.Cert, Proxy: with("user:t0psecret@")}, ""},
		"unknown to it":   {ConnectSettings{URL: "nats://another.invalid:4222", Proxy: with("user:t0psecret@")}, "HTTP 403"},
		"no credentials":  {ConnectSettings{URL: "nats://plain.invalid:4222", Proxy: with("")}, "HTTP 407"},
		"not a proxy URL": {ConnectSettings{URL: "nats://plain.invalid:4222", Proxy: "socks5://user:t0psecret@" + proxy}, "GUESTFLOW_NATS_PROXY"},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.Log = quiet()
			nc, err := Reach(testContext(t), c.s)
			if err == nil {
				nc.Close()
			}
			if (err == nil) != (c.want == "") {
				t.Fatal(err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "GUESTFLOW_NATS_PROXY") || strings.Contains(err.Error(), "t0psecret")) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
