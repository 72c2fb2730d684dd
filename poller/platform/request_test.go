package platform

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestRequestsGoWhereTheBaseSays(t *testing.T) {
	for base, want := range map[string]string{
		"http://h":               "http://h/sessions/count",
		"http://h/":              "http://h/sessions/count",
		"http://h//":             "http://h/sessions/count",
		"https://h:8443/api/v1":  "https://h:8443/api/v1/sessions/count",
		"https://h/api/v1/":      "https://h/api/v1/sessions/count",
		"https://h/a%2Fb/v1/":    "https://h/a%2Fb/v1/sessions/count",
		"http://[::1]:80/api":    "http://[::1]:80/api/sessions/count",
		"HTTPS://h/with%20space": "https://h/with%20space/sessions/count",
	} {
		var last *http.Request
		c := client(t, base, func(cfg *Config) { cfg.Transport = answering(200, `{"count":7}`, &last) })
		n, m, err := c.Count(t.Context(), Query{})
		if err != nil || n != 7 || m.Status != 200 || last.URL.String() != want || last.Method != http.MethodGet {
			t.Errorf("%s: %d %v, asked %s %s, want %s", base, n, err, last.Method, last.URL, want)
		}
	}
}

func TestTokenIsSentAsConfigured(t *testing.T) {
	for _, tc := range []struct{ header, scheme, token, wantHeader, want string }{
		{"", "", secret, "Authorization", "Bearer " + secret},
		{"X-Api-Key", "-", secret, "X-Api-Key", secret},
		{"Authorization", "Token", secret, "Authorization", "Token " + secret},
		{"", "", "", "Authorization", ""},
	} {
		var last *http.Request
		c := client(t, "http://h", func(cfg *Config) {
			cfg.AuthHeader, cfg.AuthScheme, cfg.Token = tc.header, tc.scheme, tc.token
			cfg.Transport = answering(200, emptyPage, &last)
		})
		if err := ask[Sessions](t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := last.Header.Get(tc.wantHeader); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
		if last.Header.Get("Accept") != "application/json" || last.Header.Get("User-Agent") != "guestflow" || strings.Contains(last.URL.String(), secret) {
			t.Errorf("%v %v", last.URL, last.Header)
		}
	}
}

// TestFiltersCannotBeInjected sends every filter through a URL and back.
func TestFiltersCannotBeInjected(t *testing.T) {
	var last *http.Request
	c := client(t, "http://h/api", func(cfg *Config) { cfg.Transport = answering(200, emptyPage, &last) })
	rapid.Check(t, func(t *rapid.T) {
		hostile := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a&online=false", "a#b", "../x", "a=b;c", "%26", "a\r\nHost: evil", "+ "}))
		q := Query{
			LocationID: hostile.Draw(t, "location"), GuestID: hostile.Draw(t, "guest"),
			DeviceMAC: hostile.Draw(t, "mac"), YasID: hostile.Draw(t, "yas"),
			PerPage: rapid.IntRange(-1, 100).Draw(t, "size"), Page: rapid.IntRange(-1, 9999).Draw(t, "page"),
		}
		if rapid.Bool().Draw(t, "filtered") {
			on := rapid.Bool().Draw(t, "online")
			q.Online, q.LastSessionFirst, q.StartDate, q.EndDate = &on, &on, "2026-01-02", "2026-02-03"
		}
		if _, err := c.Sessions(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		got, err := url.ParseQuery(last.URL.RawQuery)
		if err != nil || last.URL.Host != "h" || last.URL.Path != "/api/sessions" || last.URL.Fragment != "" {
			t.Fatalf("%s: %v", last.URL, err)
		}
		want := url.Values{}
		add := func(name, value string, ok bool) {
			if ok {
				want.Set(name, value)
			}
		}
		add("location_id", q.LocationID, q.LocationID != "")
		add("guest_id", q.GuestID, q.GuestID != "")
		add("guest_device_mac", q.DeviceMAC, q.DeviceMAC != "")
		add("yas_id", q.YasID, q.YasID != "")
		add("per_page", fmt.Sprint(q.PerPage), q.PerPage > 0)
		add("page", fmt.Sprint(q.Page), q.Page > 0)
		if q.Online != nil {
			add("online", fmt.Sprint(*q.Online), true)
			add("last_session_first", fmt.Sprint(*q.Online), true)
			add("start_time", q.StartDate, true)
			add("end_time", q.EndDate, true)
		}
		if got.Encode() != want.Encode() {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestDatesAreCheckedBeforeTheRequest(t *testing.T) {
	var last *http.Request
	c := client(t, "http://h", func(cfg *Config) { cfg.Transport = answering(200, emptyPage, &last) })
	for _, day := range []string{"2026-1-2", "2026-02-30", "yesterday", "2026-01-02T00:00:00Z", "2026-01-02&x=y"} {
		for _, q := range []Query{{StartDate: day}, {EndDate: day}} {
			if _, err := c.Sessions(t.Context(), q); err == nil || !strings.Contains(err.Error(), "yyyy-mm-dd") || last != nil {
				t.Errorf("%s: %v, asked %v", day, err, last)
			}
		}
	}
}

func TestOnlyAddressesReachThePath(t *testing.T) {
	var last *http.Request
	c := client(t, "http://h/api", func(cfg *Config) { cfg.Transport = answering(200, `[]`, &last) })
	for _, bad := range [][]string{
		nil, {""}, {"10.0.0.1,10.0.0.2"}, {"../count"}, {"10.0.0.1/../../x"}, {"10.0.0.1?x=y"}, {"10.0.0.256"},
		{"host"}, {"10.0.0.1", "%2e%2e"}, slices.Repeat([]string{"10.0.0.1"}, MaxIPs+1),
	} {
		if _, _, err := c.Guests(t.Context(), bad); err == nil || last != nil {
			t.Errorf("%q: %v, asked %v", bad, err, last)
		}
	}
	for _, tc := range []struct {
		ips  []string
		want string
	}{
		{[]string{"10.0.0.1"}, "/api/sessions/10.0.0.1"},
		{[]string{"10.0.0.1", "10.0.0.2"}, "/api/sessions/10.0.0.1,10.0.0.2"},
		{[]string{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"}, "/api/sessions/10.0.0.1"},
		{[]string{"2001:DB8::0:1", "10.0.0.2"}, "/api/sessions/2001:db8::1,10.0.0.2"},
		{[]string{"fe80::1%../../count"}, "/api/sessions/fe80::1"},
	} {
		if _, _, err := c.Guests(t.Context(), tc.ips); err != nil || last.URL.EscapedPath() != tc.want || last.URL.RawQuery != "" {
			t.Errorf("%q: %s %v, want %s", tc.ips, last.URL, err, tc.want)
		}
	}
}

func TestMetaTellsOfTheExchange(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "60")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("Date", "Tue, 06 May 2031 07:08:09 GMT")
		fmt.Fprint(w, emptyPage)
	})
	c := client(t, url, nil)
	page, err := c.Sessions(t.Context(), Query{})
	m := page.Meta
	if err != nil || m.Limit != 60 || m.Remaining != 0 || m.Endpoint != Sessions || m.Bytes != int64(len(emptyPage)) ||
		m.Date.Unix() != 1935731289 && m.Date.Year() != 2031 || m.Received.Before(m.Sent) || m.Sent.IsZero() {
		t.Errorf("%+v %v", m, err)
	}
	if offset, known := c.Clock().Offset(); !known || m.Sent.Add(offset).Year() != 2031 {
		t.Errorf("the clock is %v ahead, known %t", offset, known)
	}
	for _, bad := range []string{"", "many", "-3", "1e9"} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Limit", bad)
			w.Header()["Date"] = nil
			fmt.Fprint(w, emptyPage)
		})
		page, err := client(t, url, nil).Sessions(t.Context(), Query{})
		if err != nil || page.Limit != -1 || page.Remaining != -1 || !page.Date.IsZero() {
			t.Errorf("limit %q: %+v %v", bad, page.Meta, err)
		}
	}
}

// TestEveryRequestIsTold, whatever becomes of it, and none that was not sent.
func TestEveryRequestIsTold(t *testing.T) {
	may := true
	var answer atomic.Int64 // the server reads it
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		status := int(answer.Load())
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
	})
	type told struct {
		Endpoint
		answered bool
	}
	var all []told
	c := client(t, base, func(cfg *Config) {
		cfg.May = func() bool { return may }
		cfg.Asked = func(m Meta, answered bool) { all = append(all, told{m.Endpoint, answered}) }
	})
	for _, status := range []int64{http.StatusOK, http.StatusTooManyRequests, 0} {
		answer.Store(status)
		if _, err := c.Sessions(t.Context(), Query{}); err == nil {
			t.Errorf("status %d: no error", status)
		}
	}
	answer.Store(http.StatusNotFound)
	_, _, _ = c.Count(t.Context(), Query{})
	may = false
	_, _, _ = c.Count(t.Context(), Query{})
	if want := []told{{Sessions, true}, {Sessions, true}, {Sessions, false}, {Count, true}}; !slices.Equal(all, want) {
		t.Errorf("told of %v, want %v", all, want)
	}
}
