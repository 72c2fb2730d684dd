package platform

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const secret = "tok-5f0c9a7e1b"

// client returns a client of base with the changes that edit makes.
func client(t testing.TB, base string, edit func(*Config)) *Client {
	t.Helper()
	cfg := Config{BaseURL: base, Token: secret}
	if edit != nil {
		edit(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a platform on loopback.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// exchange is a transport in the test's own hands.
type exchange func(*http.Request) (*http.Response, error)

func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) { return e(r) }

// answering is a transport that gives the same answer to everything, and keeps
// the last request.
func answering(status int, body string, last **http.Request) exchange {
	return func(r *http.Request) (*http.Response, error) {
		if last != nil {
			*last = r
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// fault returns err as the typed error that it must be.
func fault(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T), want an *Error", err, err)
	}
	return e
}

// ask has each endpoint asked once.
var ask = map[Endpoint]func(context.Context, *Client) error{
	Sessions: func(ctx context.Context, c *Client) error {
		_, err := c.Sessions(ctx, Query{})
		return err
	},
	Count: func(ctx context.Context, c *Client) error {
		_, _, err := c.Count(ctx, Query{})
		return err
	},
	Guests: func(ctx context.Context, c *Client) error {
		_, _, err := c.Guests(ctx, []string{"10.0.0.1"})
		return err
	},
	Locations: func(ctx context.Context, c *Client) error {
		_, err := c.Locations(ctx, 1)
		return err
	},
}
