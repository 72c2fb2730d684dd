package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/account"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// accountsFile writes an accounts file, and returns its path.
func accountsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.yaml")
	replace(t, path, text)
	return path
}

// replace puts a file in the place of another at once, as editors do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestAccountsHaveSettingsOfTheirOwn: what an account leaves out is as the variables
// have it, text is kept as it is written, and secrets may be elsewhere.
func TestAccountsHaveSettingsOfTheirOwn(t *testing.T) {
	path := accountsFile(t, `
accounts:
  - account: 007
    api_url: https://one.example/api
    api_token: env:TOKEN_OF_ONE
    locations: [0123, " bar "]
    mac: hash
    privacy_key: 0123456789abcdef
    max_staleness: 90s
    api_rate_limit: 30
  - {account: two, api_url: "https://two.example", api_token: "file:two.token", planner:}
`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "two.token"), []byte("Bearer second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOKEN_OF_ONE", "first")
	environment(t, "GUESTFLOW_ACCOUNTS_FILE="+path, "GUESTFLOW_PLANNER=sweep", "GUESTFLOW_API_RATE_LIMIT=50")
	cfg, warnings, err := loadConfig(os.Environ())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	accounts, err := cfg.accounts()
	if err != nil || len(accounts) != 2 {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	one, two := accounts[0], accounts[1]
	if one.Account != "007" || one.APIToken != "first" || one.APIURL != "https://one.example/api" || fmt.Sprint(one.Locations) != "[0123 bar]" ||
		one.MAC != "hash" || one.MaxStaleness != 90*time.Second || one.APIRateLimit != 30 || one.Planner != "sweep" {
		t.Errorf("the first account is %+v", one)
	}
	if two.Account != "two" || two.APIToken != "second" || two.APIRateLimit != 50 || two.Planner != "sweep" || two.MAC != "keep" || len(two.Locations) != 0 {
		t.Errorf("the second account is %+v", two)
	}
}

// TestFaultsOfAnAccountsFileAreNamed: each error names the line, the account and the
// key, all at once, and none shows a token.
func TestFaultsOfAnAccountsFileAreNamed(t *testing.T) {
	const good = "api_url: https://a.example, api_token: t0psecret"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"several": {`accounts:
  - account: a
    api_url: ftp://a.example
    api_token: t0psecret
    max_staleness: soon
  - account: b
    api_url: https://b.example
    api_token: env:NOT_THERE
    api_rate_limt: 3
`, []string{`line 5: account "a": max_staleness: "soon": use a duration`, `line 8: account "b": api_token: environment variable "NOT_THERE" is not set`, `line 9: account "b": unknown key "api_rate_limt"; did you mean api_rate_limit?`}},
		"value":       {"accounts: [{account: a, " + good + ", api_rate_limit: 0}]", []string{`line 1: account "a": api_rate_limit=0: use 1 or more`}},
		"needs":       {"accounts:\n  - account: a\n", []string{`line 2: account "a": api_url is not set`, `line 2: account "a": api_token is not set: give the API token`}},
		"pseudonyms":  {"accounts: [{account: a, " + good + ", mac: hash}]", []string{`account "a": privacy_key is needed where`}},
		"nameless":    {"accounts: [{" + good + "}]", []string{"line 1: an account has no name; write account:"}},
		"twice":       {"accounts: [{account: a, " + good + "},\n  {account: a, api_url: https://b.example, api_token: x}]", []string{`line 2: account "a" stands on line 1 already`}},
		"one limit":   {"accounts: [{account: a, " + good + "}, {account: b, " + good + "}]", []string{`account "b": api_token: it is that of account "a"`}},
		"not for all": {"accounts: [{account: a, " + good + ", nats_url: nats://x}]", []string{`account "a": unknown key "nats_url"`}},
		"no list":     {"accounts: yes", []string{"line 1: accounts: must be a list"}},
		"other key":   {"account:\n  - account: a\n", []string{`line 1: unknown key "account"; did you mean accounts?`}},
		"no mapping":  {"- account: a\n", []string{`begin it with "accounts:"`}},
		"tab":         {"accounts:\n\t- account: a\n", []string{"line 2: it is indented with a tab"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := accountsFile(t, c.text)
			environment(t, "GUESTFLOW_ACCOUNTS_FILE="+path)
			cfg, _, err := loadConfig(os.Environ())
			if err != nil {
				t.Fatal(err)
			}
			_, err = cfg.accounts()
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range append(c.want, path) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q:\n%v", part, err)
				}
			}
			if strings.Contains(err.Error(), "t0psecret") {
				t.Errorf("it shows a token: %v", err)
			}
		})
	}
	environment(t, "GUESTFLOW_ACCOUNTS_FILE=/nowhere/accounts.yaml")
	if code, _, stderr := invoke("run"); code != exitUsage || !strings.Contains(stderr, "GUESTFLOW_ACCOUNTS_FILE: open /nowhere/accounts.yaml") {
		t.Errorf("a missing file: exit code %d, %s", code, stderr)
	}
}

// settingsFor are those of an app on addresses of its own, whatever the environment.
func settingsFor(t *testing.T, variables ...string) Config {
	t.Helper()
	cfg, _, err := loadConfig(append([]string{
		"GUESTFLOW_DATA_DIR=" + t.TempDir(), "GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_HTTP_ADDR=127.0.0.1:0", "GUESTFLOW_TRAFFIC_MIN_BYTES=100000",
	}, variables...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// silentPlatform takes connections and never answers.
func silentPlatform(t *testing.T) string {
	t.Helper()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(func() { close(stop); server.Close() })
	return server.URL
}

// member is an account of the app.
func (r *running) member(t *testing.T, name string) *member {
	t.Helper()
	m, err := r.fleet.find(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// own is an entry of an accounts file for a simulated platform.
func own(name string, p *simulated, more ...string) string {
	return fmt.Sprintf("  - {%s}\n", strings.Join(append([]string{"account: " + name, "api_url: " + p.url, "api_token: right-" + name, "api_rate_limit: 1200"}, more...), ", "))
}

// platformOf is the platform of an account. People stay there for long, so that what was
// seen by a certain time is told by when so many more have come or left.
func platformOf(t *testing.T, name string) *simulated {
	t.Helper()
	return simulate(t, simulator.Config{Token: "right-" + name, RateLimit: 1200, Speed: 20, Locations: simulator.Venues("venue-%d", 3, 50), Stay: simulator.Stay{Mean: 45 * time.Minute, Sigma: 1}})
}

// eventuallySees waits until a scrape has a sample of at least a value.
func (r *running) eventuallySees(sample string, least float64) {
	r.t.Helper()
	eventually(r.t, func() string {
		_, body := r.get("/metrics")
		if v := value(body, sample); !(v >= least) {
			return fmt.Sprintf("%s is %v, want %v or more", sample, v, least)
		}
		return ""
	})
}

// TestAccountsAreNoBusinessOfOneAnother: in one process, an account with a refused
// token, one whose state is damaged and one whose platform is silent delay nobody; and
// the file is read again while the process runs, without touching who is not changed.
func TestAccountsAreNoBusinessOfOneAnother(t *testing.T) {
	t.Parallel()
	a, b, late := platformOf(t, "a"), platformOf(t, "b"), platformOf(t, "late")
	silent := silentPlatform(t)
	refused := platformOf(t, "refused")
	refused.url = a.url // whose token is another
	const head = "accounts:\n"
	hung := fmt.Sprintf("  - {account: hung, api_url: %s, api_token: x}\n", silent)
	rest := own("b", b) + own("refused", refused) + own("damaged", late) + hung
	path := accountsFile(t, head+own("a", a)+rest)
	cfg := settingsFor(t, "GUESTFLOW_ACCOUNTS_FILE="+path)
	if err := os.WriteFile(account.StatePath(cfg.DataDir, "damaged"), []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "degraded: account damaged: cannot go on: ")
	r.eventuallyReady(http.StatusOK, "degraded: account refused: polling: stopped: ")
	for _, name := range []string{"a", "b"} {
		r.eventuallySees(`guestflow_events_total{account="`+name+`",kind="started"}`, 5)
	}
	eventually(t, func() string {
		_, body := r.get("/metrics")
		for sample, want := range map[string]float64{
			`guestflow_account_running{account="a"}`: 1, `guestflow_account_running{account="damaged"}`: 0, `guestflow_nats_connected`: 1,
		} {
			if got := value(body, sample); got != want {
				return fmt.Sprintf("%s is %v, want %v", sample, got, want)
			}
		}
		return ""
	})
	r.eventuallyGets("/plan?account=b", http.StatusOK, `"account":"b"`)
	r.eventuallyGets("/plan", http.StatusNotFound, "name one account of 5: a, b, refused, damaged, hung")
	eventually(t, func() string {
		if _, body := r.get("/v1/health"); strings.Count(body, `"account":`) != 5 {
			return "the page's health does not show five accounts: " + body
		}
		return ""
	})

	until := a.sim.Now() // what both have shown by now is to be in the stream at the end
	untouched := r.member(t, "b").open()
	replace(t, path, head+"  - {account: a")
	r.fleet.reload()
	r.eventuallyReady(http.StatusOK, "degraded: the changed accounts file is not usable")
	replace(t, path, head+own("late", late)+own("a", a, "planner: round-robin")+own("b", b))
	r.fleet.reload()
	r.eventuallySees(`guestflow_events_total{account="late",kind="discovered"}`, 5)
	eventually(t, func() string {
		if m, err := r.fleet.find("a"); err != nil || m.cfg.Planner != "round-robin" || m.open() == nil {
			return "account a does not run with its new planner"
		}
		return ""
	})
	if r.member(t, "b").open() != untouched {
		t.Error("account b was started anew, though nothing of it had changed")
	}
	eventually(t, func() string {
		if _, body := r.get("/metrics"); !strings.Contains(body, `account="a"`) || strings.Contains(body, `account="refused"`) {
			return "an account that is gone from the file still shows in the metrics"
		}
		return ""
	})

	conn := natstest.Connect(t, r.nats.URL())
	r.endPublished()
	by := map[string][]events.Event{}
	for _, e := range kept(t, conn) {
		by[e.Account] = append(by[e.Account], e)
	}
	for name, p := range map[string]*simulated{"a": a, "b": b} {
		verify(t, p, simulator.Checker{Until: until}, by[name])
	}
}

// TestSecondProcessOnTheSameStateIsTold which file it is, and the others run.
func TestSecondProcessOnTheSameStateIsTold(t *testing.T) {
	t.Parallel()
	a := platformOf(t, "a")
	path := accountsFile(t, "accounts:\n"+own("a", a))
	cfg := settingsFor(t, "GUESTFLOW_ACCOUNTS_FILE="+path)
	r := launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "ready")
	cfg.NATSURL = r.nats.URL()
	second := launch(t, cfg)
	second.eventuallyReady(http.StatusServiceUnavailable, "account a: cannot go on: store "+account.StatePath(cfg.DataDir, "a")+": ")
	r.end()
	if err := r.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
}
