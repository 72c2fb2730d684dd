//go:build trial

package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// site is a NATS server of its own domain, which may be a leaf of another.
func site(t *testing.T, domain, dir string, leaf server.LeafNodeOpts) *server.Server {
	t.Helper()
	return natstest.Run(t, &server.Options{ServerName: domain, JetStream: true, JetStreamDomain: domain, StoreDir: dir, LeafNode: leaf})
}

// TestPromotedMirrorGoesOn: the site with the stream is lost, and a mirror elsewhere,
// which lacks the last events, is promoted. guestflow goes on there. With an empty data
// directory, what the mirror had not got is seen anew or read from the platform's history;
// with the former one, it is sent again as it was. Nothing is in it twice.
func TestPromotedMirrorGoesOn(t *testing.T) {
	t.Parallel()
	for name, former := range map[string]bool{"empty data directory": false, "former data directory": true} {
		t.Run(name, func(t *testing.T) { promotedMirrorGoesOn(t, former) })
	}
}

func promotedMirrorGoesOn(t *testing.T, former bool) {
	t.Parallel()
	link, err := netip.ParseAddrPort(free(t))
	if err != nil {
		t.Fatal(err)
	}
	hub := site(t, "hub", "", server.LeafNodeOpts{Host: link.Addr().String(), Port: int(link.Port())})
	dir := t.TempDir()
	leaf := func() *server.Server {
		return site(t, "second", dir, server.LeafNodeOpts{ReconnectInterval: 50 * time.Millisecond, Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats", Host: link.String()}}}}})
	}
	second := leaf()
	p := platformOf(t, "default")
	dataDir := t.TempDir()
	cfg := func(nats string) Config {
		cfg := settingsFor(t, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right-default", "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_NATS_URL="+nats)
		if former {
			cfg.DataDir = dataDir
		}
		return cfg // else with a new directory each time
	}
	const started = `guestflow_events_total{account="default",kind="started"}`
	first := launch(t, cfg(hub.ClientURL()))
	first.eventuallyReady(http.StatusOK, "ready")
	js := jetStreamAt(t, second.ClientURL())
	mirror := jetstream.StreamConfig{
		Name: "GUEST_SESSIONS", Storage: jetstream.FileStorage, MaxAge: 720 * time.Hour, Duplicates: 2 * time.Minute, AllowDirect: true,
		Mirror: &jetstream.StreamSource{Name: "GUEST_SESSIONS", Domain: "hub"},
	}
	if _, err := js.CreateStream(t.Context(), mirror); err != nil {
		t.Fatal(err)
	}
	first.eventuallySees(started, 5)
	mirrored := func(js jetstream.JetStream) uint64 {
		stream, err := js.Stream(t.Context(), "GUEST_SESSIONS")
		if err != nil {
			return 0
		}
		return stream.CachedInfo().State.Msgs
	}
	eventually(t, func() string {
		if mirrored(js) < 100 {
			return "the mirror has too little"
		}
		return ""
	})
	second.Shutdown()
	second.WaitForShutdown()
	first.eventuallySees(started, 15)
	gap := simulator.Interval{From: p.sim.Now().Add(-2 * time.Second)}
	first.end()
	if err := first.Close(); err != nil {
		t.Log(err) // closed by end already
	}
	acknowledged := keptBy(t, jetStreamAt(t, hub.ClientURL()))
	before := uint64(len(acknowledged))
	hub.Shutdown()
	hub.WaitForShutdown()

	js = jetStreamAt(t, leaf().ClientURL())
	if n := mirrored(js); n == 0 || n >= before {
		t.Fatalf("the mirror has %d of %d events; it is to lack some", n, before)
	}
	promoted := mirror
	promoted.Mirror, promoted.AllowAtomicPublish, promoted.Subjects = nil, true, []string{"guest.sessions.*.*.*"}
	promoted.Metadata = map[string]string{events.MetadataMade: events.MadeAgain}
	if _, err := js.UpdateStream(t.Context(), promoted); err != nil {
		t.Fatal(err)
	}
	after := launch(t, cfg(js.Conn().ConnectedUrl()))
	after.eventuallyReady(http.StatusOK, "ready")
	gap.To = p.sim.Now()
	after.eventuallyKnows(started, 10)
	until := p.sim.Now()
	after.eventuallySees(`guestflow_events_total{account="default",kind="ended"}`, 3)
	// Who came and went while the mirror got nothing is read from the platform's history.
	eventually(t, func() string {
		report := simulator.Checker{Until: until, Kills: []simulator.Interval{gap}}.Check(p.truth.All(), keptBy(t, js))
		if !report.OK() {
			return report.String()
		}
		return ""
	})
	after.end()
	all := keptBy(t, js)
	revisionsGoOn(t, all)
	if !former {
		return
	}
	kept := map[string]int{}
	for _, e := range all {
		kept[e.ID]++
	}
	for _, e := range acknowledged {
		if kept[e.ID] != 1 {
			t.Fatalf("event %s, which the lost site had, is there %d times", e.ID, kept[e.ID])
		}
	}
}
