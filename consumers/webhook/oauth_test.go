package webhook

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// authority is an authorization server that gives tokens numbered from 1.
type authority struct {
	*httptest.Server
	given  atomic.Int64
	refuse atomic.Bool
}

func newAuthority(t *testing.T, check func(r *http.Request) error) *authority {
	t.Helper()
	a := &authority{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" {
			t.Errorf("token request %v: %v", r.PostForm, err)
		}
		if err := check(r); err != nil || a.refuse.Load() {
			if err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"s3cret is wrong"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, a.given.Add(1))
	}))
	t.Cleanup(a.Close)
	return a
}

// oauthYAML are the lines of an entry.
func oauthYAML(tokenURL string, more ...string) string {
	lines := append([]string{"oauth2:", "token_url: " + tokenURL, "client_id: guest:flow", "client_secret: s3cret/+"}, more...)
	return strings.Join(lines, "\n      ")
}

// TestRequestsBearATokenThatIsKept until the receiver refuses it.
func TestRequestsBearATokenThatIsKept(t *testing.T) {
	t.Parallel()
	for auth, check := range map[string]func(*http.Request) error{
		"header": func(r *http.Request) error {
			if id, secret, ok := r.BasicAuth(); !ok || id != "guest%3Aflow" || secret != "s3cret%2F%2B" || r.PostForm.Get("client_secret") != "" {
				return fmt.Errorf("%s, %s, %v", id, secret, r.PostForm)
			}
			return nil
		},
		"body": func(r *http.Request) error {
			if r.PostForm.Get("client_id") != "guest:flow" || r.PostForm.Get("client_secret") != "s3cret/+" || r.PostForm.Get("scope") != "a b" || r.PostForm.Get("audience") != "https://api" {
				return fmt.Errorf("%v", r.PostForm)
			}
			return nil
		},
	} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, check)
			b := newBroker(t)
			var valid atomic.Value
			valid.Store("Bearer token-1")
			r := newReceiver(t, func(w http.ResponseWriter, r received) {
				if r.header.Get("Authorization") != valid.Load() {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				accept(w, r)
			})
			tr := newTrial(t, b, endpointYAML("crm", r.URL, oauthYAML(a.URL, "client_auth: "+auth, "scope: a b", "audience: https://api")))
			tr.start(b)
			first := []events.Event{sample(events.Started, "a", 1), sample(events.Started, "b", 1), sample(events.Started, "c", 1)}
			b.publish(first...)
			r.untilAccepted(t, first...)
			if n := a.given.Load(); n != 1 {
				t.Errorf("%d tokens for three requests", n)
			}
			valid.Store("Bearer token-2") // the first one is revoked
			next := sample(events.Started, "d", 1)
			b.publish(next)
			r.untilAccepted(t, next)
			if n := a.given.Load(); n != 2 {
				t.Errorf("%d tokens, want another one after the first was refused", n)
			}
		})
	}
}

// TestEventsWaitWhileThereIsNoToken: the reason is told, and no secret.
func TestEventsWaitWhileThereIsNoToken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, func(*http.Request) error { return nil })
	a.refuse.Store(true)
	b := newBroker(t)
	r := newReceiver(t, accept)
	tr := newTrial(t, b, endpointYAML("crm", r.URL, oauthYAML(a.URL)))
	tr.start(b)
	e := sample(events.Started, "s", 1)
	b.publish(e)
	tr.untilSeen("crm", Failed, 4) // more than what is refused gets
	s := tr.statusOf(b.ctx, "crm")
	if !strings.Contains(s.LastError, "no token for the endpoint: 127.0.0.1:") || !strings.Contains(s.LastError, "answered 401 invalid_client; correct oauth2 of the entry") || strings.Contains(s.LastError, "s3cret") {
		t.Errorf("last error %q", s.LastError)
	}
	if r.count() != 0 {
		t.Error("a request without a token went out")
	}
	a.refuse.Store(false)
	r.untilAccepted(t, e)
	x, err := tr.Test(b.ctx, "crm", "")
	if err != nil || !x.Accepted || x.RequestHeader.Get("Authorization") != hidden {
		t.Errorf("a test shows the token: %v, %v", x.RequestHeader, err)
	}
}

func TestEntriesOfOAuth2AreChecked(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		"oauth2: {token_url: https://a.example/t, client_id: x}":                                                    "oauth2: client_secret is missing",
		"oauth2: {tokn_url: https://a.example/t}":                                                                   `oauth2: unknown field "tokn_url"; did you mean token_url?`,
		"oauth2: {token_url: ftp://a.example/t, client_id: x, client_secret: y}":                                    "oauth2: token_url: must be an absolute http:// or https:// URL",
		"oauth2: {token_url: https://10.0.0.1/t, client_id: x, client_secret: y}":                                   "oauth2: token_url: ",
		"oauth2: {token_url: https://a.example/t, client_id: x, client_secret: y, client_auth: basic}":              `oauth2: client_auth: "basic" is none of header, body`,
		"oauth2: {token_url: https://a.example/t, client_id: x, client_secret: env:NOBODY}":                         "oauth2: client_secret: ",
		"headers: {authorization: x}\n    oauth2: {token_url: https://a.example/t, client_id: x, client_secret: y}": "it sets the header Authorization, which headers has, too",
	} {
		l := loader{env: func(string) (string, bool) { return "", false }}
		_, err := l.parse([]byte("endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [" + testSecret + "]\n    " + lines))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", lines, err, want)
		}
	}
}
