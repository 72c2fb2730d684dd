package main

import (
	"archive/zip"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/simulator"
)

// TestBundleTellsNoSecretsAndOfNobody: a bundle of a process at work holds none of the
// secrets that it was given, and nothing of the guests that it knows.
func TestBundleTellsNoSecretsAndOfNobody(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "platform-t0ken", Speed: 20, RateLimit: 1200})
	secrets := []string{"platform-t0ken", "n4ts-token", "page-t0ken", "pseudonyms-k3y-of-16", "pr0xy-password"}
	cfg := settings(t, p, "GUESTFLOW_API_TOKEN=platform-t0ken", "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_TOKEN=n4ts-token",
		"GUESTFLOW_OCCUPANCY_TOKEN=page-t0ken", "GUESTFLOW_PRIVACY_KEY=pseudonyms-k3y-of-16")
	r := launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(150)
	cfg.HTTPAddr = r.listener.Addr().String()
	cfg.NATSProxy = "http://guest:pr0xy-password@proxy.example.com:3128"
	path := filepath.Join(t.TempDir(), "bundle.zip")
	said := "FAIL  NATS at nats://user:pr0xy-password@10.1.2.3:4222: guest Eve <eve@example.com> at 14:2d:27:e7:40:2b, 192.0.2.7 and 2001:db8::7, token platform-t0ken, page at 127.0.0.1\n"
	if err := writeBundle(t.Context(), cfg, said, path); err != nil {
		t.Fatal(err)
	}
	if err := writeBundle(t.Context(), cfg, said, path); err == nil {
		t.Error("a file that was there is written over")
	}
	var guests []string
	err := r.member(t, "").open().Store.All(func(st events.State) bool {
		s := &st.Session
		guests = append(guests, s.ID, s.DeviceMAC, s.DeviceIP, s.GuestID, s.YasID)
		return true
	})
	if err != nil || len(guests) < 500 {
		t.Fatalf("%d texts about guests, %v", len(guests), err)
	}
	parts := map[string]string{}
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, f := range archive.File {
		part, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		parts[f.Name] = string(text)
		for _, never := range append(append(secrets, guests...), "eve@example.com", "14:2d:27:e7:40:2b", "10.1.2.3", "192.0.2.7", "2001:db8::7") {
			if never != "" && strings.Contains(string(text), never) {
				t.Errorf("%s tells %q", f.Name, never)
			}
		}
	}
	for name, want := range map[string]string{
		"version.txt": "go1.", "check.txt": "page at 127.0.0.1", "config.txt": "GUESTFLOW_NATS_TOKEN=[hidden]", "readyz.txt": "ready",
		"metrics.txt": "guestflow_events_total", "default.db.plan.json": `"requests_by_look"`, "default.db.json": `"online"`,
	} {
		if !strings.Contains(parts[name], want) || strings.Contains(parts[name], "not to be had") {
			t.Errorf("%s: want %q in\n%.300s", name, want, parts[name])
		}
	}
	r.end()
}
