package publisher

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
)

func TestEmbeddedServerNamesWhatKeepsItFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := startBroker(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		s    EmbeddedSettings
		want []string
	}{
		{"port in use", EmbeddedSettings{Dir: t.TempDir(), Listen: taken.Addr().String()}, []string{taken.Addr().String(), "GUESTFLOW_NATS_LISTEN"}},
		{"not an address", EmbeddedSettings{Dir: t.TempDir(), Listen: "4222"}, []string{"4222", "GUESTFLOW_NATS_LISTEN", "host:port"}},
		{"not a port", EmbeddedSettings{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, []string{"nats", "GUESTFLOW_NATS_LISTEN"}},
		{"directory in use", EmbeddedSettings{Dir: inUse.dir, Listen: "127.0.0.1:0"}, []string{inUse.dir, "in use by another process", "GUESTFLOW_DATA_DIR"}},
		{"not a directory", EmbeddedSettings{Dir: filepath.Join(file, "nats"), Listen: "127.0.0.1:0"}, []string{file, "GUESTFLOW_DATA_DIR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.Log = quiet()
			e, err := StartEmbedded(testContext(t), c.s)
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

func TestEmbeddedServerSyncsEachWriteByDefault(t *testing.T) {
	e, err := StartEmbedded(testContext(t), EmbeddedSettings{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if config := e.current().JetStreamConfig(); !config.SyncAlways {
		t.Errorf("JetStream runs with %+v", config)
	}
}

func TestEmbeddedServerOpenToTheNetworkIsWarnedAbout(t *testing.T) {
	for listen, warned := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "[::1]:0": false, "0.0.0.0:0": true, ":0": true} {
		for token, told := range map[string]string{"": "OPEN TO THE NETWORK", "t0psecret": "without TLS"} {
			var log bytes.Buffer
			// Checked without starting a server that would listen there.
			_, _, err := listenAddress(EmbeddedSettings{Listen: listen, Token: token, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil && !strings.Contains(listen, "::1") {
				t.Error(err)
			}
			if got := strings.Contains(log.String(), told); got != warned || strings.Contains(log.String(), "t0psecret") {
				t.Errorf("%s: warned is %v: %s", listen, got, log.String())
			}
		}
	}
}

func TestConnectionInProcess(t *testing.T) {
	b := startBroker(t)
	servers := make(chan string, 1)
	nc, err := Connect(testContext(t), ConnectSettings{Embedded: b.Embedded, Log: slog.New(serverHandler{signalHandler{}, servers})})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.FlushWithContext(testContext(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-servers:
		if name != "embedded server" { // not the library's default address, where another may listen
			t.Errorf("the log names %q", name)
		}
	case <-testContext(t).Done():
		t.Fatal("the connection was not told")
	}
}

func TestConnectWaitsForAServerThatIsNotUpYet(t *testing.T) {
	b := startBroker(t)
	b.stop()
	connected := make(chan struct{}, 1)
	log := slog.New(signalHandler{"connected to NATS", connected})
	nc, err := Connect(testContext(t), ConnectSettings{URL: "nats://" + b.addr, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b.start()
	select {
	case <-connected:
	case <-testContext(t).Done():
		t.Fatal("not connected")
	}
}

// signalHandler signals when a message is logged.
type signalHandler struct {
	message string
	seen    chan struct{}
}

func (signalHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h signalHandler) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h signalHandler) WithGroup(string) slog.Handler          { return h }
func (h signalHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		select {
		case h.seen <- struct{}{}:
		default:
		}
	}
	return nil
}

// serverHandler tells the server of the first line that names one.
type serverHandler struct {
	signalHandler
	servers chan string
}

func (h serverHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "server" {
			select {
			case h.servers <- a.Value.String():
			default:
			}
		}
		return true
	})
	return nil
}

func TestConnectSettingsAreCheckedWithoutTellingSecrets(t *testing.T) {
	const secret = "s3cr3t"
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		s    ConnectSettings
		want string
	}{
		{"two ways to log in", ConnectSettings{User: "u", Password: secret, Token: secret}, "more than one"},
		{"password alone", ConnectSettings{Password: secret}, "GUESTFLOW_NATS_USER"},
		{"half a certificate", ConnectSettings{Cert: "c.pem"}, "key file"},
		{"no URL", ConnectSettings{URL: "u:" + secret + "@host"}, "GUESTFLOW_NATS_URL"},
		{"not a seed", ConnectSettings{NKeySeed: seed}, "GUESTFLOW_NATS_NKEY"},
		{"no CA file", ConnectSettings{URL: "tls://u:" + secret + "@127.0.0.1:1", CA: filepath.Join(t.TempDir(), "ca.pem")}, "GUESTFLOW_NATS_CA: open "},
		{"no credentials file", ConnectSettings{Creds: filepath.Join(t.TempDir(), "user.creds")}, "GUESTFLOW_NATS_CREDS: open "},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.Log = quiet()
			nc, err := Connect(testContext(t), c.s)
			if err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not name %q", err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q tells the secret", err)
			}
		})
	}
}

func TestConnectReadsAnNKeySeed(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (ConnectSettings{NKeySeed: seed, URL: "nats://127.0.0.1:1", Log: quiet()}).options(); err != nil {
		t.Fatal(err)
	}
}
