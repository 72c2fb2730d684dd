package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/guestflow/guestflow/internal/handwritten"
)

var oauthFields = []string{"token_url", "client_id", "client_secret", "scope", "audience", "resource", "client_auth"}

// oauth reads how the endpoint's requests get a token, by the grant of client
// credentials. Values may be references.
func (l *loader) oauth(raw entry) (*clientcredentials.Config, error) {
	if raw.OAuth2 == nil {
		return nil, nil
	}
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(raw.OAuth2)) {
		if !slices.Contains(oauthFields, name) {
			return nil, fmt.Errorf("unknown field %q%s", name, handwritten.DidYouMean(name, oauthFields))
		}
		value, err := l.reference(raw.OAuth2[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name], _ = handwritten.Unquoted(value)
	}
	for _, needed := range oauthFields[:3] {
		if values[needed] == "" {
			return nil, fmt.Errorf("%s is missing", needed)
		}
	}
	for name := range raw.Headers {
		if strings.EqualFold(name, "Authorization") {
			return nil, errors.New("it sets the header Authorization, which headers has, too; remove one of both")
		}
	}
	if _, err := parseURL(values["token_url"], raw.AllowPrivate); err != nil {
		return nil, fmt.Errorf("token_url: %w", err)
	}
	c := &clientcredentials.Config{
		TokenURL: values["token_url"], ClientID: values["client_id"], ClientSecret: values["client_secret"],
		Scopes: strings.Fields(values["scope"]), EndpointParams: url.Values{},
	}
	for _, name := range []string{"audience", "resource"} {
		if values[name] != "" {
			c.EndpointParams.Set(name, values[name])
		}
	}
	switch values["client_auth"] {
	case "", "header":
		c.AuthStyle = oauth2.AuthStyleInHeader // by default, as RFC 6749 has it
	case "body":
		c.AuthStyle = oauth2.AuthStyleInParams
	default:
		return nil, fmt.Errorf("client_auth: %q is none of header, body", values["client_auth"])
	}
	return c, nil
}

// tokens are those of one endpoint's requests: one at a time, kept until it is about to
// expire or was refused.
type tokens struct {
	config *clientcredentials.Config
	ctx    context.Context // holds the client

	mu     sync.Mutex
	source oauth2.TokenSource
}

// newTokens asks for tokens over connections like those of the endpoint: with its
// certificates, its proxy, and to addresses that are permitted to it.
func newTokens(e Endpoint, over http.RoundTripper) *tokens {
	if e.oauth == nil {
		return nil
	}
	client := &http.Client{
		Transport: over, Timeout: e.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t := &tokens{config: e.oauth, ctx: context.WithValue(context.Background(), oauth2.HTTPClient, client)}
	t.source = t.config.TokenSource(t.ctx)
	return t
}

// errToken: the authorization server gave no token. Its text holds no secret.
var errToken = errors.New("no token for the endpoint")

// authorize puts a token into the header; drop makes the next request ask for another.
func (t *tokens) authorize(h http.Header) (drop func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	t.mu.Lock()
	source := t.source
	t.mu.Unlock()
	token, err := source.Token()
	if err != nil {
		return nil, t.inWords(err)
	}
	h.Set("Authorization", token.Type()+" "+token.AccessToken)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.source == source {
			t.source = t.config.TokenSource(t.ctx)
		}
	}, nil
}

func (t *tokens) inWords(err error) error {
	host := ""
	if u, parsed := url.Parse(t.config.TokenURL); parsed == nil {
		host = u.Host
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%w from %s: %w", errToken, host, bare(err))
	}
	if refused.Response != nil && refused.Response.StatusCode/100 != 2 {
		return fmt.Errorf("%w: %s answered %d %s; correct oauth2 of the entry", errToken, host, refused.Response.StatusCode, refused.ErrorCode)
	}
	return fmt.Errorf("%w: %s answered without one; correct token_url", errToken, host)
}
