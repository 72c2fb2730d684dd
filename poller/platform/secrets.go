package platform

import (
	"fmt"
	"net/url"
	"strings"
)

// String names the platform, and none of the secrets.
func (c Config) String() string { return "the platform API at " + redacted(c.BaseURL) }

// GoString is String: %#v shows no secret either.
func (c Config) GoString() string { return c.String() }

// String names the platform, and none of the secrets.
func (c *Client) String() string { return c.cfg.String() }

// GoString is String: %#v shows no secret either.
func (c *Client) GoString() string { return c.String() }

// String shows the modes without the key.
func (p Privacy) String() string {
	return fmt.Sprintf("MAC %s, IP %s, name %s, e-mail %s", p.MAC.orKeep(), p.IP.orKeep(), p.Name.orKeep(), p.Email.orKeep())
}

// GoString is String: %#v shows no secret either.
func (p Privacy) GoString() string { return p.String() }

func (m Mode) orKeep() Mode {
	if m == "" {
		return Keep
	}
	return m
}

// redacted reduces a URL that is to be shown to what cannot be a secret.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" && strings.ContainsRune(raw, '@') {
		return "(unreadable)"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}

const hidden = "(token)"

// scrub takes the token out of text that the platform or the transport wrote,
// either of which may repeat a request's headers.
func (c *Client) scrub(text string) string {
	if c.cfg.Token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.cfg.Token, hidden)
}

// scrubbed is an error under a text without the token.
type scrubbed struct {
	text string
	err  error
}

func (e *scrubbed) Error() string { return e.text }
func (e *scrubbed) Unwrap() error { return e.err }

func (c *Client) scrubError(err error) error {
	if text := err.Error(); c.scrub(text) != text {
		return &scrubbed{c.scrub(text), err}
	}
	return err
}
