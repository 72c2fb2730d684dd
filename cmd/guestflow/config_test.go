package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// environment is the whole environment of a test: nothing of the machine's own
// configuration shows through.
func environment(t *testing.T, variables ...string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix+"_") {
			t.Setenv(name, value) // restores it at the end
			os.Unsetenv(name)
		}
	}
	for _, kv := range variables {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

func TestEveryDefaultIsValid(t *testing.T) {
	environment(t)
	cfg, warnings, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings %q", warnings)
	}
	if cfg.APIRateLimit != 60 || cfg.Stream != "GUEST_SESSIONS" || cfg.StreamMaxAge != 720*time.Hour || cfg.NATSListen != "127.0.0.1:4222" {
		t.Errorf("defaults are not what they are documented to be: %+v", cfg)
	}
}

// TestBadValuesAreToldTogether: one error names every variable that is wrong, and
// each once.
func TestBadValuesAreToldTogether(t *testing.T) {
	environment(t,
		"GUESTFLOW_API_TIMEOUT=soon", "GUESTFLOW_API_RATE_LIMIT=many", "GUESTFLOW_API_SHARED_LIMIT=perhaps",
		"GUESTFLOW_START_WEIGHT=-1", "GUESTFLOW_BYTE_BASE=7", "GUESTFLOW_MAC=hash", "GUESTFLOW_PRIVACY_KEY=short",
		"GUESTFLOW_HTTP_ADDR=8080", "GUESTFLOW_STREAM=a.b", "GUESTFLOW_SUBJECT_PREFIX=a..b", "GUESTFLOW_NATS_CERT=cert.pem",
		"GUESTFLOW_NATS_URL=localhost", "GUESTFLOW_LOG_LEVEL=loud", "GUESTFLOW_OUTBOX_MAX_BYTES=1",
		"GUESTFLOW_NAME=hide", "GUESTFLOW_GUESTS=maybe", "GUESTFLOW_GUEST_WAIT=-1s", "GUESTFLOW_GUEST_MINIMUM=sure",
		"GUESTFLOW_OCCUPANCY_CORS=board.example",
	)
	_, _, err := loadConfig(os.Environ())
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, name := range []string{
		"API_TIMEOUT", "API_RATE_LIMIT", "API_SHARED_LIMIT", "START_WEIGHT", "BYTE_BASE", "PRIVACY_KEY", "HTTP_ADDR",
		"STREAM", "SUBJECT_PREFIX", "NATS_CERT", "NATS_URL", "LOG_LEVEL", "OUTBOX_MAX_BYTES",
		"NAME", "GUESTS", "GUEST_WAIT", "GUEST_MINIMUM", "OCCUPANCY_CORS",
	} {
		told := 0
		for _, line := range lines {
			if rest, ok := strings.CutPrefix(line, "GUESTFLOW_"+name); ok && strings.IndexAny(rest, "= :") == 0 {
				told++
			}
		}
		if told != 1 {
			t.Errorf("GUESTFLOW_%s is told %d times, not once, in\n%v", name, told, err)
		}
	}
}

// TestLocationsMayBeWrittenWithSpace: an id with a space in front, or none at all,
// would be asked for and never found.
func TestLocationsMayBeWrittenWithSpace(t *testing.T) {
	environment(t, "GUESTFLOW_LOCATIONS= lobby, pool bar ,,", "GUESTFLOW_OCCUPANCY_CORS=https://board.example")
	cfg, _, err := loadConfig(os.Environ())
	if want := []string{"lobby", "pool bar"}; err != nil || !slices.Equal(cfg.Locations, want) {
		t.Errorf("locations %q, %v, want %q", cfg.Locations, err, want)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	environment(t, "GUESTFLOW_API_TOKN=x", "GUESTFLOW_ACCOUNT_FILE=x", "GUESTFLOW_API_TOKEN_FILE=", "GUESTFLOWER=1")
	_, warnings, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 2 || !strings.HasPrefix(warnings[0], "GUESTFLOW_ACCOUNT_FILE ") || !strings.HasPrefix(warnings[1], "GUESTFLOW_API_TOKN ") {
		t.Errorf("got %q; want one for GUESTFLOW_ACCOUNT_FILE, which is no secret, and one for GUESTFLOW_API_TOKN", warnings)
	}
}

// TestOnlyPrefixedVariablesCount: what other programs are configured by, on the
// same machine or in the same container, means nothing here.
func TestOnlyPrefixedVariablesCount(t *testing.T) {
	environment(t, "API_TOKEN=other", "NATS_URL=nats://other:4222", "LOG_LEVEL=trace", "IP=192.0.2.1", "ACCOUNT=other", "DATA_DIR=/other")
	cfg, _, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.APIToken != "" || cfg.NATSURL != "" || cfg.LogLevel != "info" || cfg.IP != "keep" || cfg.Account != "default" || cfg.DataDir != "data" {
		t.Errorf("variables without the prefix were read: token %q, NATS %q, level %q, IP %q, account %q, data %q",
			cfg.APIToken, cfg.NATSURL, cfg.LogLevel, cfg.IP, cfg.Account, cfg.DataDir)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		variables []string
		token     string
		wrong     string // of the error; empty for none
	}{
		{"file", []string{"GUESTFLOW_API_TOKEN_FILE=" + file}, "s3cret", ""},
		{"value", []string{"GUESTFLOW_API_TOKEN=plain"}, "plain", ""},
		{"empty file name", []string{"GUESTFLOW_API_TOKEN=plain", "GUESTFLOW_API_TOKEN_FILE="}, "plain", ""},
		{"both", []string{"GUESTFLOW_API_TOKEN=plain", "GUESTFLOW_API_TOKEN_FILE=" + file}, "plain", "GUESTFLOW_API_TOKEN and GUESTFLOW_API_TOKEN_FILE are both set"},
		{"missing", []string{"GUESTFLOW_API_TOKEN_FILE=" + file + ".gone"}, "", "GUESTFLOW_API_TOKEN_FILE: open " + file + ".gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.variables...)
			cfg, warnings, err := loadConfig(os.Environ())
			if cfg.APIToken != c.token {
				t.Errorf("token %q, want %q", cfg.APIToken, c.token)
			}
			if len(warnings) > 0 {
				t.Errorf("warnings %q", warnings)
			}
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("error %v, want %q", err, c.wrong)
			}
		})
	}
}

// TestErrorsKeepSecrets: the value of a secret is not repeated to the log.
func TestErrorsKeepSecrets(t *testing.T) {
	environment(t, "GUESTFLOW_PRIVACY_KEY=t0psecret", "GUESTFLOW_IP=hash",
		"GUESTFLOW_NATS_URL=:t0psecret@", "GUESTFLOW_API_URL=http://user:t0psecret@[")
	_, _, err := loadConfig(os.Environ())
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), "t0psecret") {
		t.Errorf("the error tells a secret:\n%v", err)
	}
}

// TestGuestsNeedSomethingToPublish: and a key where they are pseudonyms.
func TestGuestsNeedSomethingToPublish(t *testing.T) {
	for _, c := range []struct {
		variables []string
		fault     string
	}{
		{[]string{"GUESTFLOW_GUESTS=true"}, ""},
		{[]string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_NAME=drop"}, ""},
		{[]string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_IP=drop", "GUESTFLOW_EMAIL=hash", "GUESTFLOW_PRIVACY_KEY=0123456789abcdef"}, ""},
		{[]string{"GUESTFLOW_NAME=drop", "GUESTFLOW_EMAIL=drop"}, ""},
		{[]string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_NAME=drop", "GUESTFLOW_EMAIL=drop"}, "GUESTFLOW_GUESTS=true with"},
		{[]string{"GUESTFLOW_EMAIL=hash"}, "GUESTFLOW_PRIVACY_KEY is needed"},
		{[]string{"GUESTFLOW_NAME=hash"}, "GUESTFLOW_PRIVACY_KEY is needed"},
	} {
		t.Run(strings.Join(c.variables, " "), func(t *testing.T) {
			environment(t, c.variables...)
			if _, _, err := loadConfig(os.Environ()); (err != nil) != (c.fault != "") || err != nil && !strings.HasPrefix(err.Error(), c.fault) {
				t.Errorf("error %v, want %q", err, c.fault)
			}
		})
	}
}

// TestEmptyVariablesCountAsUnset: compose passes `X=` for what its user left out.
func TestEmptyVariablesCountAsUnset(t *testing.T) {
	environment(t)
	want, _, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[Config]().Fields() {
		t.Setenv(variable(field), "")
		if field.Tag.Get("secret") != "" {
			t.Setenv(variable(field)+"_FILE", "")
		}
	}
	got, warnings, err := loadConfig(os.Environ())
	if err != nil || len(warnings) > 0 {
		t.Errorf("warnings %q, error:\n%v", warnings, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestOneErrorNamesAll: what is missing is told beside what is wrong, and nothing
// twice.
func TestOneErrorNamesAll(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for _, command := range []string{"run", "check"} {
		for _, c := range []struct {
			variables []string
			told      []string
		}{
			{[]string{"GUESTFLOW_BYTE_BASE=7", "GUESTFLOW_API_TIMEOUT=soon"}, []string{"GUESTFLOW_API_TIMEOUT=", "GUESTFLOW_BYTE_BASE=", "GUESTFLOW_API_URL is", "GUESTFLOW_API_TOKEN is"}},
			{[]string{"GUESTFLOW_BYTE_BASE=7", "GUESTFLOW_API_TOKEN_FILE=" + gone, "GUESTFLOW_WEBHOOKS_FILE=" + gone + ".yaml"}, []string{"GUESTFLOW_API_TOKEN_FILE:", "GUESTFLOW_BYTE_BASE=", "GUESTFLOW_API_URL is", gone + ".yaml"}},
			{[]string{"GUESTFLOW_MAC=x", "GUESTFLOW_API_URL=ftp://example.com", "GUESTFLOW_API_TOKEN=t0psecret"}, []string{"GUESTFLOW_MAC=", "GUESTFLOW_API_URL"}},
			{[]string{"GUESTFLOW_API_RATE_LIMIT=0"}, []string{"GUESTFLOW_API_RATE_LIMIT=", "GUESTFLOW_API_URL is", "GUESTFLOW_API_TOKEN is"}},
		} {
			environment(t, c.variables...)
			code, _, errs := invoke(command)
			if code != 2 || strings.Count(errs, "\n  - ") != len(c.told) {
				t.Errorf("%s: exit code %d, want %d lines of\n%s", command, code, len(c.told), errs)
			}
			for _, told := range c.told {
				if strings.Count(errs, told) != 1 {
					t.Errorf("%s: %q is told %d times in\n%s", command, told, strings.Count(errs, told), errs)
				}
			}
		}
	}
}
