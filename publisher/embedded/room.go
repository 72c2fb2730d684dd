package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// healthPause is the time between two looks at the server's health.
	healthPause = time.Second
	// roomNeeded is how much the disk must take before the server is started anew:
	// with less it would soon stop again.
	roomNeeded = 1 << 20
)

// Fault returns what keeps the server from taking events, nil while nothing does.
func (e *Server) Fault() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fault
}

// watch starts the server anew after a write failed: a stream takes no more
// messages from then on, even when the disk has room again.
func (e *Server) watch(ctx context.Context) {
	ticker := time.NewTicker(healthPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		fault := writeFault(e.current())
		if fault == "" && e.Fault() == nil {
			continue
		}
		if err := room(e.settings.Dir); err != nil {
			e.failed(e.noRoom(err))
			continue
		}
		shutDown(e.current())
		if err := e.start(ctx); err != nil {
			e.failed(err)
			continue
		}
		e.mu.Lock()
		e.fault = nil
		e.mu.Unlock()
		e.settings.Log.Info("the embedded NATS server was started anew, since the disk has room again", "fault", fault)
	}
}

func (e *Server) noRoom(err error) error {
	return fmt.Errorf("embedded NATS server in %s takes no events: %w; free some disk space; it goes on by itself", e.settings.Dir, err)
}

// failed keeps the fault, and logs it where it is news.
func (e *Server) failed(err error) {
	e.mu.Lock()
	news := e.fault == nil || e.fault.Error() != err.Error()
	e.fault = err
	e.mu.Unlock()
	if news {
		e.settings.Log.Error("embedded NATS server", "error", err)
	}
}

// writeFault is what the server says of a write that failed, empty where none did.
func writeFault(srv *server.Server) string {
	if !srv.JetStreamEnabled() {
		return "JetStream is disabled"
	}
	for _, e := range srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error") {
			return e.Error
		}
	}
	return ""
}

// room reports whether the disk takes a file of some size.
func room(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "room"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, roomNeeded))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}
