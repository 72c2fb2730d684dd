package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// PEM is what was read of certificate files. A field is nil where none is configured.
type PEM struct {
	// CA holds the authorities that are trusted in place of the system's.
	CA []byte
	// Cert and Key are this client's certificate, with what leads from it to its
	// authority, and its key. They go together.
	Cert, Key []byte
}

// Config returns the settings of TLS connections. The error says which of the three
// is wrong in the words of the names, and what to do about it.
func (p PEM) Config(n Names) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	var errs []error
	if p.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(unmarked(p.CA)) {
			errs = append(errs, fmt.Errorf("%s: no certificate in it; name a PEM file, which has a line -----BEGIN CERTIFICATE-----%s", n.CA, binary(p.CA)))
		}
	}
	if err := n.pair(p.Cert != nil, p.Key != nil); err != nil {
		errs = append(errs, err)
	} else if p.Cert != nil {
		pair, err := tls.X509KeyPair(unmarked(p.Cert), unmarked(p.Key))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s and %s: %w; name PEM files of one certificate and its unencrypted key", n.Cert, n.Key, err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, errors.Join(errs...)
}

// unmarked drops a byte order mark, behind which a first certificate goes unseen.
func unmarked(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

// binary explains a file that is a certificate in another form.
func binary(data []byte) string {
	if _, err := x509.ParseCertificate(data); err != nil {
		return ""
	}
	return "; it is in DER, which `openssl x509 -inform der -in FILE -out FILE.pem` turns into PEM"
}

// ReadPEM reads the files, each where a path is given. The error names the setting.
func ReadPEM(ca, cert, key string, n Names) (p PEM, err error) {
	if err := n.pair(cert != "", key != ""); err != nil {
		return p, err
	}
	var errs []error
	for _, file := range [...]struct {
		path, name string
		to         *[]byte
	}{{ca, n.CA, &p.CA}, {cert, n.Cert, &p.Cert}, {key, n.Key, &p.Key}} {
		if file.path == "" {
			continue
		}
		data, err := handwritten.ReadFile(file.path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w; name a file that this user may read", file.name, err))
		}
		*file.to = append([]byte{}, data...) // not nil: it is configured
	}
	return p, errors.Join(errs...)
}

// Names are those of the settings, for errors: what a person can change.
type Names struct{ URL, CA, Cert, Key string }

func (n Names) pair(cert, key bool) error {
	if cert != key {
		return fmt.Errorf("%s and %s belong together; set both or none", n.Cert, n.Key)
	}
	return nil
}

// Remedy says what to do about an error of a TLS handshake, whichever end failed it;
// "" where err is none.
func Remedy(err error, n Names) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate x509.CertificateInvalidError
	var roots x509.SystemRootsError
	var plain tls.RecordHeaderError
	switch text := err.Error(); {
	case errors.As(err, &authority), errors.As(err, &roots):
		return "set " + n.CA + " to the certificate of the authority that signed the server's, or SSL_CERT_FILE to a bundle with it"
	case errors.As(err, &name):
		return "use a name in " + n.URL + " that the server's certificate bears"
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		return "renew the server's certificate, or set this machine's clock"
	case errors.As(err, &certificate):
		return "have the server's certificate issued anew: it is not one for a server, or its authority may not sign it"
	case errors.As(err, &plain), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "what answers there does not speak TLS: check scheme and port in " + n.URL
	case errors.Is(err, ErrCertificateWanted), strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate"),
		strings.Contains(text, "revoked certificate"), strings.Contains(text, "remote error: tls: expired certificate"):
		return "the server asks for a client certificate that it accepts: set " + n.Cert + " and " + n.Key
	case strings.Contains(text, "protocol version not supported"), strings.Contains(text, "unsupported version"):
		return "have the server enable TLS 1.2 or newer"
	case strings.Contains(text, "tls: "), strings.Contains(text, "x509: "):
		return "check " + n.CA + ", " + n.Cert + " and " + n.Key + ", and what the server's log says of it"
	}
	return ""
}
