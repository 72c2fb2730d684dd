package publisher

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// certificate makes one for a host, signed by itself, with its PEM files.
func certificate(t *testing.T, host string, until time.Time) (tls.Certificate, *x509.CertPool, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: []string{host},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	dir := t.TempDir()
	cert, secret := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, secret: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, cert, secret
}

// serve runs a server with options of its own, and returns host and port.
func serve(t *testing.T, o server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return s.Addr().String()
}

// TestUnreachedServersAreToldApart: wrong credentials, no TLS and absence are
// different errors with different remedies, and none tells a secret.
func TestUnreachedServersAreToldApart(t *testing.T) {
	now := time.Now()
	own, pool, ca, key := certificate(t, "127.0.0.1", now.Add(24*time.Hour))
	_, _, other, otherKey := certificate(t, "127.0.0.1", now.Add(24*time.Hour))
	foreign, _, foreignCA, _ := certificate(t, "nats.example", now.Add(24*time.Hour))
	old, _, oldCA, _ := certificate(t, "127.0.0.1", now.Add(-time.Hour))
	secure := func(c tls.Certificate, clients tls.ClientAuthType) server.Options {
		config := &tls.Config{Certificates: []tls.Certificate{c}, ClientCAs: pool, ClientAuth: clients, MinVersion: tls.VersionTLS12}
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
		"another CA":        {ConnectSettings{URL: withTLS, CA: other}, ErrTLS, "GUESTFLOW_NATS_CA"},
		"right CA":          {ConnectSettings{URL: withTLS, CA: ca}, nil, ""},
		"another name":      {ConnectSettings{URL: another, CA: foreignCA}, ErrTLS, "name in GUESTFLOW_NATS_URL"},
		"expired":           {ConnectSettings{URL: expired, CA: oldCA}, ErrTLS, "renew the server's certificate"},
		"TLS not offered":   {ConnectSettings{URL: open, CA: ca}, ErrTLS, "use nats:// in GUESTFLOW_NATS_URL"},
		"no client's":       {ConnectSettings{URL: mutual, CA: ca}, ErrTLS, "GUESTFLOW_NATS_CERT"},
		"another client's":  {ConnectSettings{URL: mutual, CA: ca, Cert: other, Key: otherKey}, ErrTLS, "GUESTFLOW_NATS_CERT"},
		"right client's":    {ConnectSettings{URL: mutual, CA: ca, Cert: ca, Key: key}, nil, ""},
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
