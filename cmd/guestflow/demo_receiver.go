package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/guestflow/guestflow/consumers/webhook"
)

// demoWebhooks gives the demo endpoints of its own unless it has others: a receiver in this
// process that welcomes who arrives, nobody of the history, and refuses one visit in twenty,
// so that there are dead letters to be sent again. close ends the receiver.
func demoWebhooks(cfg *Config, dir string) (close func(), err error) {
	if cfg.WebhooksFile != "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the demo's receiver of webhooks: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /welcome", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /loyalty", fussy)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with close
	close = func() { server.Close() }
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	cfg.WebhooksFile = filepath.Join(dir, "endpoints.yaml")
	loyalty := "kinds: [ended], max_retry: 1s" // it soon gives up
	if cfg.Visits {
		loyalty += ", stream: visits"
	}
	text := "endpoints:\n"
	for _, e := range []struct{ name, wants string }{{"welcome", "kinds: [started], max_age: 15m"}, {"loyalty", loyalty}} {
		text += fmt.Sprintf("  - {name: %s, url: 'http://%s/%s', secrets: ['whsec_%s'], allow_private: true, %s}\n",
			e.name, l.Addr(), e.name, base64.StdEncoding.EncodeToString(secret), e.wants)
	}
	if err := os.WriteFile(cfg.WebhooksFile, []byte(text), 0o600); err != nil {
		close()
		return nil, fmt.Errorf("the demo's endpoints: %w", err)
	}
	return close, nil
}

// fussy refuses one event in twenty, unless a person has it sent again.
func fussy(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(webhook.HeaderDelivery) == "" && crc32.ChecksumIEEE([]byte(r.Header.Get("webhook-id")))%20 == 0 {
		http.Error(w, "no such member", http.StatusUnprocessableEntity)
	}
}
