package platform

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/guestflow/guestflow/internal/outbound"
)

// variables are the settings that an error of TLS may be about.
// idleTime is for how long a connection may wait for the next request. A server that closes it
// in the very moment in which one is sent answers nothing, and no request is sent again (see
// Client.once): gunicorn does so after 2 s, Apache and Node.js after 5 s unless told otherwise.
const idleTime = 1500 * time.Millisecond

var variables = outbound.Names{URL: "GUESTFLOW_API_URL", CA: "GUESTFLOW_API_CA", Cert: "GUESTFLOW_API_CLIENT_CERT", Key: "GUESTFLOW_API_CLIENT_KEY"}

// transport makes the connections to the platform.
func (c Config) transport() (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.IdleConnTimeout = idleTime
	t.MaxIdleConnsPerHost = 4
	t.OnProxyConnectResponse = outbound.ProxyAnswered
	files, err := outbound.ReadPEM(c.CA, c.ClientCert, c.ClientKey, variables)
	if err == nil {
		t.TLSClientConfig, err = files.Config(variables)
	}
	if c.ClientCert != "" && err == nil {
		// Read anew for each connection, since such certificates are short-lived.
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
			return &pair, err
		}
	}
	switch c.Proxy {
	case "":
	case "-":
		t.Proxy = nil
	default:
		proxy, wrong := outbound.ParseProxy(c.Proxy)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("GUESTFLOW_API_PROXY: %w; - uses none", wrong))
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return outbound.NewTransport(t, c.Timeout), err
}
