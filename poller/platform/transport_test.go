package platform

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/blackhole"
	"github.com/guestflow/guestflow/internal/certtest"
)

// secure runs a platform over TLS and HTTP/2, that answers everything with an empty
// page.
func secure(t *testing.T, c certtest.Certificate, clients tls.ClientAuthType, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c.TLS}, ClientCAs: c.Pool, ClientAuth: clients, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func page(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(emptyPage)) }

// TestPollingLeavesAForgottenConnection: where a NAT or firewall has forgotten the
// connection, and nothing is refused. The bound on the time is that of
// internal/outbound's tests, whose time is virtual.
func TestPollingLeavesAForgottenConnection(t *testing.T) {
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	server := secure(t, own, tls.NoClientCert, page)
	hole, err := blackhole.To(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	c := client(t, "https://"+hole.Address(), func(cfg *Config) { cfg.CA, cfg.Timeout = own.Cert, 500*time.Millisecond })
	askUntilAnswered(t, c)
	hole.Forget()
	askUntilAnswered(t, c)
}

// TestPollingLeavesAConnectionWhoseRequestTimedOut: the other end's TCP and HTTP/2
// live, and nothing that is asked over the connection is answered.
func TestPollingLeavesAConnectionWhoseRequestTimedOut(t *testing.T) {
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	var mu sync.Mutex
	stuck := map[string]bool{} // remote addresses
	stick := true              // every connection that is new
	server := secure(t, own, tls.NoClientCert, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		stuck[r.RemoteAddr] = stuck[r.RemoteAddr] || stick
		stop := stuck[r.RemoteAddr]
		stick = false
		mu.Unlock()
		if stop {
			<-r.Context().Done()
			return
		}
		page(w, r)
	})
	c := client(t, server.URL, func(cfg *Config) { cfg.CA, cfg.Timeout = own.Cert, 500*time.Millisecond })
	if err := ask[Sessions](t.Context(), c); err == nil || fault(t, err).Kind != TimedOut {
		t.Fatalf("the stuck connection: %v", err)
	}
	askUntilAnswered(t, c)
}

// askUntilAnswered permits that a busy machine lets a request time out.
func askUntilAnswered(t *testing.T, c *Client) {
	t.Helper()
	const most = 20
	for range most {
		if ask[Sessions](t.Context(), c) == nil {
			return
		}
	}
	t.Fatalf("%d requests were not answered", most)
}

// TestFailedHandshakeNamesTheRemedy: what is configured wrongly is told apart from what
// the server has to mend, and from an absent network.
func TestFailedHandshakeNamesTheRemedy(t *testing.T) {
	now := time.Now()
	own := certtest.New(t, "127.0.0.1", now.Add(24*time.Hour))
	other := certtest.New(t, "127.0.0.1", now.Add(24*time.Hour))
	foreign := certtest.New(t, "api.example.com", now.Add(24*time.Hour))
	old := certtest.New(t, "127.0.0.1", now.Add(-time.Hour))
	plain := httptest.NewServer(http.HandlerFunc(page))
	defer plain.Close()
	open := secure(t, own, tls.NoClientCert, page)
	mutual := secure(t, own, tls.RequireAndVerifyClientCert, page)
	for name, c := range map[string]struct {
		url            string
		ca, cert, key  string
		kind           ErrorKind // 0 where it is answered
		remedy, beside string
	}{
		"right CA":         {open.URL, own.Cert, "", "", 0, "", ""},
		"no CA":            {open.URL, "", "", "", Untrusted, "GUESTFLOW_API_CA", "SSL_CERT_FILE"},
		"another CA":       {open.URL, other.Cert, "", "", Untrusted, "GUESTFLOW_API_CA", "SSL_CERT_FILE"},
		"another name":     {secure(t, foreign, tls.NoClientCert, page).URL, foreign.Cert, "", "", Untrusted, "use a name in GUESTFLOW_API_URL", ""},
		"expired":          {secure(t, old, tls.NoClientCert, page).URL, old.Cert, "", "", Untrusted, "renew the server's certificate", "clock"},
		"no TLS there":     {strings.Replace(plain.URL, "http:", "https:", 1), "", "", "", Untrusted, "check scheme and port in GUESTFLOW_API_URL", ""},
		"no client's":      {mutual.URL, own.Cert, "", "", Untrusted, "GUESTFLOW_API_CLIENT_CERT", "GUESTFLOW_API_CLIENT_KEY"},
		"another client's": {mutual.URL, own.Cert, other.Cert, other.Key, Untrusted, "GUESTFLOW_API_CLIENT_CERT", ""},
		"right client's":   {mutual.URL, own.Cert, own.Cert, own.Key, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, c.url, func(cfg *Config) { cfg.CA, cfg.ClientCert, cfg.ClientKey = c.ca, c.cert, c.key })
			err := ask[Sessions](t.Context(), cl)
			if c.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || fault(t, err).Kind != c.kind || !strings.Contains(err.Error(), c.remedy) || !strings.Contains(err.Error(), c.beside) {
				t.Errorf("error %v, want %v with %q and %q", err, c.kind, c.remedy, c.beside)
			}
		})
	}
}

// TestFilesOfTheConnectionAreCheckedAtTheStart: each by its variable, and one with a
// byte order mark is read.
func TestFilesOfTheConnectionAreCheckedAtTheStart(t *testing.T) {
	own := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	other := certtest.New(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, err := os.ReadFile(own.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"marked":          {Config{CA: file("marked.pem", append([]byte("\ufeff"), text...))}, nil},
		"absent":          {Config{CA: dir + "/absent.pem"}, []string{"GUESTFLOW_API_CA: open "}},
		"empty":           {Config{CA: file("empty.pem", nil)}, []string{"GUESTFLOW_API_CA: no certificate", "PEM"}},
		"DER":             {Config{CA: file("ca.der", own.TLS.Certificate[0])}, []string{"GUESTFLOW_API_CA", "openssl x509 -inform der"}},
		"half":            {Config{ClientCert: own.Cert}, []string{"GUESTFLOW_API_CLIENT_CERT and GUESTFLOW_API_CLIENT_KEY belong together"}},
		"another's key":   {Config{ClientCert: own.Cert, ClientKey: other.Key}, []string{"GUESTFLOW_API_CLIENT_CERT and GUESTFLOW_API_CLIENT_KEY", "does not match"}},
		"proxy, no port":  {Config{Proxy: "http://proxy.example"}, nil},
		"proxy, no URL":   {Config{Proxy: "user:" + secret + "@proxy:3128"}, []string{"GUESTFLOW_API_PROXY: must be http://host:port"}},
		"proxy, of socks": {Config{Proxy: "socks5://user:" + secret + "@proxy:1080"}, []string{"GUESTFLOW_API_PROXY"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.BaseURL, c.cfg.Token = "https://api.example.com", "t"
			_, err := New(c.cfg)
			if (err != nil) != (c.want != nil) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
					t.Errorf("error %v, want %q, and no secret", err, want)
				}
			}
		})
	}
}

// TestPlatformIsReachedThroughAProxy: the configured one, or none, whatever the
// environment says.
func TestPlatformIsReachedThroughAProxy(t *testing.T) {
	own := certtest.New(t, "api.invalid", time.Now().Add(24*time.Hour))
	server := secure(t, own, tls.NoClientCert, page)
	proxy := certtest.Proxy(t, "user", secret, map[string]string{"api.invalid:443": server.Listener.Addr().String()})
	for name, c := range map[string]struct{ proxy, want string }{
		"right":          {"http://user:" + secret + "@" + proxy, ""},
		"no credentials": {"http://" + proxy, "user:password@"},
		"none":           {"-", "api.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, "https://api.invalid", func(cfg *Config) { cfg.CA, cfg.Proxy = own.Cert, c.proxy })
			err := ask[Sessions](t.Context(), cl)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	cl := client(t, "https://another.invalid", func(cfg *Config) { cfg.CA, cfg.Proxy = own.Cert, "http://user:"+secret+"@"+proxy })
	host, _, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask[Sessions](t.Context(), cl); err == nil || !strings.Contains(err.Error(), "HTTP 403") || !strings.Contains(err.Error(), host) {
		t.Errorf("refused by the proxy: %v", err)
	}
}

// TestAnswersMayBeginWithAByteOrderMark: as some frameworks' do.
func TestAnswersMayBeginWithAByteOrderMark(t *testing.T) {
	c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, "\ufeff"+emptyPage, nil) })
	if err := ask[Sessions](t.Context(), c); err != nil {
		t.Error(err)
	}
	c = client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, "\ufeff"+`{"count":7}`, nil) })
	if n, _, err := c.Count(t.Context(), Query{}); n != 7 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}
