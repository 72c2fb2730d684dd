package simulator

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFaultsParse(t *testing.T) {
	for text, want := range map[string]Fault{
		"429:30s@2m":                    {Kind: FaultLimit, Amount: -1, For: 30 * time.Second, At: 2 * time.Minute},
		"429=0%1":                       {Kind: FaultLimit, Percent: 1},
		"429=7:10s@1m+5m":               {Kind: FaultLimit, Amount: 7 * time.Second, For: 10 * time.Second, At: time.Minute, Every: 5 * time.Minute},
		"5xx":                           {Kind: FaultServer, Percent: 5},
		"5xx=503:1m@0s/sessions":        {Kind: FaultServer, Status: 503, For: time.Minute, Endpoint: EndpointSessions},
		"stall":                         {Kind: FaultStall, Amount: time.Minute, Percent: 5},
		"stall=10s%0.5/ip":              {Kind: FaultStall, Amount: 10 * time.Second, Percent: 0.5, Endpoint: EndpointIP},
		"cut%100":                       {Kind: FaultCut, Percent: 100},
		"html:5s":                       {Kind: FaultHTML, For: 5 * time.Second},
		"next=same%50":                  {Kind: FaultNext, Next: "same", Percent: 50},
		"next=<http://127.0.0.1:9/x>%1": {Kind: FaultNext, Next: "http://127.0.0.1:9/x", Percent: 1},
		"skew=-2m:1h":                   {Kind: FaultSkew, Amount: -2 * time.Minute, For: time.Hour},
		"revoked:1m@1m30s":              {Kind: FaultRevoked, For: time.Minute, At: 90 * time.Second},
	} {
		got, err := ParseFault(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
		again, err := ParseFault(got.String())
		if err != nil || again != got && again.Percent != 100 {
			t.Errorf("%s: written %s, read %+v %v", text, got, again, err)
		}
	}
	for text, want := range map[string]string{
		"":               "unknown kind",
		"rain":           "429, 5xx, stall, cut, html, next, dup, damaged, skew, revoked, forbidden, guest",
		"429:soon":       "the length \"soon\"",
		"429@later":      "the start \"later\"",
		"429:-5s":        "the length",
		"429:10s@1m+x":   "the repetition",
		"429@1m+5m":      "shorter length",
		"429=abc":        "seconds",
		"5xx=404":        "500 to 599",
		"5xx%0":          "percentage",
		"5xx%NaN":        "percentage",
		"5xx%101":        "percentage",
		"html=loud":      "takes no argument",
		"next=sideways":  "no trick",
		"next=<http://x": "no >",
		"stall=-1s":      "no duration",
		"cut/guests":     "no endpoint \"guests\"",
	} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "fault \""+text) {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
	if fs, err := ParseFaults([]string{"cut", "rain", "snow"}); fs != nil || err == nil || strings.Count(err.Error(), "unknown kind") != 2 {
		t.Errorf("%v %v", fs, err)
	}
	for _, k := range faultKinds {
		if !strings.Contains(FaultHelp(), string(k.kind)+" ") {
			t.Errorf("the help leaves out %s", k.kind)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"429:30s@2m", "next=<http://a/b>%5/ip", "stall=1s:1m@0s+2m%50", "=%/@+:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		again, err := ParseFault(fault.String())
		if fault.For == 0 && fault.Percent == 0 {
			fault.Percent = 100 // the same, said outright
		}
		if err != nil || again != fault {
			t.Fatalf("%q reads as %+v, written %q, reads as %+v: %v", text, fault, fault.String(), again, err)
		}
	})
}

func TestFaultsKeepTheirTimes(t *testing.T) {
	at := func(text string, since time.Duration) bool {
		f, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := f.strikes(1, 0, 1, EndpointSessions, since)
		return ok
	}
	for _, tc := range []struct {
		fault string
		since time.Duration
		want  bool
	}{
		{"cut:30s@2m", 2*time.Minute - 1, false}, {"cut:30s@2m", 2 * time.Minute, true},
		{"cut:30s@2m", 150*time.Second - 1, true}, {"cut:30s@2m", 150 * time.Second, false},
		{"cut:30s@2m+1m", 190 * time.Second, true}, {"cut:30s@2m+1m", 215 * time.Second, false},
		{"cut@1h%100", 100 * time.Hour, true}, {"cut%100/count", 0, false}, {"cut%100/sessions", 0, true},
	} {
		if got := at(tc.fault, tc.since); got != tc.want {
			t.Errorf("%s after %v: %t", tc.fault, tc.since, got)
		}
	}
	f := Fault{Kind: FaultCut, Percent: 20}
	n := 0
	for i := range uint64(10000) {
		if _, ok := f.strikes(3, 0, i, EndpointSessions, 0); ok {
			n++
		}
	}
	if n < 1850 || n > 2150 {
		t.Errorf("20 %% of 10,000 requests are %d", n)
	}
}

// reply is what a client got.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // of the body
}

// fetch asks a real server through a real client.
func fetch(t *testing.T, srv *httptest.Server, path string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	resp, err := srv.Client().Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, body, err}
}

func TestEveryFaultReachesTheClient(t *testing.T) {
	readPage := func(t *testing.T, r reply) (p page) {
		t.Helper()
		if err := json.Unmarshal(r.body, &p); err != nil || r.status != 200 || r.err != nil {
			t.Fatalf("%d %v %v", r.status, err, r.err)
		}
		return p
	}
	nextIs := func(want string) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			p := readPage(t, r)
			if p.Links.Next == nil || !strings.Contains(*p.Links.Next, want) {
				t.Errorf("next %v", p.Links.Next)
			}
		}
	}
	statusIs := func(want int) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			var m struct{ Message string }
			if err := json.Unmarshal(r.body, &m); r.status != want || err != nil || m.Message == "" {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	}
	for _, tc := range []struct {
		fault, path string
		served      bool
		check       func(*testing.T, reply)
	}{
		{"429:30s", "/sessions", false, func(t *testing.T, r reply) {
			statusIs(429)(t, r)
			if r.header.Get("Retry-After") != "30" || r.header.Get("X-RateLimit-Reset") == "" || r.header.Get("X-RateLimit-Remaining") != "0" {
				t.Errorf("%v", r.header)
			}
		}},
		{"429=0%100", "/sessions", false, func(t *testing.T, r reply) {
			if r.status != 429 || r.header.Get("Retry-After") != "0" {
				t.Errorf("%d %v", r.status, r.header)
			}
		}},
		{"5xx=503:1m", "/sessions", false, statusIs(503)},
		{"cut:1m", "/sessions", false, func(t *testing.T, r reply) {
			if r.err == nil || json.Valid(r.body) {
				t.Errorf("the body came whole: %d B, %v", len(r.body), r.err)
			}
		}},
		{"html:1m", "/sessions", false, func(t *testing.T, r reply) {
			if !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || !strings.HasPrefix(string(r.body), "<!DOCTYPE") || r.status != 200 && r.status != 502 {
				t.Errorf("%d %v", r.status, r.header)
			}
		}},
		{"next=host:1m", "/sessions", true, nextIs("elsewhere.invalid")},
		{"next=same:1m", "/sessions?page=2", true, nextIs("/sessions?page=2")},
		{"next=first:1m", "/sessions?page=2", true, nextIs("/sessions?page=1")},
		{"next=endless:1m", "/sessions?page=9999", true, nextIs("/sessions?page=10000")},
		{"next=<http://127.0.0.1:1/steal>:1m", "/sessions", true, nextIs("http://127.0.0.1:1/steal")},
		{"dup:1m", "/sessions?page=2", true, func(t *testing.T, r reply) {
			p := readPage(t, r)
			ids := make([]string, len(p.Data))
			for i := range p.Data {
				ids[i] = p.Data[i]["id"].(string)
			}
			slices.Sort(ids)
			if len(ids) != 12 || len(slices.Compact(ids)) != 11 {
				t.Errorf("%d records", len(p.Data))
			}
		}},
		{"skew=1h:1m", "/sessions", true, func(t *testing.T, r reply) {
			if r.header.Get("Date") != noon.Add(time.Hour).Format(http.TimeFormat) {
				t.Errorf("Date %s", r.header.Get("Date"))
			}
		}},
		{"revoked:1m", "/sessions", false, statusIs(401)},
		{"forbidden:1m", "/sessions", false, statusIs(403)},
		{"revoked:1m/count", "/sessions", true, func(t *testing.T, r reply) { readPage(t, r) }},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			f, err := ParseFault(tc.fault)
			if err != nil {
				t.Fatal(err)
			}
			cfg := small()
			cfg.Faults = []Fault{f}
			truth := make(chan Truth, 10000)
			cfg.Truth = func(x Truth) { truth <- x }
			srv := httptest.NewServer(New(cfg, newClock().now))
			tc.check(t, fetch(t, srv, tc.path))
			served, struck, limited := false, false, false
			note := func(x Truth) {
				served = served || x.Kind == TruthServed
				struck = struck || x.Kind == TruthFault && x.Fault == f.Kind
				limited = limited || x.Kind == TruthLimited && x.Fault == FaultLimit
			}
			// The client has the body a moment before the server knows; to close
			// the connection now would look as if the client had gone away.
			for tc.served && !served {
				note(<-truth)
			}
			srv.Close() // waits for the handler
			close(truth)
			for x := range truth {
				note(x)
			}
			if served != tc.served || struck != (f.Endpoint == "") || limited != (f.Kind == FaultLimit) {
				t.Errorf("truth: served %t, struck %t, limited %t", served, struck, limited)
			}
		})
	}
}

func TestVariantsOfAFaultComeInTurn(t *testing.T) {
	// Each kind that has several forms shows all of them within 60 requests.
	for kind, check := range map[FaultKind]func(reply) string{
		FaultServer: func(r reply) string { return http.StatusText(r.status) },
		FaultHTML:   func(r reply) string { return http.StatusText(r.status) },
		FaultCut:    func(r reply) string { return r.err.Error() + r.header.Get("Content-Length") },
		FaultNext: func(r reply) string {
			var p page
			if json.Unmarshal(r.body, &p) != nil || p.Links.Next == nil {
				return "none"
			}
			return strings.Replace(*p.Links.Next, "127.0.0.1", "", 1)
		},
	} {
		cfg := unlimited(small())
		cfg.Faults = []Fault{{Kind: kind}}
		srv := httptest.NewServer(New(cfg, newClock().now))
		forms := map[string]bool{}
		for range 60 {
			forms[check(fetch(t, srv, "/sessions?page=2"))] = true
		}
		srv.Close()
		if want := map[FaultKind]int{FaultServer: 4, FaultHTML: 2, FaultCut: 2, FaultNext: 4}[kind]; len(forms) != want {
			t.Errorf("%s: %d forms, want %d: %v", kind, len(forms), want, forms)
		}
	}
}

func TestDamagedRecordsAreNotServed(t *testing.T) {
	cfg := unlimited(small())
	cfg.Faults = []Fault{{Kind: FaultDamaged}}
	truth := make(chan Truth, 10000)
	cfg.Truth = func(x Truth) {
		if x.Kind == TruthServed {
			truth <- x
		}
	}
	c := newClock()
	s := New(cfg, c.now)
	forms := map[string]int{}
	for range 40 {
		c.add(time.Second)
		var p struct{ Data []json.RawMessage }
		if err := json.Unmarshal(get(s, "/sessions?online=true&per_page=50").Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		served := (<-truth).Online
		for _, raw := range p.Data {
			var m map[string]any
			if json.Unmarshal(raw, &m) != nil || m == nil {
				forms[string(raw)]++
				continue
			}
			id, _ := m["id"].(string)
			switch _, listed := m["id"].([]any); {
			case listed:
				forms["id of another type"]++
				continue
			case id == "":
				forms["no id"]++
				continue
			}
			fit := true
			if m["location_id"] == nil || m["location_id"] == "" {
				forms["no location"]++
				fit = false
			} else if _, ok := m["downloaded_data"].(string); !ok {
				forms["no figure"]++
				fit = false
			} else if m["start_time"] == "yesterday" {
				forms["no time"]++
				fit = false
			} else if m["access_point"] != nil {
				forms["new field"]++
			} else {
				forms["whole"]++
			}
			if slices.Contains(served, id) != fit {
				t.Fatalf("served %t, fit %t: %s", !fit, fit, raw)
			}
		}
	}
	if len(forms) != 9 {
		t.Errorf("forms %v", forms)
	}
	if forms["whole"] < 8*forms["no location"] {
		t.Errorf("most records are damaged: %v", forms)
	}
}

func TestStallComesLateWithOldData(t *testing.T) {
	cfg := small()
	cfg.Faults = []Fault{{Kind: FaultStall, Amount: 20 * time.Second}}
	c := newClock()
	var slept []time.Duration
	cfg.Sleep = func(ctx context.Context, d time.Duration) error {
		slept = append(slept, d)
		c.add(d)
		return ctx.Err()
	}
	cfg.Latency = func(uint64) time.Duration { return 100 * time.Millisecond }
	var served []Truth
	cfg.Truth = func(x Truth) {
		if x.Kind == TruthServed {
			served = append(served, x)
		}
	}
	w := get(New(cfg, c.now), "/sessions")
	if w.Code != 200 || !slices.Equal(slept, []time.Duration{50 * time.Millisecond, 20050 * time.Millisecond}) {
		t.Errorf("%d, slept %v", w.Code, slept)
	}
	if len(served) != 1 || !served[0].Time.Equal(noon.Add(50*time.Millisecond)) {
		t.Errorf("%+v", served)
	}
}
