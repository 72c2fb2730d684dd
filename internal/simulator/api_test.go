package simulator

import (
	"encoding/json"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// page is the envelope as a client reads it.
type page struct {
	Data  []map[string]any
	Links struct{ First, Last, Prev, Next *string }
	Meta  struct {
		CurrentPage int `json:"current_page"`
		From, To    *int
		Path        string
		PerPage     any `json:"per_page"`
	}
}

// get asks s directly; header pairs follow the path.
func get(s http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func getPage(t *testing.T, s http.Handler, path string) page {
	t.Helper()
	w := get(s, path)
	var p page
	if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != 200 || err != nil {
		t.Fatalf("%s: %d %v\n%s", path, w.Code, err, w.Body)
	}
	return p
}

func unlimited(cfg Config) Config {
	cfg.RateLimit = -1
	return cfg
}

func TestResponsesAreAsDocumented(t *testing.T) {
	cfg := unlimited(small())
	cfg.BasePath = "/api/v1"
	c := newClock()
	s := New(cfg, c.now)
	c.add(time.Minute)
	records, _ := s.List(Query{Online: Online, PerPage: 3})
	for name, path := range map[string]string{
		"online":    "/api/v1/sessions?online=true&per_page=2",
		"offline":   "/api/v1/sessions?online=false&per_page=1&page=2",
		"past-end":  "/api/v1/sessions?page=4000",
		"count":     "/api/v1/sessions/count?location_id=north",
		"one-ip":    "/api/v1/sessions/" + records[0].DeviceIP,
		"two-ips":   "/api/v1/sessions/" + records[1].DeviceIP + ",192.0.2.7," + records[2].DeviceIP,
		"locations": "/api/v1/locations?per_page=2",
	} {
		t.Run(name, func(t *testing.T) {
			w := get(s, path)
			var indented []byte
			var v any
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
				t.Fatalf("%d %v: %s", w.Code, err, w.Body)
			}
			indented, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			indented = append(indented, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, indented, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; run go test ./internal/simulator -update", err)
			}
			if string(want) != string(indented) {
				t.Errorf("got\n%s\nwant\n%s", indented, want)
			}
		})
	}
}

func TestRecordsHaveTheDocumentedFieldsAndFormats(t *testing.T) {
	date, people := `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00`, `20\d\d-\d\d-\d\d \d{1,2}:\d\d [AP]M`
	size := `\d{1,4}\.\d\d (B|kB|MB|GB|TB)`
	format := map[string]string{
		"id": `[0-9A-Za-z]{11}`, "location_id": `north|south|east`, "location_name": `.+`,
		"guest_device_description": `.+`, "guest_device_mac": `([0-9a-f]{2}:){5}[0-9a-f]{2}`,
		"guest_device_ip": `172\.\d+\.\d+\.\d+`, "access_code": `(\d{6})?`, "login_type_name": `.+`,
		"service_profile_name": `.+`, "total_duration": `\d\d+:\d\d:\d\d`, "downloaded_data": size, "uploaded_data": size,
		"connection_status": `Online|Offline`, "connection_status_value": `[01]`,
		"start_time": date, "start_time_formatted": people, "end_time": date, "end_time_formatted": people,
		"guest_id": `[0-9A-Za-z]{11}`, "yas_id": `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`,
	}
	s := New(small(), newClock().now)
	matcher := map[string]*regexp.Regexp{}
	for k, f := range format {
		matcher[k] = regexp.MustCompile("^(" + f + ")$")
	}
	both := map[any]bool{}
	for n := 1; n <= 3; n++ {
		for _, r := range getPage(t, s, "/sessions?per_page=100&page="+strconv.Itoa(n)).Data {
			both[r["connection_status"]] = true
			online := r["connection_status_value"] == 1.0
			if online != (r["end_time"] == nil) || online != (r["end_time_formatted"] == nil) || online != (r["connection_status"] == "Online") {
				t.Errorf("status and end disagree: %v", r)
			}
			if !slices.Equal(slices.Sorted(maps.Keys(r)), slices.Sorted(maps.Keys(format))) {
				t.Fatalf("fields %v", slices.Sorted(maps.Keys(r)))
			}
			for k, v := range r {
				text, _ := v.(string)
				if f, ok := v.(float64); ok {
					text = strconv.Itoa(int(f))
				}
				if v != nil && !matcher[k].MatchString(text) {
					t.Errorf("%s is %v", k, v)
				}
			}
		}
	}
	if len(both) != 2 {
		t.Errorf("only %v", both)
	}
}

func TestPagesAreSimplePaginate(t *testing.T) {
	s := New(unlimited(small()), newClock().now)
	total := s.Count(Query{})
	first := func(p page) string { return p.Data[0]["id"].(string) }
	one := getPage(t, s, "/sessions")
	for _, tc := range []struct {
		name, query string
		n, current  int
		more        bool
		from        int // 0 is null
	}{
		{"default", "", 10, 1, true, 1},
		{"clamped", "per_page=1000", 100, 1, true, 1},
		{"below one", "per_page=0", 10, 1, true, 1},
		{"no number", "per_page=all", 10, 1, true, 1},
		{"second", "per_page=20&page=2", 20, 2, true, 21},
		{"page zero", "page=0", 10, 1, true, 1},
		{"page minus one", "page=-1", 10, 1, true, 1},
		{"page no number", "page=two", 10, 1, true, 1},
		{"page overflows", "page=99999999999999999999999", 10, 1, true, 1},
		{"past the end", "page=100000", 0, 100000, false, 0},
		{"last", "per_page=1&page=" + strconv.Itoa(total), 1, total, false, total},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := getPage(t, s, "/sessions?"+tc.query)
			if len(p.Data) != tc.n || p.Meta.CurrentPage != tc.current || (p.Links.Next != nil) != tc.more || p.Links.Last != nil {
				t.Errorf("%d records, %+v, %+v", len(p.Data), p.Meta, p.Links)
			}
			if tc.current == 1 && first(p) != first(one) {
				t.Error("not the records of page 1")
			}
			if p.Data == nil || (p.Links.Prev != nil) != (tc.current > 1) || p.Meta.Path != "http://example.com/sessions" {
				t.Errorf("%+v %+v", p.Links, p.Meta)
			}
			switch {
			case tc.from == 0 && (p.Meta.From != nil || p.Meta.To != nil):
				t.Error("from and to are not null")
			case tc.from > 0 && (*p.Meta.From != tc.from || *p.Meta.To != tc.from+tc.n-1):
				t.Errorf("from %d to %d", *p.Meta.From, *p.Meta.To)
			}
		})
	}
}

func TestQuirks(t *testing.T) {
	query := "/sessions?online=true&per_page=5&location_id=south"
	plain := getPage(t, New(small(), newClock().now), query)
	if *plain.Links.Next != "http://example.com/sessions?page=2" || plain.Meta.PerPage != 5.0 {
		t.Errorf("%s, per page %v", *plain.Links.Next, plain.Meta.PerPage)
	}
	cfg := small()
	cfg.NextKeepsFilters, cfg.PerPageString = true, true
	odd := getPage(t, New(cfg, newClock().now), query)
	u, err := url.Parse(*odd.Links.Next)
	if err != nil || u.Query().Encode() != "location_id=south&online=true&page=2&per_page=5" || odd.Meta.PerPage != "5" {
		t.Errorf("%v %v, per page %v", u, err, odd.Meta.PerPage)
	}
	cfg.PerPageFixed = 17
	if p := getPage(t, New(cfg, newClock().now), query); len(p.Data) != 17 {
		t.Errorf("%d records where the page size is fixed", len(p.Data))
	}
}

func TestDaysFilterByDay(t *testing.T) {
	c := newClock()
	s := New(unlimited(small()), c.now)
	day := noon.Format(time.DateOnly)
	next := noon.AddDate(0, 0, 1).Format(time.DateOnly)
	all := s.Count(Query{})
	ended := s.Count(Query{Online: Offline})
	for query, want := range map[string]int{
		"start_time=" + day: all, "start_time=" + next: 0, "end_time=" + day: ended,
		"end_time=" + noon.AddDate(0, 0, -1).Format(time.DateOnly): 0, "start_time=soon": all,
		"online=1": all - ended, "online=FALSE": ended, "online=maybe": all,
	} {
		var got struct{ Count int }
		w := get(s, "/sessions/count?"+query)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Count != want {
			t.Errorf("%s: %s, want %d", query, w.Body, want)
		}
	}
}

func TestIPLookupFindsWhoIsOnline(t *testing.T) {
	cfg := unlimited(small())
	cfg.IPPool = 400
	c := newClock()
	s := New(cfg, c.now)
	changed := 0
	was := map[string]string{}
	for range 60 {
		records, _ := s.List(Query{Online: Online, PerPage: 100})
		for _, r := range records {
			var got ipRecord
			if err := json.Unmarshal(get(s, "/sessions/"+r.DeviceIP).Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.IP != r.DeviceIP || got.Duration != r.DurationSeconds || got.Name == "" || !strings.Contains(got.Email, "@") {
				t.Fatalf("%+v for %+v", got, r)
			}
			if u, ok := was[got.IP]; ok && u != got.Username {
				changed++
			}
			was[got.IP] = got.Username
		}
		c.add(30 * time.Second)
	}
	if changed == 0 {
		t.Error("no address ever passed to another guest")
	}
	many := strings.Repeat("172.16.0.1,", 100) + "172.16.0.2"
	for path, want := range map[string]int{"192.0.2.1": 404, "nobody": 404, many: 422, "192.0.2.1,192.0.2.2": 200} {
		if w := get(s, "/sessions/"+path); w.Code != want {
			t.Errorf("%.30s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestTokenAndRoutes(t *testing.T) {
	cfg := small()
	cfg.Token = "s3cret"
	s := New(cfg, newClock().now)
	const json, auth = "application/json", "Authorization"
	for _, tc := range []struct {
		name, path string
		header     []string
		status     int
		html       bool
	}{
		{"right token", "/sessions", []string{auth, "Bearer s3cret"}, 200, false},
		{"no token", "/sessions", []string{"Accept", json}, 401, false},
		{"no token, no Accept", "/sessions", nil, 401, true},
		{"wrong token", "/sessions", []string{auth, "Bearer secret", "Accept", json}, 401, false},
		{"no scheme", "/sessions", []string{auth, "s3cret", "Accept", json}, 401, false},
		{"unknown route", "/guests", []string{auth, "Bearer s3cret", "Accept", json}, 404, false},
		{"nested route", "/sessions/1.2.3.4/x", []string{auth, "Bearer s3cret", "Accept", json}, 404, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(s, tc.path, tc.header...)
			if w.Code != tc.status || strings.Contains(w.Header().Get("Content-Type"), "html") != tc.html {
				t.Errorf("%d %s\n%s", w.Code, w.Header(), w.Body)
			}
			if w.Code == 401 && w.Header().Get("X-RateLimit-Limit") != "" {
				t.Error("the limiter counted a request without token")
			}
		})
	}
	cfg.AuthHeader, cfg.AuthScheme = "X-Api-Key", "-"
	if w := get(New(cfg, newClock().now), "/sessions", "X-Api-Key", "s3cret"); w.Code != 200 {
		t.Errorf("own header: %d", w.Code)
	}
	cfg.HasCount, cfg.HasLocations = false, false
	poor := New(cfg, newClock().now)
	for _, path := range []string{"/locations", "/sessions/count"} {
		if w := get(poor, path, "X-Api-Key", "s3cret"); w.Code != 404 {
			t.Errorf("%s: %d where there is none", path, w.Code)
		}
	}
	r := httptest.NewRequest("POST", "/sessions", nil)
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestHeadersOfTheLimiter(t *testing.T) {
	cfg := small()
	cfg.RateLimit, cfg.ClockSkew = 2, time.Hour
	c := newClock()
	s := New(cfg, c.now)
	for _, want := range []string{"1", "0"} {
		h := get(s, "/sessions").Header()
		if h.Get("X-RateLimit-Limit") != "2" || h.Get("X-RateLimit-Remaining") != want || h.Get("Retry-After") != "" || h.Get("X-RateLimit-Reset") != "" {
			t.Errorf("%v", h)
		}
		if h.Get("Date") != "Mon, 02 Mar 2026 13:00:00 GMT" {
			t.Errorf("Date %s", h.Get("Date"))
		}
	}
	c.add(10 * time.Second)
	w := get(s, "/sessions", "Accept", "application/json")
	h := w.Header()
	if w.Code != 429 || h.Get("Retry-After") != "50" || h.Get("X-RateLimit-Remaining") != "0" ||
		h.Get("X-RateLimit-Reset") != strconv.FormatInt(noon.Add(time.Hour+time.Minute).Unix(), 10) ||
		!strings.Contains(w.Body.String(), "Too Many Attempts.") {
		t.Errorf("%d %v %s", w.Code, h, w.Body)
	}
	if w := get(s, "/sessions/count"); w.Code != 200 {
		t.Errorf("another endpoint: %d", w.Code)
	}
}

// TestOnlyWhatArrivedCountsAsServed uses a client that goes away while it waits.
func TestOnlyWhatArrivedCountsAsServed(t *testing.T) {
	cfg := small()
	cfg.Latency = func(n uint64) time.Duration {
		if n == 1 {
			return time.Hour
		}
		return 0
	}
	served := make(chan Truth, 10)
	cfg.Truth = func(x Truth) {
		if x.Kind == TruthServed {
			served <- x
		}
	}
	srv := httptest.NewServer(New(cfg, newClock().now))
	defer srv.Close()
	client := srv.Client()
	client.Timeout = 50 * time.Millisecond
	if _, err := client.Get(srv.URL + "/sessions?page=1"); err == nil {
		t.Fatal("an answer within an hour")
	}
	client.Timeout = 0
	resp, err := client.Get(srv.URL + "/sessions?page=2")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if x := <-served; x.Page != 2 || len(served) != 0 {
		t.Errorf("served %+v", x)
	}
}
