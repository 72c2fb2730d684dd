package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/blackhole"
	"github.com/guestflow/guestflow/internal/certtest"
)

// routed loads an endpoint of a URL, with more lines of its entry.
func routed(t *testing.T, url string, lines ...string) Endpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "endpoints.yaml")
	text := "endpoints:\n  - name: a\n    url: " + url + "\n    secrets: [" + testSecret + "]\n"
	for _, l := range lines {
		text += "    " + l + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Endpoints[0]
}

// post sends one sample.
func post(t *testing.T, s *sender) answer {
	t.Helper()
	document, err := events.Encode(sample(events.Started, "s", 1))
	if err != nil {
		t.Fatal(err)
	}
	return s.send(t.Context(), parcel{id: "id", document: document}, false)
}

// postUntilAccepted permits that a busy machine lets a request time out.
func postUntilAccepted(t *testing.T, s *sender) {
	t.Helper()
	const most = 20
	var a answer
	for range most {
		if a = post(t, s); a.err == nil {
			return
		}
	}
	t.Fatalf("%d requests were not answered: %v", most, a.err)
}

// secure runs a receiver over TLS and HTTP/2.
func secure(t *testing.T, c certtest.Certificate, clients tls.ClientAuthType, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c.TLS}, ClientCAs: c.Pool, ClientAuth: clients, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func take(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// TestWebhooksLeaveAForgottenConnection: where a NAT or firewall has forgotten the
// connection, and nothing is refused.
func TestWebhooksLeaveAForgottenConnection(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	hole, err := blackhole.To(secure(t, own, tls.NoClientCert, take).Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	s := newSender(routed(t, "https://"+hole.Address(), "ca: "+own.Cert, "allow_private: true", "timeout: 500ms"), nil, nil, time.Now)
	defer s.close()
	postUntilAccepted(t, s)
	hole.Forget()
	postUntilAccepted(t, s)
}

// TestWebhooksLeaveAConnectionWhoseRequestTimedOut: the receiver's TCP and HTTP/2 live,
// and nothing that is sent over the connection is answered.
func TestWebhooksLeaveAConnectionWhoseRequestTimedOut(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	var mu sync.Mutex
	stuck := ""
	server := secure(t, own, tls.NoClientCert, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if stuck == "" {
			stuck = r.RemoteAddr
		}
		stop := r.RemoteAddr == stuck
		mu.Unlock()
		if stop {
			<-r.Context().Done()
			return
		}
		take(w, r)
	})
	s := newSender(routed(t, server.URL, "ca: "+own.Cert, "allow_private: true", "timeout: 500ms"), nil, nil, time.Now)
	defer s.close()
	if a := post(t, s); a.err == nil {
		t.Fatal("the stuck connection answered")
	}
	postUntilAccepted(t, s)
}

// TestFailedHandshakeNamesTheFieldThatMendsIt: of the endpoint's entry.
func TestFailedHandshakeNamesTheFieldThatMendsIt(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	open, mutual := secure(t, own, tls.NoClientCert, take), secure(t, own, tls.RequireAndVerifyClientCert, take)
	for name, c := range map[string]struct {
		url   string
		lines []string
		want  string // in the reason; empty where it is accepted
	}{
		"no CA":          {open.URL, nil, "set ca to"},
		"right CA":       {open.URL, []string{"ca: " + own.Cert}, ""},
		"no client's":    {mutual.URL, []string{"ca: " + own.Cert}, "set client_cert and client_key"},
		"right client's": {mutual.URL, []string{"ca: " + own.Cert, "client_cert: " + own.Cert, "client_key: " + own.Key}, ""},
	} {
		s := newSender(routed(t, c.url, append(c.lines, "allow_private: true")...), nil, nil, time.Now)
		v, reason := judge(post(t, s))
		if (v == accepted) != (c.want == "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %q, want %q", name, reason, c.want)
		}
		s.close()
	}
}

// TestCertificatesAreReadAgainWhenTheyChange: files that an entry names are watched as
// its secrets are.
func TestCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	first := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	second := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	dir := t.TempDir()
	move := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	move(first.Cert, "ca.pem")
	path := filepath.Join(dir, "endpoints.yaml")
	if err := os.WriteFile(path, []byte("endpoints:\n  - name: a\n    url: https://hooks.example.com\n    secrets: ["+testSecret+"]\n    ca: ca.pem # beside this file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := watch(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := w.config().Endpoints[0]
	move(second.Cert, "ca.pem")
	if changed, err := w.reload(); err != nil || !changed || w.config().Endpoints[0].digest == before.digest {
		t.Errorf("changed %v, %v, digest the same: %v", changed, err, w.config().Endpoints[0].digest == before.digest)
	}
	if before.fingerprint != w.config().Endpoints[0].fingerprint {
		t.Error("the entry is the same, and counts as another")
	}
}

func TestRouteIsCheckedWhenTheFileIsRead(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	for line, want := range map[string]string{
		"ca: /absent/ca.pem":                                  "ca: open /absent/ca.pem",
		"ca: " + own.Key:                                      "ca: no certificate in it",
		"client_cert: " + own.Cert:                            "client_cert and client_key belong together",
		"proxy: socks5://user:t0ken@proxy:1080":               "proxy: must be http://host:port",
		"proxy: env:GUESTFLOW_TEST_ABSENT":                    `proxy: environment variable "GUESTFLOW_TEST_ABSENT" is not set`,
		"proxi: http://proxy:3128":                            "did you mean proxy?",
		"proxy: [http://proxy:3128, http://user:t0ken@other]": "proxy: must be a single text",
	} {
		_, err := parse(t, "endpoints:\n  - GOOD\n    "+line)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line ") || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestAddressIsCheckedBeforeAProxyConnectsToIt: the name is resolved here, and the proxy
// gets the address that was permitted, so that it cannot lead elsewhere; TLS is with the
// name all the same. The proxy knows no name, so a request for one fails.
func TestAddressIsCheckedBeforeAProxyConnectsToIt(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "hooks.example.com", time.Now().Add(24*time.Hour))
	server := secure(t, own, tls.NoClientCert, take)
	proxy := certtest.Proxy(t, "user", "t0ken", map[string]string{
		"93.184.216.34:443": server.Listener.Addr().String(),
		"10.0.0.1:443":      server.Listener.Addr().String(), // it would connect, as a proxy within does
	})
	e := routed(t, "https://hooks.example.com/arrivals", "ca: "+own.Cert, "proxy: http://user:t0ken@"+proxy)
	for name, c := range map[string]struct {
		addresses []string
		private   bool
	}{
		"public":  {[]string{"93.184.216.34"}, false},
		"private": {[]string{"10.0.0.1"}, true},
	} {
		s := newSender(e, fakeDNS(t, c.addresses...), public, time.Now)
		a := post(t, s)
		if c.private != errors.Is(a.err, ErrPrivateAddress) || !c.private && a.status != http.StatusNoContent {
			t.Errorf("%s: status %d, %v", name, a.status, a.err)
		}
		s.close()
	}
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }}
	s := newSender(e, none, public, time.Now)
	if _, reason := judge(post(t, s)); !strings.Contains(reason, "allow_private") {
		t.Errorf("a name that only the proxy knows: %q, want the setting that leaves it to the proxy", reason)
	}
	s.close()
}

// TestProxyResolvesWhereAddressesAreNotChecked: with allow_private it gets the name.
func TestProxyResolvesWhereAddressesAreNotChecked(t *testing.T) {
	t.Parallel()
	own := certtest.New(t, "crm.intern", time.Now().Add(24*time.Hour))
	server := secure(t, own, tls.NoClientCert, take)
	proxy := certtest.Proxy(t, "", "", map[string]string{"crm.intern:443": server.Listener.Addr().String()})
	never := func(netip.Addr) bool { return false }
	s := newSender(routed(t, "https://crm.intern/", "ca: "+own.Cert, "proxy: http://"+proxy, "allow_private: true"), nil, never, time.Now)
	defer s.close()
	if a := post(t, s); a.status != http.StatusNoContent {
		t.Error(a.err)
	}
	s = newSender(routed(t, "https://other.intern/", "proxy: http://"+proxy, "allow_private: true"), nil, never, time.Now)
	defer s.close()
	if v, reason := judge(post(t, s)); v != passing || !strings.Contains(reason, "HTTP 403") || !strings.Contains(reason, "proxy "+proxy) {
		t.Errorf("refused by the proxy: %d %q", v, reason)
	}
}
