package platform

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const emptyPage = `{"data":[],"links":{"next":null}}`

func TestEveryStatusHasItsKind(t *testing.T) {
	for status, want := range map[int]ErrorKind{
		301: Redirected, 302: Redirected, 304: Redirected, 307: Redirected, 308: Redirected,
		401: Unauthorised, 403: Forbidden, 404: NotFound, 429: RateLimited,
		500: Server, 502: Server, 503: Server, 504: Server, 599: Server,
		201: Malformed, 204: Malformed, 400: Malformed, 405: Malformed, 418: Malformed, 422: Malformed,
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		for endpoint, request := range ask {
			e := fault(t, request(t.Context(), client(t, url, nil)))
			if e.Kind != want || e.Endpoint != endpoint || e.Meta.Status != status || e.Meta.Endpoint != endpoint {
				t.Errorf("%d of %s: %s of %s, status %d; want %s", status, endpoint, e.Kind, e.Endpoint, e.Meta.Status, want)
			}
			text := e.Error()
			for _, part := range []string{string(endpoint), want.String(), fmt.Sprint(status), kinds[want].remedy} {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	date := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC) // far from the local clock
	stamp := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for header, want := range map[string]time.Duration{
		"":                         0,
		"0":                        0,
		"17":                       17 * time.Second,
		" 17 ":                     17 * time.Second,
		"3600":                     time.Hour,
		"3601":                     time.Hour,
		"9223372036854775807":      time.Hour,
		"99999999999999999999":     time.Hour, // beyond 64 bits
		"-1":                       0,
		"-10000000000":             0, // would overflow in nanoseconds
		"-9223372036854775808":     0,
		"-99999999999999999999999": 0,
		stamp(42 * time.Second):    42 * time.Second,
		stamp(-42 * time.Second):   0,
		stamp(900 * time.Hour):     time.Hour,
		"soon":                     0,
		"1.5":                      0,
	} {
		for _, status := range []int{429, 503} {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", date.Format(http.TimeFormat))
				if header != "" {
					w.Header().Set("Retry-After", header)
				}
				w.WriteHeader(status)
			})
			e := fault(t, ask[Count](t.Context(), client(t, url, nil)))
			if e.RetryAfter != want {
				t.Errorf("%d, Retry-After %q: %v, want %v", status, header, e.RetryAfter, want)
			}
		}
	}
}

func TestRetryAfterDateFallsBackToTheLocalClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := client(t, "http://api.invalid", func(cfg *Config) {
		cfg.Now = func() time.Time { return now }
		cfg.Transport = exchange(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Retry-After": {now.Add(time.Minute).Format(http.TimeFormat)}}
			return &http.Response{StatusCode: 429, Header: h, Body: http.NoBody, Request: r}, nil
		})
	})
	if e := fault(t, ask[Sessions](t.Context(), c)); e.RetryAfter != time.Minute {
		t.Errorf("%v, want 1m", e.RetryAfter)
	}
}

func TestUndocumentedBodiesAreMalformed(t *testing.T) {
	bodies := map[Endpoint][]string{
		Sessions: {
			"", "null", "[]", `"data"`, "<!DOCTYPE html><html><title>Log in</title></html>",
			`{"data":[{"id":"a","location_id":"b"}`, `{"data":[{"id":"a"`, `{"data":[`, `{"data"`, `{`,
			`{}`, `{"links":{"next":null}}`, `{"data":null}`, `{"data":{}}`, `{"data":"none"}`, `{"data":7}`,
			emptyPage + "<!-- cached -->", emptyPage + emptyPage,
			`{"data":[{"id":"a","location_id":"b"}],"data":[]}`, `{"data":[],"data":null}`,
		},
		Count: {"", "null", "[]", "<html>", `{}`, `{"count":null}`, `{"count":-1}`, `{"count":"many"}`, `{"count":1.5}`,
			`{"count":99999999999999999999}`, `{"count":[3]}`, `{"count":3`, `{"count":3}x`},
		Guests:    {"", `"gone"`, "7", "<html>", `{"ip_address":"10.0.0.1"`, `[{"ip_address":`, `[]x`},
		Locations: {"", "null", "[]", "<html>", `{}`, `{"data":null}`, `{"data":{}}`, `{"data":[`, `{"data":[]}x`},
	}
	for endpoint, list := range bodies {
		for _, body := range list {
			c := client(t, "http://api.invalid", func(cfg *Config) { cfg.Transport = answering(200, body, nil) })
			err := ask[endpoint](t.Context(), c)
			if err == nil {
				t.Errorf("%s took %q", endpoint, body)
			} else if e := fault(t, err); e.Kind != Malformed {
				t.Errorf("%s, %q: %v", endpoint, body, err)
			}
		}
	}
	web := client(t, "http://api.invalid", func(cfg *Config) { cfg.Transport = answering(200, "<!DOCTYPE html>\n<html>", nil) })
	if err := ask[Sessions](t.Context(), web); !strings.Contains(err.Error(), "<!DOCTYPE html>") || !strings.Contains(err.Error(), "web page") {
		t.Errorf("%v: want it to show that a web page came", err)
	}
}

func TestBodiesAreCappedAfterDecompression(t *testing.T) {
	const most = 64 << 10
	for name, tc := range map[string]struct {
		size int
		gzip bool
		ok   bool
	}{
		"plain, at the limit": {most, false, true}, "plain, beyond": {most + 1, false, false},
		"gzip, at the limit": {most, true, true}, "gzip, beyond": {most + 1, true, false},
		"gzip bomb": {64 << 20, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			sent := int64(0)
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var out io.Writer = w
				if tc.gzip {
					if r.Header.Get("Accept-Encoding") != "gzip" {
						t.Errorf("Accept-Encoding is %q", r.Header.Get("Accept-Encoding"))
					}
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(&counting{w, &sent})
					defer z.Close()
					out = z
				}
				_, _ = io.WriteString(out, emptyPage)
				space := strings.Repeat(" ", 32<<10)
				for left := tc.size - len(emptyPage); left > 0; left -= len(space) {
					if _, err := io.WriteString(out, space[:min(left, len(space))]); err != nil {
						return // the client has had enough
					}
				}
			})
			page, err := client(t, url, func(cfg *Config) { cfg.MaxBody = most }).Sessions(t.Context(), Query{})
			if tc.ok {
				if err != nil || page.Bytes != int64(tc.size) {
					t.Fatalf("%d bytes: %v", page.Bytes, err)
				}
				return
			}
			if e := fault(t, err); e.Kind != TooLarge || e.Meta.Bytes != most+1 {
				t.Fatalf("%v after %d bytes", err, e.Meta.Bytes)
			}
			if tc.gzip && tc.size < 1<<20 && sent >= most {
				t.Fatalf("%d bytes were sent: the compressed size would have been too large too", sent)
			}
		})
	}
}

type counting struct {
	io.Writer
	n *int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	*c.n += int64(n)
	return n, err
}

func TestSilenceTimesOut(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"before the header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"amid the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"data":[`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, serve(t, handler), func(cfg *Config) { cfg.Timeout = 30 * time.Millisecond })
			for endpoint, request := range ask {
				err := request(t.Context(), c)
				if e := fault(t, err); e.Kind != TimedOut || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", endpoint, err)
				}
			}
		})
	}
}

func TestCancellationIsPassedOn(t *testing.T) {
	arrived := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	err := ask[Sessions](ctx, client(t, url, nil))
	if e := fault(t, err); !errors.Is(err, context.Canceled) || e.Kind == TimedOut {
		t.Errorf("%v: want it to be the cancellation, and no time-out", err)
	}
}

func TestBrokenConnectionsAreNetworkErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	abort := func(w http.ResponseWriter) {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, url := range map[string]string{
		"refused":   refused,
		"no answer": serve(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }),
		"length not kept": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			fmt.Fprint(w, emptyPage)
			abort(w)
		}),
		"chunks cut off": serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, emptyPage[:9]); abort(w) }),
		"garbled gzip": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, emptyPage)
		}),
		"unresolved": "http://127.0.0.1:0",
	} {
		for endpoint, request := range ask {
			if e := fault(t, request(t.Context(), client(t, url, nil))); e.Kind != Network {
				t.Errorf("%s, %s: %v", name, endpoint, e)
			}
		}
	}
}

// TestWhoMayNotAskAnyMoreDoesNot: another process may spend the limit by then.
func TestWhoMayNotAskAnyMoreDoesNot(t *testing.T) {
	asked, may := 0, true
	c := client(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { asked++; fmt.Fprint(w, emptyPage) }), func(cfg *Config) { cfg.May = func() bool { return may } })
	if _, err := c.Sessions(t.Context(), Query{}); err != nil || asked != 1 {
		t.Fatal(asked, err)
	}
	may = false
	for endpoint, request := range ask {
		if e := fault(t, request(t.Context(), c)); !errors.Is(e, errMayNot) || asked != 1 {
			t.Errorf("%s: %v; the platform was asked %d times", endpoint, e, asked)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	strayed := make(chan *http.Request, 100)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		strayed <- r
		fmt.Fprint(w, emptyPage)
	}))
	t.Cleanup(elsewhere.Close)
	for _, to := range []string{elsewhere.URL + "/sessions", "/elsewhere"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			asked := 0
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				http.Redirect(w, r, to, status)
			})
			e := fault(t, ask[Sessions](t.Context(), client(t, url, nil)))
			if e.Kind != Redirected || asked != 1 {
				t.Errorf("%d to %s: %v after %d requests", status, to, e, asked)
			}
		}
	}
	if len(strayed) > 0 {
		t.Errorf("%d requests reached another host, token %q", len(strayed), (<-strayed).Header.Get("Authorization"))
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Unauthorised; k <= Untrusted; k++ {
		if s := k.String(); s == "" || s == "unknown" || seen[s] || kinds[k].remedy == "" {
			t.Errorf("%d is %q, remedy %q", int(k), s, kinds[k].remedy)
		}
		seen[k.String()] = true
	}
	for _, k := range []ErrorKind{-1, 0, Untrusted + 1} {
		if k.String() != "unknown" || (&Error{Kind: k}).Error() == "" {
			t.Errorf("%d is %q", int(k), k)
		}
	}
}
