package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/publisher"
)

// natsServer runs a server of somebody else's, with JetStream.
func natsServer(t *testing.T, o server.Options) (url string) {
	t.Helper()
	o.JetStream = true
	return "nats://" + natstest.Run(t, &o).Addr().String()
}

// violation is what the server refused last, if anything: a busy machine brings about
// other errors.
func violation(conn *nats.Conn) error {
	if err := conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	return nil
}

// user may publish to these subjects alone.
func user(name string, rights ...publisher.Right) *server.User {
	allow := []string{}
	for _, r := range rights {
		allow = append(allow, r.Subject)
	}
	return &server.User{Username: name, Password: "right", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: allow}}}
}

// TestRefusedConnectionsSayWhy: a wrong password, a missing right and an absent
// server are told apart by every command, and by readiness.
func TestRefusedConnectionsSayWhy(t *testing.T) {
	// Nobody is there: what cannot be published would be tried for a while at each end.
	p := simulate(t, simulator.Config{Token: "right", Locations: simulator.Venues("venue-%d", 1, 1e-6)})
	environment(t)
	cfg, _, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	missing := "$JS.API.STREAM.MSG.GET.GUEST_SESSIONS"
	var most []publisher.Right
	for _, r := range append(neededRights(cfg), creationRights(cfg)...) {
		if r.Subject != missing {
			most = append(most, r)
		}
	}
	url := natsServer(t, server.Options{Users: []*server.User{
		user("most", most...), user("none", publisher.Right{Subject: "nothing"}),
		{Username: "all", Password: "right"},
	}})
	for _, c := range []struct {
		name, user, password, url string
		check, ready              string // parts of what is said
		tail                      string
	}{
		{"wrong password", "all", "t0psecret", url, "check GUESTFLOW_NATS_USER and GUESTFLOW_NATS_PASSWORD", "refuses the credentials", "refuses the credentials"},
		{"no server", "all", "t0psecret", "nats://127.0.0.1:1", "no server takes the connection", "no server takes the connection", "no server takes the connection"},
		{"no TLS", "all", "t0psecret", strings.Replace(url, "nats:", "tls:", 1), "no TLS connection", "no TLS connection", "no TLS connection"},
		{"one right less", "most", "right", url, "permit the user to publish to " + missing, missing, ""},
		{"no right", "none", "right", url, "permit the user to publish to guest.sessions.default.>", "$JS.API.STREAM.INFO.GUEST_SESSIONS", "$JS.API."},
	} {
		t.Run(c.name, func(t *testing.T) {
			variables := []string{"GUESTFLOW_NATS_URL=" + c.url, "GUESTFLOW_NATS_USER=" + c.user, "GUESTFLOW_NATS_PASSWORD=" + c.password}
			cfg := exported(t, p, variables...)
			code, out, errs := invoke("check")
			if code != 1 || !strings.Contains(out, "FAIL  NATS: ") || !strings.Contains(out, c.check) {
				t.Errorf("check: exit code %d\n%s%s", code, out, errs)
			}
			if c.tail != "" {
				code, _, errs := invoke("tail", "--from-start")
				if code != 1 || !strings.Contains(errs, c.tail) {
					t.Errorf("tail: exit code %d, %s", code, errs)
				}
			}
			if strings.Contains(out+errs, "t0psecret") || strings.Contains(out, "enable JetStream") {
				t.Errorf("the secret, or a remedy that is none:\n%s%s", out, errs)
			}
			r := launch(t, cfg)
			r.eventuallyReady(http.StatusServiceUnavailable, c.ready)
			r.end()
		})
	}
}

// TestNeededRightsSuffice: a user with what check tries, and nothing else, can do
// all that run does.
func TestNeededRightsSuffice(t *testing.T) {
	arrived := make(chan struct{}, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	content := fmt.Sprintf("endpoints:\n  - {name: crm, url: %q, secrets: [%q], allow_private: true}\n", receiver.URL, "env:CRM_SECRET")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200})
	cfg := exported(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_WEBHOOKS_FILE="+file, "CRM_SECRET="+secret)
	url := natsServer(t, server.Options{Users: []*server.User{user("some", append(neededRights(cfg), creationRights(cfg)...)...)}})
	t.Setenv("GUESTFLOW_NATS_URL", url)
	t.Setenv("GUESTFLOW_NATS_USER", "some")
	t.Setenv("GUESTFLOW_NATS_PASSWORD", "right")
	cfg.NATSURL, cfg.NATSUser, cfg.NATSPassword = url, "some", "right"
	if code, out, _ := invoke("check"); !strings.Contains(out, "ok    NATS: ") {
		t.Fatalf("check: exit code %d\n%s", code, out)
	}
	r := launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "ready")
	r.eventuallyCommitted(60)
	<-arrived
	eventually(t, func() string {
		if _, body := r.get("/v1/health"); !strings.Contains(body, `"state":"live"`) {
			return "occupancy: " + body
		}
		return ""
	})
	conn := r.nats.conn
	if err := violation(conn); err != nil {
		t.Errorf("the server reported %v", err)
	}
	r.end()
	if err := violation(conn); err != nil {
		t.Errorf("the server reported %v", err)
	}

	// A second checkpoint replaces the first.
	r.Close()
	r = launch(t, cfg)
	r.eventuallyReady(http.StatusOK, "ready")
	eventually(t, func() string {
		if _, body := r.get("/v1/health"); !strings.Contains(body, `"state":"live"`) {
			return "occupancy: " + body
		}
		return ""
	})
	r.eventuallyCommitted(1)
	r.end()
	if err := violation(r.nats.conn); err != nil {
		t.Errorf("with a checkpoint to replace, the server reported %v", err)
	}
}
