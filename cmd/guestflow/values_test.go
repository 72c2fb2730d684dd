package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestValuesAreReadAsTheyAreMeant: what editors, shells and docker --env-file put round
// a value is no part of it, in a variable as in a file.
func TestValuesAreReadAsTheyAreMeant(t *testing.T) {
	const token = "tok-5f0c9a7e1b"
	for name, raw := range map[string]string{
		"alone": token, "newline": token + "\n", "carriage return": token + "\r\n", "carriage return alone": token + "\r", "space": "  " + token + "\t ",
		"byte order mark": "\ufeff" + token + "\n", "quotes": `"` + token + `"`, "single quotes": "'" + token + "'\r\n", "mark, quotes and return": "\ufeff\"" + token + "\"\r\n",
		"scheme": "Bearer " + token, "scheme in small letters": "bearer  " + token, "header": "Authorization: Bearer " + token, "quoted scheme": `"Bearer ` + token + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, variables := range [][]string{
				{"GUESTFLOW_API_TOKEN=" + raw, "GUESTFLOW_OCCUPANCY_TOKEN=" + raw},
				{"GUESTFLOW_API_TOKEN_FILE=" + file, "GUESTFLOW_OCCUPANCY_TOKEN_FILE=" + file},
			} {
				environment(t, variables...)
				cfg, warnings, err := loadConfig(os.Environ())
				if err != nil || len(warnings) > 0 || cfg.APIToken != token || cfg.OccupancyToken != token {
					t.Errorf("%q: %q and %q, warnings %q, error %v; want %q", variables, cfg.APIToken, cfg.OccupancyToken, warnings, err, token)
				}
			}
		})
	}
	environment(t, `GUESTFLOW_API_URL="https://api.example.com/v1"`, "GUESTFLOW_API_RATE_LIMIT=\"50\"\r", "GUESTFLOW_LOCATIONS='a, b'", "GUESTFLOW_GUESTS=\"true\"", "GUESTFLOW_STREAM=\ufeffSTREAM\r",
		`GUESTFLOW_API_PROXY="http://user:secret@proxy.example:3128"`)
	cfg, warnings, err := loadConfig(os.Environ())
	if err != nil || len(warnings) > 0 || cfg.APIURL != "https://api.example.com/v1" || cfg.APIRateLimit != 50 || len(cfg.Locations) != 2 || cfg.Locations[0] != "a" ||
		!cfg.Guests || cfg.Stream != "STREAM" || cfg.APIProxy != "http://user:secret@proxy.example:3128" {
		t.Errorf("warnings %q, error %v, %+v", warnings, err, cfg)
	}
}

// TestSchemeIsKeptWhereNoneIsSent: with GUESTFLOW_API_AUTH_SCHEME=- the token is the
// whole value of the header, and with another scheme it is that which is dropped.
func TestSchemeIsKeptWhereNoneIsSent(t *testing.T) {
	for scheme, want := range map[string]string{"-": "Bearer abc", "Token": "Bearer abc", "Bearer": "abc"} {
		environment(t, "GUESTFLOW_API_TOKEN=Bearer abc", "GUESTFLOW_API_AUTH_SCHEME="+scheme)
		if cfg, _, err := loadConfig(os.Environ()); err != nil || cfg.APIToken != want {
			t.Errorf("scheme %q: token %q, %v; want %q", scheme, cfg.APIToken, err, want)
		}
	}
}

// TestSuspiciousSecretsAreNamed: before a plain 401, and without showing them.
func TestSuspiciousSecretsAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for name, c := range map[string]struct {
		variable, content string
		warning, wrong    string
	}{
		"empty":             {"API_TOKEN", "\n", "", "is empty"},
		"two lines":         {"API_TOKEN", "t0psecret\nt0psecret\n", "", "more than one line"},
		"UTF-16":            {"API_TOKEN", "\xff\xfet\x000\x00", "", "UTF-16"},
		"invisible":         {"API_TOKEN", "t0psecret\u200b", "", "invisible"},
		"another scheme":    {"API_TOKEN", "Basic t0psecret", "white space within", ""},
		"quoted password":   {"NATS_PASSWORD", `"t0psecret"`, "in quotation marks", ""},
		"quoted NATS token": {"NATS_TOKEN", `'t0psecret'`, "in quotation marks", ""},
		"quoted key":        {"PRIVACY_KEY", `"t0psecret-t0psecret"`, "in quotation marks", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			environment(t, "GUESTFLOW_"+c.variable+"_FILE="+file)
			cfg, warnings, err := loadConfig(os.Environ())
			text := strings.Join(warnings, "\n")
			if err != nil {
				text += err.Error()
			}
			if (len(warnings) > 0) != (c.warning != "") || (err != nil) != (c.wrong != "") || !strings.Contains(text, c.warning) || !strings.Contains(text, c.wrong) || !strings.HasPrefix(text, "GUESTFLOW_"+c.variable) {
				t.Errorf("warnings %q, error %v", warnings, err)
			}
			if strings.Contains(text, "t0psecret") {
				t.Errorf("it tells the secret: %s", text)
			}
			if c.variable == "NATS_PASSWORD" && cfg.NATSPassword != c.content {
				t.Errorf("password %q is not as it was written", cfg.NATSPassword)
			}
		})
	}
}
