package publisher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/internal/outbound"
)

// Why a server does not take a connection, see Reach.
var (
	// ErrAuthentication: a server answers and does not accept the credentials.
	ErrAuthentication = errors.New("the server refuses the credentials")
	// ErrTLS: a server answers and no secure connection comes about.
	ErrTLS = errors.New("no TLS connection comes about")
	// ErrNoServer: nobody answers, or somebody who speaks another protocol.
	ErrNoServer = errors.New("no server takes the connection")
)

// Reach is Connect for whoever does not want to wait for a server: it tries each
// once. The error is ErrAuthentication, ErrTLS or ErrNoServer for each of them,
// with its remedy, or what Connect returns.
func Reach(ctx context.Context, s ConnectSettings) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.defaults()
	options, err := s.options()
	if err != nil {
		return nil, err
	}
	options = append(options, nats.RetryOnFailedConnect(false))
	nc, err := nats.Connect(s.URL, options...)
	if err == nil {
		return nc, nil
	}
	servers := strings.Split(s.URL, ",")
	if len(servers) == 1 {
		return nil, s.unreached(err)
	}
	// The library tells of one of them only.
	var errs []error
	for _, server := range servers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.URL = server
		one, err := nats.Connect(strings.TrimSpace(server), options...)
		if err == nil {
			one.Close()
			continue
		}
		errs = append(errs, s.unreached(err))
	}
	return nil, errors.Join(errs...)
}

// unreached says why the one server of s takes no connection.
func (s ConnectSettings) unreached(err error) error {
	why, remedy := ErrNoServer, "check GUESTFLOW_NATS_URL, and that the server runs"
	handshake := outbound.Remedy(err, variables)
	switch text := err.Error(); {
	case errors.Is(err, outbound.ErrProxyCredentials), errors.Is(err, outbound.ErrProxyRefuses):
		remedy = "see GUESTFLOW_NATS_PROXY"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported):
		why, remedy = ErrAuthentication, s.credentialsRemedy()
	case errors.Is(err, nats.ErrSecureConnWanted):
		why, remedy = ErrTLS, "the server offers none: enable TLS there, or use nats:// in GUESTFLOW_NATS_URL and unset GUESTFLOW_NATS_CA and GUESTFLOW_NATS_CERT"
	case strings.Contains(text, "closed by remote after TLS handshake"):
		why, remedy = ErrTLS, "the server asks for a client certificate that it accepts: set GUESTFLOW_NATS_CERT and GUESTFLOW_NATS_KEY"
	case handshake != "":
		why, remedy = ErrTLS, handshake
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrTLS):
		why, remedy = ErrTLS, "check GUESTFLOW_NATS_CA, GUESTFLOW_NATS_CERT and GUESTFLOW_NATS_KEY"
	case !dialled(err):
		remedy = "what answers there does not greet as a NATS server does: check the port in GUESTFLOW_NATS_URL, or whether the server takes TLS first"
	}
	return fmt.Errorf("NATS at %s: %w (%w); %s", s.where(), why, err, remedy)
}

// dialled reports whether err is about finding or dialling the server.
func dialled(err error) bool {
	var dial *net.OpError
	var name *net.DNSError
	return errors.Is(err, nats.ErrNoServers) || errors.As(err, &name) || errors.As(err, &dial) && dial.Op == "dial"
}

func (s ConnectSettings) credentialsRemedy() string {
	switch {
	case s.Creds != "":
		return "check the file that GUESTFLOW_NATS_CREDS names, or permit its user on the server"
	case s.NKeySeed != "":
		return "check the file that GUESTFLOW_NATS_NKEY names, or permit its key on the server"
	case s.User != "":
		return "check GUESTFLOW_NATS_USER and GUESTFLOW_NATS_PASSWORD"
	case s.Token != "":
		return "check GUESTFLOW_NATS_TOKEN"
	case strings.Contains(s.URL, "@"):
		return "check the user and password in GUESTFLOW_NATS_URL"
	}
	return "it wants some: set GUESTFLOW_NATS_USER and GUESTFLOW_NATS_PASSWORD, GUESTFLOW_NATS_TOKEN, GUESTFLOW_NATS_CREDS or GUESTFLOW_NATS_NKEY"
}
