package main

import (
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/internal/simulator"
)

// TestEmbeddedServerOnTheNetworkWantsAToken: the same after a restart, known to the
// commands of this machine, and to nobody else.
func TestEmbeddedServerOnTheNetworkWantsAToken(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right"})
	cfg := settings(t, p, "GUESTFLOW_NATS_LISTEN=0.0.0.0:0")
	token := ""
	for range 2 {
		r := launch(t, cfg)
		r.eventuallyReady(200, "ready")
		url := strings.Replace(r.nats.URL(), "0.0.0.0", "127.0.0.1", 1)
		if conn, err := nats.Connect(url); err == nil {
			conn.Close()
			t.Error("a client without a token is let in")
		}
		b, err := os.ReadFile(cfg.tokenPath())
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(cfg.tokenPath()); err != nil || info.Mode() != 0o600 {
			t.Errorf("the token's file: %v, %v", info, err)
		}
		if now := strings.TrimSpace(string(b)); token == "" {
			token = now
		} else if now != token {
			t.Error("the token is another after a restart")
		}
		conn, err := nats.Connect(url, nats.Token(token))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		clients := cfg
		clients.NATSListen = strings.TrimPrefix(url, "nats://")
		conn, _, err = reachClient(t.Context(), clients, "", readingRights(cfg))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		r.end()
		r.Close()
	}
}

// TestEmbeddedServerTakesConfiguredCredentials: nothing else, on any address.
func TestEmbeddedServerTakesConfiguredCredentials(t *testing.T) {
	t.Parallel()
	p := simulate(t, simulator.Config{Token: "right"})
	for _, variables := range [][]string{{"GUESTFLOW_NATS_TOKEN=s3cret"}, {"GUESTFLOW_NATS_USER=crm", "GUESTFLOW_NATS_PASSWORD=s3cret"}} {
		cfg := settings(t, p, variables...)
		r := launch(t, cfg)
		r.eventuallyReady(200, "ready")
		if conn, err := nats.Connect(r.nats.URL()); err == nil {
			conn.Close()
			t.Errorf("%s: a client without is let in", variables)
		}
		if _, err := os.Stat(cfg.tokenPath()); !os.IsNotExist(err) {
			t.Errorf("%s: a token was made: %v", variables, err)
		}
		r.end()
	}
}
