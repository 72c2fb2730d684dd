package webhook

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testKey is base64 text that must never appear in an error or a log line.
var testKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

var testSecret = secretPrefix + testKey

func TestExampleFileLoads(t *testing.T) {
	t.Setenv("GUESTFLOW_CRM_SECRET", testSecret)
	t.Setenv("GUESTFLOW_LOYALTY_SECRET", testSecret)
	t.Setenv("GUESTFLOW_CRM_TOKEN", "Bearer t0ken")
	cfg, err := Load("testdata/endpoints.yaml", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	crm, err := cfg.Find("crm-arrivals")
	if err != nil {
		t.Fatal(err)
	}
	if len(crm.Secrets) != 2 || crm.RateLimit != 50 || crm.Concurrency != 8 || crm.Format != CloudEvents ||
		crm.Timeout != DefaultTimeout || crm.MaxRetry != DefaultMaxRetry || crm.headers.Get("Authorization") != "Bearer t0ken" {
		t.Errorf("crm-arrivals: %d secrets, %v/s, concurrency %d, %s", len(crm.Secrets), crm.RateLimit, crm.Concurrency, crm.Format)
	}
	loyalty, err := cfg.Find("loyalty")
	if err != nil {
		t.Fatal(err)
	}
	if !loyalty.Ordered || loyalty.Format != CloudEventsBinary || loyalty.Timeout != 15*time.Second || loyalty.MaxRetry != 72*time.Hour {
		t.Errorf("loyalty: ordered %v, %s, %s, %s", loyalty.Ordered, loyalty.Format, loyalty.Timeout, loyalty.MaxRetry)
	}
	if local, err := cfg.Find("local-dashboard"); err != nil || !local.AllowPrivate || local.Format != PlainData {
		t.Errorf("local-dashboard: private %v, %s, %v", local.AllowPrivate, local.Format, err)
	}
	if _, err := cfg.Find("nobody"); err == nil || !strings.Contains(err.Error(), "loyalty") {
		t.Errorf("unknown name: %v, want the names there are", err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/endpoints.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), string(example)) {
		t.Error("README.md does not hold testdata/endpoints.yaml word for word")
	}
}

// parse loads text as a file, with fields of a good endpoint where it has FIELDS.
func parse(t testing.TB, text string) (Config, error) {
	t.Helper()
	good := "name: a\n    url: https://example.com/h\n    secrets: [" + testSecret + "]"
	text = strings.ReplaceAll(text, "GOOD", good)
	l := loader{folder: t.TempDir(), read: os.ReadFile, env: func(string) (string, bool) { return "", false }}
	return l.parse([]byte(text))
}

func TestErrorsNameLineAndRemedy(t *testing.T) {
	t.Parallel()
	const head = "endpoints:\n  - GOOD\n    "
	for name, tc := range map[string]struct{ file, want string }{
		"unknown key":        {head + "timout: 3s", `line 5: endpoint "a": unknown field "timout"; did you mean timeout?`},
		"repeated key":       {head + "name: b", `line 5: endpoint "a": "name" stands on line 2 already; keep one`},
		"repeated header":    {head + "headers: {X-A: a, X-A: b}", `line 5: endpoint "a": headers: "X-A" stands on line 5 already; keep one`},
		"repeated top key":   {"endpoints: []\nendpoints: []", `line 2: "endpoints" stands on line 1 already; keep one`},
		"unknown top key":    {"endpoint: []", `line 1: unknown field "endpoint"; did you mean endpoints?`},
		"not a mapping":      {"hello", `line 1: the file must be a mapping`},
		"duration":           {head + "timeout: 3", `line 5: endpoint "a": timeout: "3" is not a duration`},
		"negative duration":  {head + "max_retry: -3s", `line 5: endpoint "a": max_retry`},
		"kind":               {head + "kinds: [began]", `line 5: endpoint "a": kinds: unknown kind "began"; known are`},
		"glob":               {head + `locations: ["[a"]`, `line 5: endpoint "a": locations: "[a" is not a glob`},
		"format":             {head + "format: xml", `line 5: endpoint "a": format: "xml" is none of`},
		"content type":       {head + "content_type: json", `line 5: endpoint "a": content_type: "json" is no content type; write for instance application/json`},
		"type of binary":     {head + "format: cloudevents-binary\n    content_type: text/plain", `line 6: endpoint "a": content_type: cloudevents-binary sends that of the data`},
		"type as a header":   {head + "headers: {content-type: text/plain}", `"content-type" is set by the dispatcher; use content_type`},
		"rate":               {head + "rate_limit: 0", `line 5: endpoint "a": rate_limit: must be more than 0`},
		"rate not a number":  {head + "rate_limit: .nan", `line 5: endpoint "a": rate_limit: ".nan" is not a plain number`},
		"concurrency":        {head + "concurrency: 0", `line 5: endpoint "a": concurrency: must be 1 to`},
		"condition name":     {head + `condition: session.durations > 3`, `line 5: endpoint "a": condition: column 9: session has no field durations; did you mean duration_seconds?`},
		"condition type":     {head + `condition: kind + 1 == 2`, `line 5: endpoint "a": condition: column 6: invalid operation`},
		"condition not bool": {head + `condition: session.duration_seconds`, `line 5: endpoint "a": condition: column 1: expected true or false, but got number`},
		"condition clock":    {head + `condition: now() > time`, `line 5: endpoint "a": condition: column 1: unknown name now`},
		"our header":         {head + `headers: {webhook-id: x}`, `line 5: endpoint "a": headers: "webhook-id" is set by the dispatcher`},
		"header break":       {head + `headers: {a: "x\r\ny: z"}`, `line 5: endpoint "a": headers: "a": the value has a character`},
		"name":               {"endpoints:\n  - url: https://example.com\n    secrets: [" + testSecret + "]", `line 2: endpoint "": name: must be`},
		"same name":          {"endpoints:\n  - GOOD\n  - GOOD", `line 5: endpoint name "a" is used on line 2 already`},
		"no secret":          {"endpoints:\n  - name: a\n    url: https://example.com", `secrets: at least one is needed`},
		"short secret":       {"endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [whsec_YWJj]", `line 4: endpoint "a": secrets: number 1: the secret has 3 bytes, want 24 to 64`},
		"plain secret":       {"endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [hunter2]", `number 1: a secret must begin with "whsec_"`},
		"a fraction":         {head + "concurrency: 1.9", `line 5: endpoint "a": concurrency: "1.9" is not a whole number`},
		"octal":              {head + "concurrency: 010", `"010" is not a whole number`},
		"hexadecimal":        {head + "concurrency: 0x10", `"0x10" is not a whole number`},
		"underscore":         {head + "rate_limit: 1_0", `"1_0" is not a plain number`},
		"neither":            {head + "ordered: yes", `line 5: endpoint "a": ordered: "yes" is neither true nor false`},
		"a number for it":    {head + "allow_private: 1", `allow_private: "1" is neither true nor false`},
		"text for a list":    {head + "kinds: started", `line 5: endpoint "a": kinds: must be a list`},
		"a list for text":    {head + "condition: [true]", `line 5: endpoint "a": condition: must be a single text`},
		"text for pairs":     {head + "headers: a", `line 5: endpoint "a": headers: must be a mapping`},
		"empty item":         {head + "locations: [a, ~]", `line 5: endpoint "a": locations: item 2 is empty`},
		"header of nothing":  {head + "headers: {X-A: }", `line 5: endpoint "a": headers: "X-A" has no value`},
		"a list of texts":    {"endpoints: [a]", `line 1: an endpoint must be a mapping`},
		"no list":            {"endpoints: {name: a}", `line 1: endpoints: must be a list`},
		"unknown alias":      {head + "locations: *where", `line 5: there is no anchor &where`},
		"second document":    {"endpoints: []\n---\nendpoints: []", `line 3: a second document begins`},
		"endless merge":      {"endpoints:\n  - &a {<<: *a}", `line 2: an endpoint must be a mapping`},
		"unset variable":     {"endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [env:NOPE]", `number 1: environment variable "NOPE" is not set`},
		"missing file":       {"endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [file:nope]", `number 1: cannot read the referenced file`},
		"scheme":             {"endpoints:\n  - name: a\n    url: ftp://example.com\n    secrets: [" + testSecret + "]", `line 3: endpoint "a": url: must be an absolute http`},
		"user in url":        {"endpoints:\n  - name: a\n    url: https://u:hunter2@example.com\n    secrets: [" + testSecret + "]", `line 3: endpoint "a": url: must not hold a user`},
		"private address":    {"endpoints:\n  - name: a\n    url: http://[::ffff:127.0.0.1]/\n    secrets: [" + testSecret + "]", `line 3: endpoint "a": url: ::ffff:127.0.0.1: not a public address; set allow_private`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, tc.file)
			if err == nil {
				t.Fatal("loaded")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q\nlacks %q", err, tc.want)
			}
			if strings.Contains(err.Error(), testKey) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows a secret: %q", err)
			}
		})
	}
}

// TestTextIsKeptAsItWasWritten: a location id or a header of digits is not a number.
func TestTextIsKeptAsItWasWritten(t *testing.T) {
	t.Parallel()
	written := []string{"0123", "12_3", "0x1F", "0o17", "0b11", "1.10", "1e3", "-0", "007", "True", ".inf", "2026-01-01", "12:30", "yes"}
	for _, text := range written {
		cfg, err := parse(t, "endpoints:\n  - GOOD\n    locations: ["+text+"]\n    headers: {X-Store: "+text+", "+text+": x}")
		if text == "12:30" { // cannot name a header
			cfg, err = parse(t, "endpoints:\n  - GOOD\n    locations: ["+text+"]\n    headers: {X-Store: "+text+"}")
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		e := cfg.Endpoints[0]
		if e.Locations[0] != text || e.headers.Get("X-Store") != text || text != "12:30" && e.headers.Get(text) != "x" {
			t.Errorf("%s: location %q, headers %v", text, e.Locations[0], e.headers)
		}
	}
	cfg, err := parse(t, "endpoints:\n  - name: 0123\n    url: https://example.com/h\n    secrets: ["+testSecret+"]")
	if err != nil || cfg.Endpoints[0].Name != "0123" {
		t.Errorf("name: %v, %v", cfg.Endpoints, err)
	}
}

func TestEndpointsShareByAnchorsAndMerges(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t, "endpoints:\n  - &first\n    GOOD\n    locations: &where [0123]\n    rate_limit: 5\n  - <<: *first\n    name: b\n    rate_limit: 7\n  - {<<: [*first], name: c, locations: *where}")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name  string
		limit float64
	}{{"a", 5}, {"b", 7}, {"c", 5}} {
		if e := cfg.Endpoints[i]; e.Name != want.name || e.RateLimit != want.limit || e.Locations[0] != "0123" || e.URL.Host != "example.com" {
			t.Errorf("endpoint %d: %s, %v, %v", i, e.Name, e.RateLimit, e.Locations)
		}
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "endpoints:\n  - GOOD\n    timeout: x\n    format: y\n  - name: '!'")
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{"line 5:", "line 6:", "line 7:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

func TestJSONFileLoads(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t, `{"endpoints": [{"name": "a", "url": "https://example.com/", "secrets": ["`+testSecret+`"], "rate_limit": 2.5, "ordered": true}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if e := cfg.Endpoints[0]; e.RateLimit != 2.5 || !e.Ordered {
		t.Errorf("rate %v, ordered %v", e.RateLimit, e.Ordered)
	}
}

func TestEmptyFileHasNoEndpoints(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "endpoints: []", "endpoints:"} {
		if cfg, err := parse(t, text); err != nil || len(cfg.Endpoints) != 0 {
			t.Errorf("%q: %v, %v", text, cfg, err)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenFileKeepsTheOldAndIsReportedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "e.yaml"), filepath.Join(dir, "s")
	one := "endpoints:\n  - {name: one, url: 'https://example.com', secrets: ['file:s']}\n"
	write(t, secret, testSecret)
	write(t, file, one)
	w, err := watch(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := w.config().Endpoints[0].digest
	if changed, err := w.reload(); changed || err != nil {
		t.Errorf("unchanged file: %v, %v", changed, err)
	}
	write(t, file, one+"oops: 1")
	if changed, err := w.reload(); changed || err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "line 3:") {
		t.Errorf("broken file: %v, %v; want an error with file and line", changed, err)
	}
	if changed, err := w.reload(); changed || err != nil {
		t.Errorf("broken file, second look: %v, %v; want silence", changed, err)
	}
	if got := w.config().Endpoints; len(got) != 1 || got[0].Name != "one" {
		t.Errorf("after a broken file: %v", got)
	}
	write(t, file, strings.Replace(one, "one", "two", 1))
	if changed, err := w.reload(); !changed || err != nil || w.config().Endpoints[0].Name != "two" {
		t.Errorf("mended file: %v, %v, %v", changed, err, w.config())
	}
	write(t, secret, secretPrefix+base64.StdEncoding.EncodeToString(make([]byte, 24)))
	if changed, err := w.reload(); !changed || err != nil || w.config().Endpoints[0].digest == before {
		t.Errorf("changed secret file: %v, %v", changed, err)
	}
}

// TestSecretFileMadeLaterIsSeen: an entry is often written before its secret is
// mounted, and nobody touches it again.
func TestSecretFileMadeLaterIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "e.yaml"), filepath.Join(dir, "s")
	write(t, file, "endpoints: []")
	w, err := watch(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "endpoints:\n  - {name: a, url: 'https://example.com', secrets: ['file:s']}\n")
	if changed, err := w.reload(); changed || err == nil || !strings.Contains(err.Error(), secret) {
		t.Fatalf("no secret file: %v, %v; want an error that names it", changed, err)
	}
	write(t, secret, "not yet")
	if changed, err := w.reload(); changed || err == nil || !strings.Contains(err.Error(), secretPrefix) {
		t.Errorf("a file that holds no secret: %v, %v", changed, err)
	}
	write(t, secret, testSecret)
	if changed, err := w.reload(); !changed || err != nil || len(w.config().Endpoints) != 1 {
		t.Errorf("the secret file: %v, %v, %v", changed, err, w.config())
	}
	if changed, err := w.reload(); changed || err != nil {
		t.Errorf("unchanged files: %v, %v", changed, err)
	}
}

func FuzzEndpointsFile(f *testing.F) {
	example, err := os.ReadFile("testdata/endpoints.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(`{"endpoints":[{"name":"a","url":"http://[::1]/","condition":"kind"}]}`))
	f.Add([]byte("endpoints: [{secrets: [" + testSecret))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := loader{env: func(string) (string, bool) { return testSecret, true }, read: func(string) ([]byte, error) { return []byte(testSecret), nil }}
		cfg, err := l.parse(data)
		if err != nil && strings.Contains(err.Error(), testKey) {
			t.Errorf("error shows a secret: %v", err)
		}
		if err != nil {
			return
		}
		for _, e := range cfg.Endpoints {
			if e.URL == nil || len(e.Secrets) == 0 || e.Concurrency < 1 || e.Timeout <= 0 || e.MaxRetry <= 0 || !e.Format.valid() {
				t.Errorf("an endpoint that cannot work: %+v", e)
			}
		}
	})
}

// TestFaultsOfAFileStandInItsOrder, each with its line, a tab and an unknown name with
// what is meant.
func TestFaultsOfAFileStandInItsOrder(t *testing.T) {
	l := loader{env: os.LookupEnv, read: os.ReadFile}
	_, err := l.parse([]byte("endpoints:\n  - name: a\n    url: ftp://a.example/x\n    secrets: [plain:x]\n    timeout: soon\n  - name: b\n    url: nonsense\n"))
	if err == nil {
		t.Fatal("it is taken")
	}
	last := 0
	for text := range strings.Lines(err.Error()) {
		at := strings.Index(text, "line ")
		var line int
		if _, scanned := fmt.Sscanf(text[max(0, at):], "line %d:", &line); scanned != nil || line < last {
			t.Errorf("line %d comes before %q", last, text)
		}
		last = line
	}
	if _, err := l.parse([]byte("endpoints:\n\t- name: a\n")); err == nil || !strings.Contains(err.Error(), "line 2: it is indented with a tab") {
		t.Errorf("a tab: %v", err)
	}
	c := Config{Endpoints: []Endpoint{{Name: "crm"}, {Name: "shop"}}}
	if _, err := c.Find("crn"); err == nil || !strings.Contains(err.Error(), "did you mean crm") {
		t.Errorf("an unknown name: %v", err)
	}
}
