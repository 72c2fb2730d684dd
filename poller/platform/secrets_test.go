package platform

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTokenIsNeverShown lets a platform echo the token wherever it can.
func TestTokenIsNeverShown(t *testing.T) {
	shown := func(where string, v any) {
		t.Helper()
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, secret) {
				t.Errorf("%s by %s: %s", where, format, text)
			}
		}
	}
	for _, status := range []int{200, 204, 302, 400, 401, 403, 404, 422, 429, 500} {
		for _, body := range []string{"%s", "<p>%s", `{"message":"%s"}`, `["%s"]`, `{"count":"%s"}`, `{"data":"%s"}`, `{"%s`} {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/?token="+secret)
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, body, r.Header.Get("X-Key"))
			})
			c := client(t, url, func(cfg *Config) { cfg.AuthHeader, cfg.AuthScheme = "X-Key", "-" })
			shown("the client", c)
			for endpoint, request := range ask {
				if err := request(t.Context(), c); err != nil {
					shown(fmt.Sprintf("%d of %s", status, endpoint), err.Error())
				}
			}
		}
	}
	for _, next := range []string{"http://" + secret + "/sessions?page=2", "/sessions?page=" + secret, secret + "://x"} {
		page, err := client(t, "http://api.invalid", nil).DecodePage([]byte(`{"data":[],"links":{"next":"`+next+`"}}`), Query{})
		if err != nil || page.Suspicious == "" {
			t.Errorf("%s: %q %v", next, page.Suspicious, err)
		}
		shown("a hostile link", page.Suspicious)
	}
	broken := client(t, "http://api.invalid", func(cfg *Config) {
		cfg.Transport = exchange(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("proxy refused header %q", r.Header.Get("Authorization"))
		})
	})
	shown("the transport's error", ask[Sessions](t.Context(), broken).Error())
	cfg := Config{BaseURL: "http://api.invalid", Token: secret, Privacy: Privacy{MAC: Hash, Key: secret}}
	shown("the configuration", cfg)
	shown("the privacy settings", cfg.Privacy)
}

func TestBadConfigurationShowsNoSecret(t *testing.T) {
	for _, url := range []string{
		"https://user:" + secret + "@api.example.com", "https://" + secret + "@api.example.com",
		"https://api.example.com/?api_key=" + secret, "https://api.example.com/#" + secret,
		"user:" + secret + "@api.example.com", "https://api.example.com:" + secret, "ftp://u:" + secret + "@h",
		"https://api.example.com/%zz" + secret,
	} {
		_, err := New(Config{BaseURL: url})
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "API URL") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, c := range []string{"\n", "\r", "\x00", "\x7f", "\x1b"} {
		for name, cfg := range map[string]Config{
			"token":  {Token: secret + c},
			"scheme": {Token: secret, AuthScheme: "Bearer" + c},
			"agent":  {UserAgent: "x" + c},
			"header": {Token: secret, AuthHeader: "X-Key" + c},
		} {
			cfg.BaseURL = "https://api.example.com"
			if _, err := New(cfg); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s with %q: %v", name, c, err)
			}
		}
	}
}

func TestErrorsHoldNoPersonalData(t *testing.T) {
	const mac, email = "14:2d:27:00:00:01", "jo@example.com"
	down := client(t, "http://api.invalid", func(cfg *Config) {
		cfg.Transport = exchange(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") })
	})
	_, err := down.Sessions(t.Context(), Query{DeviceMAC: mac, GuestID: "gst-1"})
	if text := err.Error(); !strings.Contains(text, "no route to host") || strings.Contains(text, "gst-1") ||
		strings.Contains(text, "14%3A2d") || strings.Contains(text, mac) {
		t.Error(text)
	}
	for _, body := range []string{`{"email":"` + email + `"`, ` [{"name":"` + email + `",`, `"` + email + `"`, `{"username":"` + email + `"}}`} {
		for _, status := range []int{200, 422} {
			c := client(t, "http://api.invalid", func(cfg *Config) { cfg.Transport = answering(status, body, nil) })
			if err := ask[Guests](t.Context(), c); err == nil || strings.Contains(err.Error(), email) {
				t.Errorf("%d %s: %v", status, body, err)
			}
		}
	}
}

func TestConfigurationErrorsComeTogether(t *testing.T) {
	_, err := New(Config{BaseURL: "api.example.com", ByteBase: 1001, Timeout: -1, AuthHeader: "X Key", Privacy: Privacy{MAC: Hash, IP: "blur"}})
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, part := range []string{"API URL", "byte base 1001", "time-out", "auth header", "needs a key", `"blur"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not mention %s", err, part)
		}
	}
}
