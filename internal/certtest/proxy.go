package certtest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Proxy runs an HTTP proxy that knows CONNECT and the addresses of some targets, and
// answers 403 to others. It wants credentials unless user is empty. It returns host and
// port.
func Proxy(t testing.TB, user, password string, targets map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// As a request's own credentials, which is the form that is parsed.
		r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		target, known := targets[r.Host]
		if r.Method != http.MethodConnect || !known {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var d net.Dialer
		server, err := d.DialContext(r.Context(), "tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			server.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(server, in); server.Close() })
		_, _ = io.Copy(client, server)
		client.Close()
		wg.Wait()
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
