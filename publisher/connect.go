package publisher

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/guestflow/guestflow/internal/handwritten"
	"github.com/guestflow/guestflow/internal/outbound"
)

// ConnectSettings say which NATS server to use, and as whom.
type ConnectSettings struct {
	// URL is one or more server URLs, separated by commas. Default
	// nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a credentials file (JWT and seed).
	Creds string
	// NKeySeed is the path of a file with an nkey seed.
	NKeySeed string
	// User and Password, or Token.
	User, Password, Token string
	// CA, Cert and Key are paths of PEM files for TLS. Cert and Key go together.
	CA, Cert, Key string
	// Proxy is the URL of an HTTP proxy that permits CONNECT to the servers' ports.
	// Empty connects to them directly.
	Proxy string
	// Timeout is that of connecting and of writing, and how often the server is asked
	// for a sign of life: a connection without one for two of them is made anew.
	// Default 5 s.
	Timeout time.Duration
	// Name is shown in the server's connection list. Default "guestflow".
	Name string
	// Embedded connects to a server in this process, such as package embedded's, and
	// URL is not used. nil connects to URL.
	Embedded nats.InProcessConnProvider
	// Log gets a line when the connection is lost, restored or refused. Default
	// slog.Default.
	Log *slog.Logger
}

// Connect returns a connection that is kept up for ever: it returns before the
// server can be reached, and reconnects whenever it is lost. Messages are not
// buffered while there is no connection. The caller closes it.
//
// The error is about the settings (a file that cannot be read, a URL that cannot
// be parsed), or ctx's. No error or log line contains a secret.
func Connect(ctx context.Context, s ConnectSettings) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.defaults()
	options, err := s.options()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(s.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", s.where(), err)
	}
	return nc, nil
}

func (s *ConnectSettings) defaults() {
	s.URL = cmp.Or(s.URL, nats.DefaultURL)
	s.Name = cmp.Or(s.Name, "guestflow")
	s.Timeout = cmp.Or(s.Timeout, 5*time.Second)
	if s.Log == nil {
		s.Log = slog.Default()
	}
}

func (s ConnectSettings) options() ([]nats.Option, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	log, where := s.Log, s.where()
	server := func(nc *nats.Conn) string {
		if s.Embedded != nil {
			return where // the library shows an address that nobody listens on
		}
		return nc.ConnectedUrlRedacted()
	}
	options := []nats.Option{
		nats.Name(s.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be put right on the server
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1),
		nats.Timeout(s.Timeout),
		nats.FlusherTimeout(s.Timeout),
		nats.PingInterval(s.Timeout),
		nats.MaxPingsOutstanding(1),
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", "server", server(nc), "version", nc.ConnectedServerVersion())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost", "server", where, "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "server", server(nc), "version", nc.ConnectedServerVersion())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Debug("NATS cannot be reached", "server", where, "error", err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Error("NATS reports an error", "server", where, "error", err)
		}),
	}
	switch {
	case s.Creds != "":
		options = append(options, nats.UserCredentials(s.Creds))
	case s.NKeySeed != "":
		nkey, err := nkeyOf(s.NKeySeed)
		if err != nil {
			return nil, fmt.Errorf("GUESTFLOW_NATS_NKEY: %s: %w; it must hold one nkey seed, a line that starts with SU", s.NKeySeed, err)
		}
		options = append(options, nkey)
	case s.User != "":
		options = append(options, nats.UserInfo(s.User, s.Password))
	case s.Token != "":
		options = append(options, nats.Token(s.Token))
	}
	if s.CA != "" {
		options = append(options, nats.RootCAs(s.CA))
	}
	if s.Cert != "" {
		options = append(options, nats.ClientCert(s.Cert, s.Key))
	}
	if s.Embedded != nil {
		options = append(options, nats.InProcessServer(s.Embedded))
	} else if s.Proxy != "" {
		tunnel, err := s.tunnel()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.SetCustomDialer(tunnel), nats.SkipHostLookup()) // names are for the proxy to resolve
	}
	return options, nil
}

// nkeyOf is nats.NkeyOptionFromSeed, which does not see the seed behind a byte order
// mark.
func nkeyOf(path string) (nats.Option, error) {
	data, err := handwritten.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, err := handwritten.Decoded(data)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.ParseDecoratedNKey([]byte(text))
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	if !nkeys.IsValidPublicUserKey(public) {
		return nil, errors.New("not the seed of a user")
	}
	return nats.Nkey(public, pair.Sign), nil
}

func (s ConnectSettings) check() error {
	ways := 0
	for _, set := range [...]bool{s.Creds != "", s.NKeySeed != "", s.User != "", s.Token != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("NATS: more than one of credentials file, nkey, user and token is set; keep one")
	case s.Password != "" && s.User == "":
		return errors.New("NATS: a password is set without a user; set GUESTFLOW_NATS_USER too")
	}
	for _, file := range [...]struct{ variable, path string }{{"CREDS", s.Creds}, {"NKEY", s.NKeySeed}} {
		if file.path == "" {
			continue
		}
		data, err := handwritten.ReadFile(file.path)
		if err == nil && len(data) == 0 { // as a pipe is, on which the client would wait for ever
			err = fmt.Errorf("%s is empty", file.path)
		}
		if err != nil {
			return fmt.Errorf("GUESTFLOW_NATS_%s: %w; name a file that this user may read", file.variable, err)
		}
	}
	if err := s.CheckFiles(); err != nil {
		return err
	}
	for part := range strings.SplitSeq(s.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err != nil || u.Host == "" {
			return fmt.Errorf("GUESTFLOW_NATS_URL: want nats://host:port (or tls://, ws://, wss://), more than one separated by commas; %d characters given cannot be read as that", len(part))
		}
	}
	return nil
}

// variables are the settings that an error of TLS may be about.
var variables = outbound.Names{URL: "GUESTFLOW_NATS_URL", CA: "GUESTFLOW_NATS_CA", Cert: "GUESTFLOW_NATS_CERT", Key: "GUESTFLOW_NATS_KEY"}

// CheckFiles reads the certificates and the proxy's URL. The error names each variable
// that is wrong.
func (s ConnectSettings) CheckFiles() error {
	if _, err := s.tls(); err != nil || s.Proxy == "" {
		return err
	}
	_, err := s.tunnel()
	return err
}

// tls reads the certificates.
func (s ConnectSettings) tls() (*tls.Config, error) {
	files, err := outbound.ReadPEM(s.CA, s.Cert, s.Key, variables)
	if err != nil {
		return nil, err
	}
	return files.Config(variables)
}

// tunnel leads through the proxy.
func (s ConnectSettings) tunnel() (*outbound.Tunnel, error) {
	proxy, err := outbound.ParseProxy(s.Proxy)
	if err != nil {
		return nil, fmt.Errorf("GUESTFLOW_NATS_PROXY: %w", err)
	}
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	return &outbound.Tunnel{Proxy: proxy, RootCAs: config.RootCAs, Timeout: s.Timeout}, nil
}

// where is the URL without what it may hold of user, password or token.
func (s ConnectSettings) where() string {
	if s.Embedded != nil {
		return "embedded server"
	}
	var hosts []string
	for part := range strings.SplitSeq(s.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil {
			hosts = append(hosts, u.Scheme+"://"+u.Host)
		}
	}
	return strings.Join(hosts, ",")
}
