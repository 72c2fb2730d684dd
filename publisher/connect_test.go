package publisher

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
)

func TestConnectionInProcess(t *testing.T) {
	b := startBroker(t)
	servers := make(chan string, 1)
	nc, err := Connect(testContext(t), ConnectSettings{Embedded: b.Server, Log: slog.New(serverHandler{signalHandler{}, servers})})
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
		{"half a certificate", ConnectSettings{Cert: "c.pem"}, "GUESTFLOW_NATS_CERT and GUESTFLOW_NATS_KEY belong together"},
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
	for _, written := range []string{string(text) + "\n", "\ufeff" + string(text) + "\r\n"} {
		if err := os.WriteFile(seed, []byte(written), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (ConnectSettings{NKeySeed: seed, URL: "nats://127.0.0.1:1", Log: quiet()}).options(); err != nil {
			t.Errorf("%q: %v", written[:1], err)
		}
	}
}
