package main

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// invoke runs one command line in this process.
func invoke(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = execute(args, &out, &errs)
	return code, out.String(), errs.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if the change is meant, run the test with -update:\n%s", file, got)
	}
}

// TestConfigTableIsGolden: variables, defaults and meanings are a public
// interface.
func TestConfigTableIsGolden(t *testing.T) {
	environment(t, "GUESTFLOW_API_TOKEN=t0psecret")
	for _, c := range []struct {
		file string
		args []string
	}{
		{"testdata/config.txt", []string{"config"}},
		{"testdata/config.md", []string{"config", "--markdown"}},
	} {
		code, out, errs := invoke(c.args...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: exit code %d, %s", c.args, code, errs)
		}
		golden(t, c.file, out)
	}
}

// TestHelpIsGolden: so are commands and flags.
func TestHelpIsGolden(t *testing.T) {
	environment(t)
	var all strings.Builder
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		code, out, errs := invoke(args...)
		if code != 0 || errs != "" {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		all.WriteString("$ " + c.CommandPath() + " --help\n" + out + "\n")
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root, _ := rootCommand()
	walk(root)
	golden(t, "testdata/help.txt", all.String())
}

// TestExitCodes: 0 for success, 1 for failure, 2 for usage and configuration; and
// what is said says what to do.
func TestExitCodes(t *testing.T) {
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(endpoints, []byte("endpoints: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("endpoints:\n  - {name: crm, url: 'https://example.com'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Nothing listens at port 1 of the machine itself.
	away := "GUESTFLOW_NATS_URL=nats://user:t0psecret@127.0.0.1:1"
	for _, c := range []struct {
		name      string
		args      string
		variables []string
		code      int
		stdout    string // a part of it
		stderr    string // a part of it; empty for none at all
	}{
		{"no command", "", nil, 0, "guestflow demo", ""},
		{"group", "webhooks", nil, 0, "Available Commands", ""},
		{"version", "version", nil, 0, "guestflow ", ""},
		{"completion", "completion bash", nil, 0, "bash completion", ""},
		{"plan", "plan --limit 60", nil, 0, "bound for ends", ""},
		{"plan of none that runs", "plan", []string{"GUESTFLOW_HTTP_ADDR=127.0.0.1:1"}, 1, "", "no guestflow answers at http://127.0.0.1:1/plan"},
		{"plan of one without HTTP", "plan", []string{"GUESTFLOW_HTTP_ADDR=-"}, 1, "", "reckon with --online"},
		{"unknown command", "nonsense", nil, 2, "", `there is no command "nonsense"; see guestflow --help`},
		{"mistyped command", "dmo", nil, 2, "", "did you mean demo?"},
		{"unknown sub-command", "webhooks nonsense", nil, 2, "", "see guestflow webhooks --help"},
		{"unknown flag", "run --nope", nil, 2, "", "unknown flag: --nope; see guestflow run --help"},
		{"superfluous argument", "run now", nil, 2, "", `"now" is one argument too many; see guestflow run --help`},
		{"superfluous second argument", "webhooks status crm", nil, 2, "", `"crm" is one argument too many; see guestflow webhooks status --help`},
		{"misspelt sub-command of a command", "visits rnu", nil, 2, "", "did you mean run?"},
		{"missing argument", "webhooks test", nil, 2, "", "NAME is missing; see guestflow webhooks test --help"},
		{"unknown log level", "log-level loud", nil, 2, "", `"loud": use debug, info, warn, error; see`},
		{"misspelt variable", "webhooks check", []string{"GUESTFLOW_API_UR=x", "GUESTFLOW_MAX_STALENSES=1m"}, 2, "", "did you mean GUESTFLOW_API_URL? `guestflow config` lists them all\nwarning: GUESTFLOW_MAX_STALENSES is not a variable of guestflow; did you mean GUESTFLOW_MAX_STALENESS? "},
		{"no endpoints file there", "webhooks check", []string{"GUESTFLOW_WEBHOOKS_FILE=nowhere.yaml"}, 2, "", "GUESTFLOW_WEBHOOKS_FILE, or --file: webhook endpoints: open nowhere.yaml"},
		{"visits of the future", "visits --since 2999-01-01", nil, 2, "", "is in the future"},
		{"a backfill of the future", "backfill --since 2999-01-01", nil, 2, "", "is in the future"},
		{"a replay of the future", "webhooks replay crm --since 2999-01-01", nil, 2, "", "is in the future"},
		{"no number", "plan --online many", nil, 2, "", "use a whole number; see"},
		{"no duration", "demo --for soon", nil, 2, "", "use a duration such as 15s or 5m; see"},
		{"flags that exclude each other", "tail --since 1h --from-start", nil, 2, "", "see guestflow tail --help"},
		{"missing choice", "webhooks replay crm", nil, 2, "", "see guestflow webhooks replay --help"},
		{"bad flag value", "demo --for soon", nil, 2, "", `"soon"`},
		{"negative duration", "demo --for -3s", nil, 2, "", "positive duration"},
		{"negative speed", "simulate --speed -1", nil, 2, "", "--speed"},
		{"bad rate limit", "simulate --rate-limit -5", nil, 2, "", "--rate-limit"},
		{"unknown estate", "demo --estate E99", nil, 2, "", "E1, E2"},
		{"unknown fault", "simulate --fault zzz", nil, 2, "", "429, 5xx"},
		{"unknown order", "simulate --order random", nil, 2, "", "newest, oldest"},
		{"unknown kind", "tail --kind begun", nil, 2, "", "discovered, started"},
		{"bad time", "tail --since yesterday", nil, 2, "", "2026-01-31T08:00:00Z"},
		{"plan of nothing", "plan --locations 0", nil, 2, "", "--locations"},
		{"platform not configured", "run", nil, 2, "", "GUESTFLOW_API_URL is not set"},
		{"bad configuration", "run", []string{"GUESTFLOW_BYTE_BASE=7", "GUESTFLOW_MAC=x"}, 2, "", "GUESTFLOW_MAC=\"x\": use keep, hash, drop"},
		{"mistyped variable", "version", []string{"GUESTFLOW_TOKEN=x"}, 0, "guestflow ", ""},
		{"no endpoints file", "webhooks run", nil, 2, "", "GUESTFLOW_WEBHOOKS_FILE"},
		{"demo with a missing endpoints file", "demo", []string{"GUESTFLOW_WEBHOOKS_FILE=" + wrong + ".missing"}, 2, "", "wrong.yaml.missing"},
		{"run with a wrong endpoints file", "run", []string{"GUESTFLOW_WEBHOOKS_FILE=" + wrong}, 2, "", "line 2: endpoint \"crm\": secrets"},
		{"wrong endpoints file", "webhooks status --file " + wrong, []string{away}, 2, "", "line 2: endpoint \"crm\": secrets"},
		{"bad end of a replay", "webhooks replay crm --since 1h --until soon --file " + endpoints, []string{away}, 2, "", "--until \"soon\""},
		{"end without a beginning", "webhooks replay crm --all --until 1h --file " + endpoints, []string{away}, 2, "", "--since"},
		{"dead letters without NATS", "webhooks dead", []string{away}, 1, "", "no server takes the connection"},
		{"tail without NATS", "tail", []string{away}, 1, "", "no server takes the connection"},
		{"webhooks without NATS", "webhooks status --file " + endpoints, []string{away}, 1, "", "no server takes the connection"},
		{"occupancy without NATS", "occupancy --json", []string{away}, 1, "", "no server takes the connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.variables...)
			code, out, errs := invoke(strings.Fields(c.args)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(out, c.stdout) || c.code != 0 && out != "" {
				t.Errorf("said %q, want %q", out, c.stdout)
			}
			if !strings.Contains(errs, c.stderr) || c.stderr == "" && errs != "" {
				t.Errorf("error output %q, want %q", errs, c.stderr)
			}
			if strings.Contains(errs, "t0psecret") {
				t.Errorf("the error output tells the password: %q", errs)
			}
		})
	}
}

// TestCheckTellsWhatIsWrong: one line for each part, with its remedy, and nothing
// left behind but what it asked the platform.
func TestCheckTellsWhatIsWrong(t *testing.T) {
	platform := simulate(t, simulator.Config{Token: "right"})
	oneLimit := simulate(t, simulator.Config{Token: "right", SharedLimit: true, HasCount: true, HasLocations: true})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	s, err := store.Open(filepath.Join(locked, "default.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	busy := listen(t)
	good := []string{
		"GUESTFLOW_API_URL=" + platform.url, "GUESTFLOW_API_TOKEN=right",
		"GUESTFLOW_DATA_DIR=" + filepath.Join(dir, "new", "data"), "GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_HTTP_ADDR=127.0.0.1:0",
	}
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(empty, "default.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	groups := filepath.Join(dir, "groups.yaml")
	if err := os.WriteFile(groups, []byte("groups: [{id: north, locations: [venue-1, Venue 2, lobby]}, {id: all, locations: [default/*, acme/venue-1]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		variables []string
		code      int
		lines     []string // their beginnings
		told      string   // a part of the output
	}{
		{"all well", nil, 0, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "3 locations"},
		{"one limit", []string{"GUESTFLOW_API_URL=" + oneLimit.url}, 0, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "set GUESTFLOW_API_SHARED_LIMIT=true"},
		{"configuration", []string{"GUESTFLOW_API_URL="}, 2, []string{"FAIL  configuration"}, "GUESTFLOW_API_URL is not set"},
		{"endpoints file", []string{"GUESTFLOW_WEBHOOKS_FILE=" + file + ".yaml"}, 2, []string{"FAIL  configuration"}, file + ".yaml"},
		{"token", []string{"GUESTFLOW_API_TOKEN=wrong"}, 1, []string{"ok    configuration", "FAIL  platform: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "check GUESTFLOW_API_TOKEN"},
		{"NATS away", []string{"GUESTFLOW_NATS_URL=nats://user:t0psecret@127.0.0.1:1"}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "FAIL  NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "check GUESTFLOW_NATS_URL"},
		{"address taken", []string{"GUESTFLOW_NATS_LISTEN=" + busy}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "FAIL  NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "GUESTFLOW_NATS_LISTEN"},
		{"directory is a file", []string{"GUESTFLOW_DATA_DIR=" + filepath.Join(file, "data")}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "FAIL  data directory: ", "ok    HTTP address: "}, "GUESTFLOW_DATA_DIR"},
		{"HTTP port taken", []string{"GUESTFLOW_HTTP_ADDR=" + busy}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "ok    data directory: ", "FAIL  HTTP address: "}, "GUESTFLOW_HTTP_ADDR"},
		{"state of zero bytes", []string{"GUESTFLOW_DATA_DIR=" + empty}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "FAIL  data directory: ", "ok    HTTP address: "}, "the store is damaged: it has zero bytes"},
		{"wrong base path", []string{"GUESTFLOW_API_URL=" + platform.url + "/api/v9"}, 1, []string{"ok    configuration", "FAIL  platform: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: "}, "GET " + platform.url + "/api/v9/sessions: "},
		{"known locations", []string{"GUESTFLOW_LOCATIONS=venue-1,venue-2"}, 0, []string{"ok    configuration", "ok    platform: " + platform.url, "ok    records: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: ", "ok    locations: "}, "all 2"},
		{"unknown locations", []string{"GUESTFLOW_LOCATIONS=venue-1,Venue 2,lobby"}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: ", "FAIL  locations: "}, `no "Venue 2", "lobby" ("Venue 2" is the name of venue-2`},
		{"groups", []string{"GUESTFLOW_GROUPS_FILE=" + groups}, 0, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "ok    data directory: ", "ok    HTTP address: ",
			"ok    groups: 2 groups of 3 locations, 0 tokens", `WARN  groups: the platform of account default has no location "Venue 2", in all, north: that is the name of venue-2`, `WARN  groups: the platform of account default has no location "lobby"`, `WARN  groups: account "acme" is none`}, ""},
		{"groups file", []string{"GUESTFLOW_GROUPS_FILE=" + groups + ".gone"}, 2, []string{"FAIL  configuration"}, "GUESTFLOW_GROUPS_FILE: "},
		{"another process has it", []string{"GUESTFLOW_DATA_DIR=" + locked}, 1, []string{"ok    configuration", "ok    platform: ", "ok    records: ", "ok    NATS: ", "FAIL  data directory: ", "ok    HTTP address: "}, "GUESTFLOW_DATA_DIR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, append(append([]string(nil), good...), c.variables...)...)
			code, out, errs := invoke("check")
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errs)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != len(c.lines) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(c.lines), out)
			}
			for i, begin := range c.lines {
				if !strings.HasPrefix(lines[i], begin) {
					t.Errorf("line %q, want %q…", lines[i], begin)
				}
			}
			if !strings.Contains(out+errs, c.told) {
				t.Errorf("nothing about %q in\n%s%s", c.told, out, errs)
			}
			if strings.Contains(out+errs, "t0psecret") {
				t.Errorf("it tells the password:\n%s%s", out, errs)
			}
		})
	}
	leftRequests(t, filepath.Join(dir, "new", "data"))
}

// leftRequests checks that a command has left nothing in a directory but what it asked.
func leftRequests(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) == 0 {
		t.Errorf("nothing is left in %s: %v", dir, err)
	}
	for _, f := range left {
		if filepath.Ext(f.Name()) != ".requests" {
			t.Errorf("%s is left behind", f.Name())
		}
	}
}

// TestUnequalRemaindersAreNoSharedLimit: endpoints with limits of their own, which
// earlier starts had used unequally.
func TestUnequalRemaindersAreNoSharedLimit(t *testing.T) {
	p := simulate(t, simulator.Config{Token: "right"})
	ask := func(path string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer right")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	for range 5 {
		ask("/sessions/count")
	}
	for range 9 {
		ask("/locations")
	}
	environment(t, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right", "GUESTFLOW_DATA_DIR="+t.TempDir(), "GUESTFLOW_NATS_LISTEN=127.0.0.1:0", "GUESTFLOW_HTTP_ADDR=-")
	if code, out, errs := invoke("check"); code != 0 || strings.Contains(out, "share one limit") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// TestSharing: what is left of the limit after one request to each endpoint tells
// whether they share it; someone may be polling at the same time.
func TestSharing(t *testing.T) {
	for _, c := range []struct {
		shared                     bool // as configured
		sessions, count, locations int
		told                       string
	}{
		{false, 59, 58, 57, "set GUESTFLOW_API_SHARED_LIMIT=true"},
		{false, 20, 18, 17, "set GUESTFLOW_API_SHARED_LIMIT=true"},
		{false, 59, 59, 59, ""},
		{false, 3, 59, 59, ""},
		{false, 59, 58, 59, ""}, // someone else counts
		{false, -1, -1, -1, ""},
		{false, 59, 58, -1, ""},
		{true, 59, 58, 57, ""},
		{true, 59, 59, 59, "a limit of its own"},
		{true, 3, 59, 59, "a limit of its own"},
		{true, 59, -1, 59, ""},
	} {
		got := sharing(Config{APISharedLimit: c.shared}, c.sessions, c.count, c.locations)
		if (got == "") != (c.told == "") || !strings.Contains(got, c.told) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestFlagSwallowsNoOther: an unset variable before a flag, as in --guest $ID --yes, leaves
// its value out, and the next flag is no value.
func TestFlagSwallowsNoOther(t *testing.T) {
	environment(t)
	for args, want := range map[string]string{
		"subject forget --guest --yes":                         "--guest: its value is missing, since --yes follows it",
		"subject export --email --platform --out x.json":       "--email: its value is missing, since --platform follows it",
		"tail --location --no-follow":                          "--location: its value is missing, since --no-follow follows it",
		"export sessions --group --out=x.csv":                  "--group: its value is missing, since --out=x.csv follows it",
		"webhooks replay crm --file --all":                     "--file: its value is missing, since --all follows it",
		"export sessions --location -k --out x.csv --format 1": "--format 1",
	} {
		if code, _, errs := invoke(strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %s; want %q", args, code, errs, want)
		}
	}
}
