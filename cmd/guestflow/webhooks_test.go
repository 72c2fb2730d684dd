package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// endpointsFile writes a file of endpoints "a", "b" …, each with these further
// lines.
func endpointsFile(t *testing.T, url string, more ...string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("endpoints:\n")
	for i, lines := range more {
		text.WriteString("  - name: " + string(rune('a'+i)) + "\n    url: " + url + "\n    secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]\n    allow_private: true\n")
		for line := range strings.Lines(lines) {
			text.WriteString("    " + strings.TrimSpace(line) + "\n")
		}
	}
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestConditionNeedsWhatIsPublished: a condition on what the configuration leaves
// out would never hold, and nobody would be told.
func TestConditionNeedsWhatIsPublished(t *testing.T) {
	const away = "http://127.0.0.1:1/"
	for _, tc := range []struct {
		condition string
		env       []string
		want      string // empty: permitted
	}{
		{`guest.email != ""`, nil, "set GUESTFLOW_GUESTS=true"},
		{`observed.guest == "confirmed"`, nil, "set GUESTFLOW_GUESTS=true"},
		{`guest.email != ""`, []string{"GUESTFLOW_GUESTS=true"}, ""},
		{`guest.email != ""`, []string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_EMAIL=drop"}, "set GUESTFLOW_EMAIL to keep or hash"},
		{`guest.name != ""`, []string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_EMAIL=drop"}, ""},
		{`guest.username != ""`, []string{"GUESTFLOW_GUESTS=true", "GUESTFLOW_NAME=drop"}, "set GUESTFLOW_NAME to keep or hash"},
		{`session.device_mac != ""`, []string{"GUESTFLOW_MAC=drop"}, "set GUESTFLOW_MAC to keep or hash"},
		{`previous.device_ip != nil`, []string{"GUESTFLOW_IP=drop"}, "set GUESTFLOW_IP to keep or hash"},
		{`session.device_ip != ""`, nil, ""},
	} {
		file := endpointsFile(t, away, "condition: '"+tc.condition+"'")
		environment(t, append(tc.env, "GUESTFLOW_WEBHOOKS_FILE="+file, "GUESTFLOW_NATS_URL=nats://127.0.0.1:1")...)
		for _, command := range [][]string{{"webhooks", "status"}, {"demo", "--for", "1ns"}} {
			if tc.want == "" && command[0] == "demo" {
				continue // it would run
			}
			code, _, errs := invoke(command...)
			refused := strings.Contains(errs, `endpoint "a": condition: `)
			if refused != (tc.want != "") || !strings.Contains(errs, tc.want) || refused && code != 2 {
				t.Errorf("%v with %v, %v: exit code %d, %s", tc.condition, tc.env, command, code, errs)
			}
		}
	}
}
