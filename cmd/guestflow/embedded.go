package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/guestflow/guestflow/internal/handwritten"
	"github.com/guestflow/guestflow/publisher/embedded"
)

// tokenPath is where the token is kept that clients of the embedded server need
// where it is open to the network and nothing else is configured.
func (c *Config) tokenPath() string { return filepath.Join(c.DataDir, "nats.token") }

// secureEmbedded gives an embedded server that is open to the network a token: the
// one of earlier starts, else a new one.
func secureEmbedded(cfg *Config) (made bool, err error) {
	if cfg.NATSURL != "" || cfg.NATSUser != "" || cfg.NATSToken != "" || embedded.Loopback(cfg.NATSListen) {
		return false, nil
	}
	path := cfg.tokenPath()
	token, err := embeddedToken(*cfg)
	if err == nil && token == "" {
		made, token = true, rand.Text()
		err = os.WriteFile(path, []byte(token+"\n"), 0o600)
	}
	if err != nil {
		return false, fmt.Errorf("token of the embedded NATS server: %w; make %s readable and writable for this user, or set GUESTFLOW_NATS_TOKEN", err, path)
	}
	cfg.NATSToken = token
	return made, nil
}

// embeddedToken is the token that a running guestflow made for its embedded
// server, empty where there is none.
func embeddedToken(cfg Config) (string, error) {
	if cfg.NATSURL != "" || cfg.NATSUser != "" || cfg.NATSToken != "" {
		return cfg.NATSToken, nil
	}
	b, err := handwritten.ReadFile(cfg.tokenPath())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}
