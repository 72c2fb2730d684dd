package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/poller"
	"github.com/guestflow/guestflow/publisher"
	"github.com/guestflow/guestflow/publisher/embedded"
)

// natsLink is a connection to NATS, and the embedded server where that is used.
type natsLink struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	embedded *embedded.Server
	settings publisher.ConnectSettings
	log      *slog.Logger

	mu      sync.Mutex
	refused error // why there is no connection
}

func linkNATS(ctx context.Context, cfg Config, log *slog.Logger) (_ *natsLink, err error) {
	l := &natsLink{log: log}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if cfg.NATSURL == "" {
		made, err := secureEmbedded(&cfg)
		if err != nil {
			return nil, err
		}
		if made {
			log.Warn("the embedded NATS server is open to the network, so its clients need a token from now on", "file", cfg.tokenPath())
		}
		l.embedded, err = embedded.Start(ctx, embedded.Settings{
			Dir: filepath.Join(cfg.DataDir, "nats"), Listen: cfg.NATSListen,
			User: cfg.NATSUser, Password: cfg.NATSPassword, Token: cfg.NATSToken, Log: log,
		})
		if err != nil {
			return nil, err
		}
	}
	l.settings = connectSettings(cfg, log)
	if l.embedded != nil {
		l.settings.Embedded = l.embedded
	}
	if l.conn, err = publisher.Connect(ctx, l.settings); err != nil {
		return nil, err
	}
	if l.js, err = jetstream.New(l.conn); err != nil {
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return l, nil
}

func connectSettings(cfg Config, log *slog.Logger) publisher.ConnectSettings {
	return publisher.ConnectSettings{
		URL: cfg.NATSURL, Creds: cfg.NATSCreds, NKeySeed: cfg.NATSNKey, User: cfg.NATSUser, Password: cfg.NATSPassword,
		Token: cfg.NATSToken, CA: cfg.NATSCA, Cert: cfg.NATSCert, Key: cfg.NATSKey, Proxy: cfg.NATSProxy,
		Name: cfg.connectionName(), Log: log,
	}
}

// URL is where clients find the server.
func (l *natsLink) URL() string {
	if l.embedded != nil {
		return l.embedded.URL()
	}
	return l.conn.ConnectedUrlRedacted()
}

// fault is what keeps events from being taken, nil while nothing is known to.
func (l *natsLink) fault() error {
	if l.embedded != nil {
		if err := l.embedded.Fault(); err != nil {
			return err
		}
	}
	if l.conn.IsConnected() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// diagnose finds out why there is no connection, whenever there is none, until ctx
// ends: the connection itself goes on trying, and does not say.
func (l *natsLink) diagnose(ctx context.Context) error {
	for {
		wait := time.Second
		if !l.conn.IsConnected() && l.embedded == nil {
			if err := l.ask(ctx); err != nil {
				wait = diagnosisPause
			}
		}
		if err := (poller.SystemClock{}).Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// diagnosisPause is the time between two questions why the connection fails.
const diagnosisPause = 5 * time.Second

// ask tries to connect anew, and keeps why that fails.
func (l *natsLink) ask(ctx context.Context) error {
	settings := l.settings
	settings.Log = slog.New(slog.DiscardHandler)
	conn, err := publisher.Reach(ctx, settings)
	if err == nil {
		conn.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && ctx.Err() == nil && (l.refused == nil || l.refused.Error() != err.Error()) {
		l.log.Warn("NATS cannot be reached; events wait in the outbox", "error", err)
	}
	l.refused = err
	return err
}

func (l *natsLink) Close() error {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.embedded != nil {
		return l.embedded.Close()
	}
	return nil
}

// indent puts every line of an error behind a dash.
func indent(err error) string {
	return "  - " + strings.ReplaceAll(err.Error(), "\n", "\n  - ")
}
