package embedded

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServerNamesWhatKeepsItFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := t.TempDir()
	running, err := Start(t.Context(), Settings{Dir: inUse, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		s    Settings
		want []string
	}{
		{"port in use", Settings{Dir: t.TempDir(), Listen: taken.Addr().String()}, []string{taken.Addr().String(), "GUESTFLOW_NATS_LISTEN"}},
		{"not an address", Settings{Dir: t.TempDir(), Listen: "4222"}, []string{"4222", "GUESTFLOW_NATS_LISTEN", "host:port"}},
		{"not a port", Settings{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, []string{"nats", "GUESTFLOW_NATS_LISTEN"}},
		{"directory in use", Settings{Dir: inUse, Listen: "127.0.0.1:0"}, []string{inUse, "in use by another process", "GUESTFLOW_DATA_DIR"}},
		{"not a directory", Settings{Dir: filepath.Join(file, "nats"), Listen: "127.0.0.1:0"}, []string{file, "GUESTFLOW_DATA_DIR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.Log = slog.New(slog.DiscardHandler)
			e, err := Start(t.Context(), c.s)
			if err == nil {
				_ = e.Close()
				t.Fatal("started")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
		})
	}
}

// The lock's file holds nothing but the lock: a full disk or a power loss that
// damaged it keeps no server from starting.
func TestDamagedLockFileIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lock")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, content := range map[string][]byte{
		"empty": nil, "one byte": {0}, "text": bytes.Repeat([]byte("lock\n"), 8000), "zero": make([]byte, len(good)),
		"one page": good[:page], "three pages": good[:3*page],
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		lock, err := lockDir(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: a second process gets %v", name, err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Here bbolt panics, with the lock in its hands until the process ends.
	if err := os.WriteFile(path, append(bytes.Clone(good[:2*page]), bytes.Repeat([]byte{0xff}, len(good)-2*page)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "remove "+path) {
		t.Errorf("overwritten: %v, want an error that says to remove the file", err)
	}
}

func TestServerSyncsEachWriteByDefault(t *testing.T) {
	e, err := Start(t.Context(), Settings{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if config := e.current().JetStreamConfig(); !config.SyncAlways {
		t.Errorf("JetStream runs with %+v", config)
	}
}

func TestServerOpenToTheNetworkIsWarnedAbout(t *testing.T) {
	for listen, warned := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "[::1]:0": false, "0.0.0.0:0": true, ":0": true} {
		for token, told := range map[string]string{"": "OPEN TO THE NETWORK", "t0psecret": "without TLS"} {
			var log bytes.Buffer
			// Checked without starting a server that would listen there.
			_, _, err := listenAddress(Settings{Listen: listen, Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil && !strings.Contains(listen, "::1") {
				t.Error(err)
			}
			if got := strings.Contains(log.String(), told); got != warned || strings.Contains(log.String(), "t0psecret") {
				t.Errorf("%s: warned is %v: %s", listen, got, log.String())
			}
		}
	}
}
