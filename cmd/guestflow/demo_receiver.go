package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/guestflow/guestflow/consumers/webhook"
)

// demoWebhooks gives the demo endpoints of its own unless it has others: a receiver in this
// process that takes who arrives, and one that refuses every tenth visit at first, so that
// there are dead letters to be sent again. close ends the receiver.
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
	mux.Handle("POST /loyalty", &fussy{every: 10})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with close
	close = func() { server.Close() }
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	cfg.WebhooksFile = filepath.Join(dir, "endpoints.yaml")
	loyalty := "kinds: [ended]"
	if cfg.Visits {
		loyalty += ", stream: visits"
	}
	text := "endpoints:\n"
	for _, e := range []struct{ name, wants string }{{"welcome", "kinds: [started]"}, {"loyalty", loyalty}} {
		text += fmt.Sprintf("  - {name: %s, url: 'http://%s/%s', secrets: ['whsec_%s'], allow_private: true, %s}\n",
			e.name, l.Addr(), e.name, base64.StdEncoding.EncodeToString(secret), e.wants)
	}
	if err := os.WriteFile(cfg.WebhooksFile, []byte(text), 0o600); err != nil {
		close()
		return nil, fmt.Errorf("the demo's endpoints: %w", err)
	}
	return close, nil
}

// fussy refuses one in so many requests, unless a person has it sent again.
type fussy struct {
	every uint64
	came  atomic.Uint64
}

func (f *fussy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(webhook.HeaderDelivery) == "" && f.came.Add(1)%f.every == 0 {
		http.Error(w, "no such member", http.StatusUnprocessableEntity)
	}
}
