package webhook

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	cfg, err := parse(t, "endpoints:\n  - GOOD\n    headers: {Authorization: hunter2}")
	if err != nil {
		t.Fatal(err)
	}
	e := cfg.Endpoints[0]
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "endpoint", e, "secret", e.Secrets[0])
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "endpoint", e, "secret", e.Secrets[0])
	raw := "0123456789abcdef"
	for _, out := range []string{fmt.Sprint(e.Secrets), fmt.Sprintf("%v %+v %s", e.Secrets[0], e.Secrets, e.Secrets[0]), fmt.Sprintf("%#v", e.Secrets), fmt.Sprintf("%v %+v %#v", e, cfg, cfg), string(asJSON), logged.String(), e.fingerprint} {
		if strings.Contains(out, testKey) || strings.Contains(out, raw) || strings.Contains(out, "hunter2") {
			t.Errorf("shows a secret: %s", out)
		}
	}
}

func TestSecretFromFileIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s"), testSecret+"\n")
	write(t, filepath.Join(dir, "e.yaml"), "endpoints:\n  - {name: a, url: 'https://example.com', secrets: ['file:s']}")
	cfg, err := Load(filepath.Join(dir, "e.yaml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(cfg.Endpoints[0].Secrets[0].key); got != "0123456789abcdef0123456789abcdef" {
		t.Errorf("key %q", got)
	}
}

// TestWhatWasCertainlyNotMeantIsStripped: editors, shells and env files leave more
// round a value than its author wrote, and a receiver would see a wrong signature.
func TestWhatWasCertainlyNotMeantIsStripped(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	unpadded := strings.TrimRight(testSecret, "=")
	if unpadded == testSecret {
		t.Fatal("the secret has no padding to leave out")
	}
	const bom = "\ufeff"
	for name, value := range map[string]string{
		"no padding": unpadded, "byte order mark": bom + testSecret, "carriage return": testSecret + "\r\n", "quotes": `"` + testSecret + `"`,
		"single quotes": "'" + unpadded + "'", "all of it": bom + " '" + unpadded + "'\r\n",
	} {
		for _, as := range []string{"env:S", "file:s", ""} {
			written, _ := json.Marshal(as)
			if as == "" {
				written, _ = json.Marshal(value)
			}
			l := loader{
				env:  func(string) (string, bool) { return value, true },
				read: func(string) ([]byte, error) { return []byte(value), nil },
			}
			cfg, err := l.parse([]byte(bom + "endpoints:\r\n  - {name: a, url: https://example.com, secrets: [" + string(written) + "]}\r\n"))
			if err != nil {
				t.Errorf("%s, %q: %v", name, as, err)
			} else if got := string(cfg.Endpoints[0].Secrets[0].key); got != key {
				t.Errorf("%s, %q: key %q", name, as, got)
			}
		}
	}
}

// TestSuspiciousValuesAreNamed: what may be meant is not changed in silence.
func TestSuspiciousValuesAreNamed(t *testing.T) {
	t.Parallel()
	utf16 := "\xff\xfew\x00h\x00s\x00e\x00c\x00_\x00"
	for name, tc := range map[string]struct{ value, secret, header string }{
		"UTF-16":           {utf16, "is UTF-16; save it as UTF-8", "is UTF-16; save it as UTF-8"},
		"quoted header":    {`"Bearer t0ken"`, "", "is in quotation marks"},
		"nothing in it":    {"\ufeff\r\n", "is empty", "is empty"},
		"quotes alone":     {`""`, "is empty", "is in quotation marks"},
		"two lines":        {testSecret + "\n" + testSecret, "more than one line", "more than one line"},
		"URL-safe base64":  {"whsec_" + strings.Repeat("-_", 20), `standard alphabet, with "+" and "/"`, ""},
		"invisible inside": {"Bearer t0\u200bken", "", "invisible"},
	} {
		for _, reference := range []string{"env:S", "file:s"} {
			l := loader{
				env:  func(string) (string, bool) { return tc.value, true },
				read: func(string) ([]byte, error) { return []byte(tc.value), nil },
			}
			if _, err := l.secrets([]string{reference}); tc.secret != "" && (err == nil || !strings.Contains(err.Error(), tc.secret)) {
				t.Errorf("%s as a secret, %s: %v, want %q", name, reference, err, tc.secret)
			}
			if _, err := l.header(map[string]string{"Authorization": reference}); tc.header != "" && (err == nil || !strings.Contains(err.Error(), tc.header)) {
				t.Errorf("%s as a header, %s: %v, want %q", name, reference, err, tc.header)
			} else if err != nil && strings.Contains(err.Error(), "t0") {
				t.Errorf("%s: shows the token: %v", name, err)
			}
		}
	}
	l := loader{read: func(string) ([]byte, error) { return nil, nil }}
	if _, err := l.parse([]byte("\xff\xfee\x00n\x00d\x00")); err == nil || !strings.Contains(err.Error(), "is UTF-16; save it as UTF-8") {
		t.Errorf("endpoints file in UTF-16: %v", err)
	}
}
