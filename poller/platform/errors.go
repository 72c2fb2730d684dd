package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/guestflow/guestflow/internal/outbound"
)

// ErrorKind says what to make of a failed request.
type ErrorKind int

// The kinds.
const (
	// Unauthorised: 401, the token is not accepted.
	Unauthorised ErrorKind = iota + 1
	// Forbidden: 403, the token may not do this.
	Forbidden
	// NotFound: 404, there is no such endpoint or record.
	NotFound
	// RateLimited: 429; Error.RetryAfter says how long to wait.
	RateLimited
	// Server: 5xx.
	Server
	// Malformed: an answer that is not what the documentation says.
	Malformed
	// TooLarge: a body beyond Config.MaxBody.
	TooLarge
	// TimedOut: no whole answer within Config.Timeout.
	TimedOut
	// Network: no connection, or one that broke.
	Network
	// Redirected: 3xx; it is not followed, since the token would go with it.
	Redirected
	// Untrusted: no TLS connection came about.
	Untrusted
)

var kinds = [...]struct{ name, remedy string }{
	Unauthorised: {"unauthorised", "check GUESTFLOW_API_TOKEN and how it is sent (GUESTFLOW_API_AUTH_HEADER, GUESTFLOW_API_AUTH_SCHEME)"},
	Forbidden:    {"forbidden", "give the token the right to read sessions and locations"},
	NotFound:     {"not found", "check GUESTFLOW_API_URL and the ids in GUESTFLOW_LOCATIONS"},
	RateLimited:  {"rate limited", "it is asked again after the wait; if it happens often, somebody else uses the key or GUESTFLOW_API_RATE_LIMIT is too high"},
	Server:       {"server error", "it is asked again; if it lasts, ask the platform's operator"},
	Malformed:    {"malformed answer", "it is asked again; if it lasts, check that GUESTFLOW_API_URL is the API and not a web page"},
	TooLarge:     {"answer too large", "check that GUESTFLOW_API_URL is the API"},
	TimedOut:     {"timed out", "it is asked again; if it happens often, raise GUESTFLOW_API_TIMEOUT"},
	Network:      {"network error", "it is asked again; check the network and GUESTFLOW_API_URL"},
	Untrusted:    {"no TLS connection", "check GUESTFLOW_API_CA, GUESTFLOW_API_CLIENT_CERT and GUESTFLOW_API_CLIENT_KEY"},
	Redirected:   {"redirected", "redirects are not followed, since the token would go with them: set GUESTFLOW_API_URL to the final address"},
}

// String names the kind; metrics use it.
func (k ErrorKind) String() string {
	if k < 1 || int(k) >= len(kinds) {
		return "unknown"
	}
	return kinds[k].name
}

// Error is a failed request. Its text says which endpoint, what happened and what
// to do; it never holds the token.
type Error struct {
	Kind     ErrorKind
	Endpoint Endpoint
	// RetryAfter is the platform's own word, of 429 and 503; zero where it gave
	// none.
	RetryAfter time.Duration
	Meta       Meta
	Err        error  // may be nil
	remedy     string // in place of the kind's
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Endpoint, e.Kind)
	if e.Meta.Status != 0 && e.Meta.Status != http.StatusOK {
		fmt.Fprintf(&b, " (HTTP %d)", e.Meta.Status)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", wait %v", e.RetryAfter)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.remedy != "" {
		fmt.Fprintf(&b, "; %s", e.remedy)
	} else if e.Kind >= 1 && int(e.Kind) < len(kinds) {
		fmt.Fprintf(&b, "; %s", kinds[e.Kind].remedy)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

func (c *Client) networkError(endpoint Endpoint, m Meta, err error) error {
	kind := Network
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		kind = TimedOut
	}
	remedy := outbound.Remedy(err, variables)
	if remedy != "" {
		kind = Untrusted
	}
	// net/http puts the URL in front, whose filters and path are personal data.
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return &Error{Kind: kind, Endpoint: endpoint, Meta: m, Err: c.scrubError(err), remedy: remedy}
}

func (c *Client) statusError(endpoint Endpoint, m Meta, h http.Header, body []byte) error {
	e := &Error{Endpoint: endpoint, Meta: m}
	switch {
	case m.Status == http.StatusUnauthorized:
		e.Kind = Unauthorised
	case m.Status == http.StatusForbidden:
		e.Kind = Forbidden
	case m.Status == http.StatusNotFound:
		e.Kind = NotFound
	case m.Status == http.StatusTooManyRequests:
		e.Kind = RateLimited
	case m.Status >= 500:
		e.Kind = Server
	case m.Status >= 300 && m.Status < 400:
		e.Kind = Redirected
	default:
		e.Kind = Malformed
		e.Err = fmt.Errorf("unexpected status, body begins %s", c.snippet(endpoint, body))
	}
	if e.Kind == RateLimited || e.Kind == Server {
		e.RetryAfter = retryAfter(h, m)
	}
	return e
}

// longestWait bounds what a Retry-After can ask for.
const longestWait = time.Hour

// retryAfter reads both forms of the header: seconds, or a date, which is taken
// relative to the answer's own date.
func retryAfter(h http.Header, m Meta) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	n, err := strconv.ParseInt(v, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		// Beyond 64 bits, n is the nearest number within.
		return time.Duration(min(max(0, n), int64(longestWait/time.Second))) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	from := m.Date
	if from.IsZero() {
		from = m.Received
	}
	return min(max(0, at.Sub(from)), longestWait)
}

func (c *Client) malformed(endpoint Endpoint, m Meta, body []byte, err error) error {
	err = fmt.Errorf("%w, body begins %s", c.scrubError(err), c.snippet(endpoint, body))
	return &Error{Kind: Malformed, Endpoint: endpoint, Meta: m, Err: err}
}

// snippet quotes the beginning of a body: enough to recognise a web page, too
// little to hold a session. Guests are short, so JSON of theirs is not shown.
func (c *Client) snippet(endpoint Endpoint, body []byte) string {
	const most = 40
	if t := bytes.TrimSpace(body); endpoint == Guests && len(t) > 0 && bytes.IndexByte([]byte(`{["`), t[0]) >= 0 {
		return fmt.Sprintf("with %q (%d bytes, not shown: they may be about a guest)", t[0], len(body))
	}
	// The token goes first, lest the cut leave a part of it.
	text := c.scrub(string(body[:min(len(body), most+len(c.cfg.Token))]))
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text[:min(len(text), most)])
	return strconv.Quote(text)
}
