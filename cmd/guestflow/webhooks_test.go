package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// TestWebhooksCheckSendsNothing: it says of each endpoint what it would get.
func TestWebhooksCheckSendsNothing(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	defer receiver.Close()
	file := endpointsFile(t, receiver.URL+"/hook?key=t0ken", "kinds: [ended]\nlocations: [0123]", `condition: kind == "begun"`)
	environment(t)
	code, out, errs := invoke("webhooks", "check", "--file", file)
	if code != 0 || !strings.Contains(out, "ok    a: ended at 0123 to http://127.0.0.1:") || !strings.Contains(out, `none of the kinds started, resumed, ended, traffic, updated, discovered was found to meet kind == "begun"`) || strings.Contains(out, "t0ken") {
		t.Errorf("exit code %d, %s, %s", code, out, errs)
	}
	nameless := endpointsFile(t, receiver.URL, `condition: guest.email != ""`)
	environment(t, "GUESTFLOW_GUESTS=true")
	if code, out, errs := invoke("webhooks", "check", "--file", nameless); code != 0 || !strings.Contains(out, "note  a: its condition asks for guest, and it gets no names: add fields: [guest]") {
		t.Errorf("exit code %d, %s, %s", code, out, errs)
	}
	environment(t)
	broken := endpointsFile(t, receiver.URL, "locaton: [x]", `condition: session.locaton_id = "x"`, "condition: sesion.online")
	code, _, errs = invoke("webhooks", "check", "--file", broken)
	for _, want := range []string{`endpoint "a": unknown field "locaton"; did you mean locations?`, `endpoint "b": condition: `, `endpoint "c": condition: column 1: unknown name sesion; did you mean session?`} {
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("exit code %d, %s\nwant %s", code, errs, want)
		}
	}
}

// TestWebhooksTestSendsWhatTheEntryWants, and says so where it does not.
func TestWebhooksTestSendsWhatTheEntryWants(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	file := endpointsFile(t, receiver.URL, "kinds: [ended]\ncondition: session.service_profile == 'gold'", `condition: kind == "begun"`)
	environment(t)
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"a", 0, `"type":"guestflow.session.ended.v1"`},
		{"a", 0, `"service_profile":"gold"`},
		{"a --kind started", 0, "would not get this event: it asks for the kinds ended alone"},
		{"a --kind began", 2, `--kind "began": use one of discovered, started`},
		{"b", 1, `was found to meet kind == "begun"; correct the entry, or send any event with --kind`},
	} {
		args := append([]string{"webhooks", "test", "--file", file}, strings.Fields(tc.args)...)
		if code, out, errs := invoke(args...); code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit code %d, %s, %s", tc.args, code, out, errs)
		}
	}
}

// TestDeadReceiverIsSeenEverywhere: an operator who looks at one place is told.
func TestDeadReceiverIsSeenEverywhere(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer receiver.Close()
	file := endpointsFile(t, receiver.URL, "kinds: [discovered, started, traffic]")
	addr := free(t)
	d := startDemo(t, "GUESTFLOW_HTTP_ADDR=127.0.0.1:0", "GUESTFLOW_NATS_LISTEN="+addr, "GUESTFLOW_WEBHOOKS_FILE="+file)
	get := func(path string) (int, string) {
		r, err := http.Get(strings.TrimSuffix(d.page, "/") + path)
		if err != nil {
			return 0, err.Error()
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err.Error()
		}
		return r.StatusCode, string(body)
	}
	eventually(t, func() string {
		code, body := get("/readyz")
		if code != http.StatusOK || !strings.HasPrefix(body, "ready\ndegraded: endpoint a: ") || !strings.Contains(body, "status 502 Bad Gateway") {
			return fmt.Sprintf("readyz: %d %s", code, body)
		}
		_, body = get("/metrics")
		if value(body, `guestflow_webhook_state{account="default",endpoint="a",state="failing"}`) != 1 || value(body, `guestflow_webhook_state{account="default",endpoint="a",state="delivering"}`) != 0 ||
			value(body, `guestflow_webhook_waiting_events{account="default",endpoint="a"}`) < 0 || value(body, `guestflow_webhook_oldest_waiting_seconds{account="default",endpoint="a"}`) < 0 {
			return "metrics: " + body
		}
		return ""
	})
	environment(t, "GUESTFLOW_NATS_URL=nats://"+addr)
	code, out, errs := invoke("webhooks", "status", "--file", file)
	if code != 0 || !strings.Contains(out, "failing") || !strings.Contains(out, "tries in a row failed, the last ") || !strings.Contains(out, "status 502 Bad Gateway") {
		t.Errorf("status: exit code %d, %s, %s", code, out, errs)
	}
	if code, out, errs := invoke("webhooks", "status", "--json", "--file", file); code != 0 || !strings.Contains(out, `"state":"failing"`) || !strings.Contains(out, `"oldest_waiting":"`) {
		t.Errorf("status as JSON: exit code %d, %s, %s", code, out, errs)
	}
}
