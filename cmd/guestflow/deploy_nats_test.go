package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
	"github.com/guestflow/guestflow/publisher"
)

const deployNATS = "../../deploy/nats/"

// deployed is a cluster of three servers that run with the files of deploy/nats.
type deployed struct {
	t     *testing.T
	url   string
	ca    string            // PEM file
	seeds map[string]string // files, by the user's variable
}

func deployCluster(t *testing.T) *deployed {
	t.Helper()
	d := &deployed{t: t, seeds: make(map[string]string)}
	dir := t.TempDir()
	for _, name := range []string{"NATS_SYSTEM", "NATS_ADMIN", "NATS_POLLER", "NATS_WEBHOOKS", "NATS_READER"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		d.seeds[name] = filepath.Join(dir, name)
		if err := os.WriteFile(d.seeds[name], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, public)
	}
	d.ca = certificate(t, dir)
	t.Setenv("NATS_CA", d.ca)
	t.Setenv("NATS_CERT", d.ca)
	t.Setenv("NATS_KEY", filepath.Join(dir, "key.pem"))

	var routes []*url.URL
	var ports []int
	for range 3 {
		_, port, err := net.SplitHostPort(free(t))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &url.URL{Scheme: "tls", Host: "127.0.0.1:" + port})
		ports = append(ports, atoi(t, port))
	}
	var urls []string
	for i, port := range ports {
		t.Setenv("NATS_NAME", fmt.Sprintf("nats-%d", i))
		t.Setenv("NATS_STORE", t.TempDir())
		o, err := server.ProcessConfigFile(deployNATS + "nats.conf")
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Routes) != 3 || o.TLSConfig == nil || o.Cluster.TLSConfig == nil {
			t.Fatalf("%d routes, TLS %v and %v", len(o.Routes), o.TLSConfig, o.Cluster.TLSConfig)
		}
		// What a test may not take of the machine.
		o.Port, o.HTTPPort = 0, 0
		o.Cluster.Host, o.Cluster.Port, o.Routes = "127.0.0.1", port, routes
		urls = append(urls, "tls://"+natstest.Run(t, o).Addr().String())
	}
	d.url = strings.Join(urls, ",")
	return d
}

func atoi(t *testing.T, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// certificate writes one that is its own authority, for 127.0.0.1, beside its key.
func certificate(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "guestflow test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem")
}

// variables are those of a process that is this user of the cluster.
func (d *deployed) variables(user string) []string {
	return []string{
		"GUESTFLOW_NATS_URL=" + d.url, "GUESTFLOW_NATS_CA=" + d.ca, "GUESTFLOW_NATS_NKEY=" + d.seeds[user],
		"GUESTFLOW_STREAM_MANAGE=false", "GUESTFLOW_STREAM_REPLICAS=3",
	}
}

func (d *deployed) connect(user string) *nats.Conn {
	d.t.Helper()
	conn, err := publisher.Reach(d.t.Context(), publisher.ConnectSettings{
		URL: d.url, CA: d.ca, NKeySeed: d.seeds[user], Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(conn.Close)
	return conn
}

// declaredStreams are those of deploy/nats/streams.
func declaredStreams(t *testing.T) map[string]jetstream.StreamConfig {
	t.Helper()
	files, err := filepath.Glob(deployNATS + "streams/*.json")
	if err != nil || len(files) != 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	streams := make(map[string]jetstream.StreamConfig)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c jetstream.StreamConfig
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if c.Name+".json" != filepath.Base(file) {
			t.Errorf("%s declares %s", file, c.Name)
		}
		streams[c.Name] = c
	}
	return streams
}

// TestDeployedCluster: with the files of deploy/nats, processes have all the rights
// that they need, and none of the others.
func TestDeployedCluster(t *testing.T) {
	arrived := make(chan struct{}, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}))
	defer receiver.Close()
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(endpoints, fmt.Appendf(nil, "endpoints:\n  - {name: crm, url: %q, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], max_age: 1h, allow_private: true}\n", receiver.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	p := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 300})
	d := deployCluster(t)
	cfg := exported(t, p, append(d.variables("NATS_POLLER"), "GUESTFLOW_API_RATE_LIMIT=300", "GUESTFLOW_VISITS=true", "GUESTFLOW_ALERTS_FILE=../../consumers/alert/examples/alerts.yaml")...)

	admin, err := jetstream.New(d.connect("NATS_ADMIN"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, do func(context.Context) error) {
		t.Helper()
		eventually(t, func() string { // the cluster, and then each stream, has to choose a leader
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := do(ctx); err != nil {
				return fmt.Sprintf("%s: %v", what, err)
			}
			return ""
		})
	}
	try("asking JetStream", func(ctx context.Context) error { _, err := admin.AccountInfo(ctx); return err })

	// Nothing is declared yet: run waits, and says for what.
	r := launch(t, cfg)
	r.eventuallyReady(http.StatusServiceUnavailable, "GUESTFLOW_STREAM_MANAGE=false")
	streams := declaredStreams(t)
	declare := func(c jetstream.StreamConfig) {
		t.Helper()
		try("declaring "+c.Name, func(ctx context.Context) error { _, err := admin.CreateStream(ctx, c); return err })
	}
	declare(streams[cfg.Stream])
	if code, out, _ := invoke("check"); code != 1 || !strings.Contains(out, "stream KV_guest-occupancy: ") || !strings.Contains(out, "stream OBJ_guest-occupancy-state: ") {
		t.Errorf("with buckets missing, check: exit code %d\n%s", code, out)
	}
	for _, c := range streams {
		declare(c)
	}
	if _, out, _ := invoke("check"); !strings.Contains(out, "ok    NATS: ") {
		t.Errorf("check:\n%s", out)
	}
	r.eventuallyReady(http.StatusOK, "ready")

	// The webhooks are a process of their own, with rights of their own.
	environment(t, append(d.variables("NATS_WEBHOOKS"), "GUESTFLOW_WEBHOOKS_FILE="+endpoints)...)
	if code, out, errs := invoke("webhooks", "status"); code != 0 || !strings.Contains(out, "crm") {
		t.Errorf("webhooks status: exit code %d, %s%s", code, out, errs)
	}
	hooked, _, err := loadConfig(os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	webhooks := d.connect("NATS_WEBHOOKS")
	js, err := jetstream.New(webhooks)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	go func() { sent <- newDispatcher(hooked, js, slog.New(slog.NewTextHandler(t.Output(), nil))).Run(ctx) }()
	defer func() {
		stop()
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}()
	<-arrived
	r.eventuallyCommitted(60)
	eventually(t, func() string {
		if _, body := r.get("/v1/health"); !strings.Contains(body, `"state":"live"`) {
			return "occupancy: " + body
		}
		return ""
	})

	environment(t, d.variables("NATS_READER")...)
	if code, out, errs := invoke("tail", "--from-start", "--no-follow", "--limit", "3", "--json"); code != 0 || strings.Count(out, "\n") != 3 {
		t.Errorf("tail: exit code %d, %q, %q", code, out, errs)
	}
	for name, conn := range map[string]*nats.Conn{"poller": r.nats.conn, "webhooks": webhooks} {
		if err := violation(conn); err != nil {
			t.Errorf("%s: the server reported %v", name, err)
		}
	}
	d.accountsAreShared()
	// What follows goes beside nothing.
	r.end()
	if err := violation(r.nats.conn); err != nil {
		t.Errorf("at its end the server reported %v", err)
	}
	d.rightsAreThese()
}

// accountsAreShared runs an account by a lease in the declared bucket, with the rights of
// the poller.
func (d *deployed) accountsAreShared() {
	d.t.Helper()
	conn := d.connect("NATS_POLLER")
	js, err := jetstream.New(conn)
	if err != nil {
		d.t.Fatal(err)
	}
	const ttl = 10 * time.Second
	kv, err := lease.Open(d.t.Context(), js, lease.DefaultBucket, ttl, 3, true)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(d.t.Context())
	defer stop()
	runs := make(chan string, 1)
	s := &lease.Sharer{
		KV: kv, Owner: "one", TTL: ttl, Names: func() []string { return []string{"default"} }, Carry: func(string) []byte { return nil },
		Run: func(ctx context.Context, held *lease.Lease) { runs <- held.Name; <-ctx.Done() },
	}
	shared := make(chan error, 1)
	go func() { shared <- s.Share(ctx) }()
	if name := <-runs; name != "default" {
		d.t.Errorf("runs %q", name)
	}
	stop()
	if err := <-shared; err != nil {
		d.t.Error(err)
	}
	if err := violation(conn); err != nil {
		d.t.Errorf("sharing accounts, the server reported %v", err)
	}
}

// rightsAreThese tries each kind of right with each user.
func (d *deployed) rightsAreThese() {
	d.t.Helper()
	const api, durable = "$JS.API.", "GUEST_SESSIONS.webhook-crm"
	users := []string{"NATS_POLLER", "NATS_WEBHOOKS", "NATS_READER", "NATS_ADMIN"}
	conns := make(map[string]*nats.Conn)
	for _, user := range users {
		conns[user] = d.connect(user)
	}
	for _, c := range []struct{ publish, granted string }{
		{"guest.sessions.default.hotel.started", "NATS_POLLER"},
		{"guest.sessions.other.hotel.started", ""},
		{"guest.webhooks.dead.crm", "NATS_WEBHOOKS"},
		{"guest.webhooks.skipped.crm", "NATS_WEBHOOKS"},
		{"$KV.guest-occupancy.default.hotel", "NATS_POLLER NATS_ADMIN"},
		{"$KV.guestflow-webhooks.standing.crm", "NATS_WEBHOOKS NATS_ADMIN"},
		{"$O.guest-occupancy-state.C.x", "NATS_POLLER NATS_ADMIN"},
		{"$KV.guestflow-leases.account.default", "NATS_POLLER NATS_ADMIN"},
		{"guest.visits.default.hotel.started", "NATS_POLLER"},
		{"guest.visits.other.hotel.started", ""},
		{"guest.alerts.default.hotel.raised", "NATS_POLLER"},
		{"guest.alerts.other.hotel.raised", ""},
		{"$KV.guest-baseline.default.hotel", "NATS_POLLER NATS_ADMIN"},
		{api + "STREAM.PURGE.GUEST_ALERTS", "NATS_ADMIN"},
		{api + "CONSUMER.CREATE.GUEST_ALERTS.mine.>", "NATS_POLLER NATS_READER NATS_ADMIN"},
		{"$O.guest-visits-state.C.x", "NATS_POLLER NATS_ADMIN"},
		{api + "STREAM.CREATE.GUEST_VISITS", "NATS_ADMIN"},
		{api + "STREAM.PURGE.GUEST_VISITS", "NATS_ADMIN"},
		{api + "STREAM.PURGE.OBJ_guest-visits-state", "NATS_POLLER NATS_ADMIN"},
		{api + "STREAM.PURGE.KV_guestflow-leases", "NATS_ADMIN"},
		{api + "STREAM.DELETE.KV_guestflow-leases", "NATS_ADMIN"},
		{api + "STREAM.INFO.GUEST_VISITS", "NATS_POLLER NATS_READER NATS_ADMIN"},
		{api + "CONSUMER.CREATE.GUEST_VISITS.mine.>", "NATS_POLLER NATS_READER NATS_ADMIN"},
		{api + "CONSUMER.CREATE.KV_guestflow-leases.mine.>", "NATS_POLLER NATS_ADMIN"},
		{api + "STREAM.CREATE.GUEST_SESSIONS", "NATS_ADMIN"},
		{api + "STREAM.UPDATE.GUEST_SESSIONS", "NATS_ADMIN"},
		{api + "STREAM.CREATE.KV_guest-occupancy", "NATS_ADMIN"},
		{api + "STREAM.DELETE.OTHER", "NATS_ADMIN"},
		{api + "STREAM.PURGE.GUEST_SESSIONS", "NATS_ADMIN"},
		{api + "STREAM.MSG.DELETE.GUEST_SESSIONS", "NATS_ADMIN"},
		{api + "STREAM.INFO.GUEST_SESSIONS", "NATS_POLLER NATS_WEBHOOKS NATS_READER NATS_ADMIN"},
		{api + "CONSUMER.CREATE.GUEST_SESSIONS.mine.>", "NATS_POLLER NATS_READER NATS_ADMIN"},
		{api + "CONSUMER.CREATE." + durable + ".>", "NATS_WEBHOOKS NATS_ADMIN"},
		{api + "CONSUMER.CREATE." + durable, "NATS_WEBHOOKS NATS_ADMIN"},
		{api + "CONSUMER.MSG.NEXT." + durable, "NATS_WEBHOOKS NATS_ADMIN"},
		{api + "CONSUMER.DELETE." + durable, "NATS_ADMIN"},
		{"$JS.ACK." + durable + ".>", "NATS_WEBHOOKS NATS_ADMIN"},
		{"$SYS.REQ.SERVER.PING", ""},
	} {
		// One connection of each user is enough: a refusal names its subject, and no two are
		// the same.
		for _, user := range users {
			err := publisher.TryRights(d.t.Context(), conns[user], []publisher.Right{{Subject: c.publish, For: "a trial"}})
			if granted := strings.Contains(c.granted, user); granted && err != nil || !granted && !errors.Is(err, publisher.ErrPermission) {
				d.t.Errorf("%s publishes to %s, which is granted to %q: %v", user, c.publish, c.granted, err)
			}
		}
	}
	for user, conn := range conns {
		for subject, granted := range map[string]bool{"guest.sessions.>": false, "$KV.>": false, "_INBOX.x": true} {
			_, err := conn.SubscribeSync(subject)
			if err == nil {
				err = conn.Flush()
			}
			if err != nil {
				d.t.Fatal(err)
			}
			refused := conn.LastError() != nil && strings.Contains(conn.LastError().Error(), `"`+subject+`"`)
			if refused == granted {
				d.t.Errorf("%s subscribes to %s: %v", user, subject, conn.LastError())
			}
		}
	}
	if _, err := publisher.Reach(d.t.Context(), publisher.ConnectSettings{URL: d.url, CA: d.ca, User: "poller", Password: "x", Log: slog.New(slog.DiscardHandler)}); err == nil {
		d.t.Error("a user without a key is let in")
	}
	if _, err := publisher.Reach(d.t.Context(), publisher.ConnectSettings{URL: strings.ReplaceAll(d.url, "tls:", "nats:"), NKeySeed: d.seeds["NATS_READER"], Log: slog.New(slog.DiscardHandler)}); err == nil {
		d.t.Error("the authority is not asked for")
	}
}

// TestDeclaredStreamsAreThoseThatRunMakes: deploy/nats/streams differs in copies
// alone from what GUESTFLOW_STREAM_MANAGE=true makes.
func TestDeclaredStreamsAreThoseThatRunMakes(t *testing.T) {
	t.Parallel()
	endpoints := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(endpoints, []byte("endpoints:\n  - {name: crm, url: 'https://crm.example.com', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], max_age: 1h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := simulate(t, simulator.Config{Token: "right"})
	r := launch(t, settings(t, p, "GUESTFLOW_WEBHOOKS_FILE="+endpoints, "GUESTFLOW_VISITS=true", "GUESTFLOW_ALERTS_FILE=../../consumers/alert/examples/alerts.yaml"))
	r.eventuallyReady(http.StatusOK, "ready")
	if _, err := lease.Open(t.Context(), r.nats.js, lease.DefaultBucket, 10*time.Second, 1, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(stateStreams(r.cfg), r.cfg.Stream, "KV_"+lease.DefaultBucket) {
		var made jetstream.StreamConfig
		eventually(t, func() string {
			stream, err := r.nats.js.Stream(t.Context(), name)
			if err != nil {
				return name + ": " + err.Error()
			}
			made = stream.CachedInfo().Config
			return ""
		})
		made.Replicas = 3
		made.AllowBatchPublish = false // by which a replicated stream gains nothing
		for key := range made.Metadata {
			if strings.HasPrefix(key, "_nats.") { // the server's own
				delete(made.Metadata, key)
			}
		}
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(made); err != nil {
			t.Fatal(err)
		}
		golden(t, deployNATS+"streams/"+name+".json", b.String())
	}
}
