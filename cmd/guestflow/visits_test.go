package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/visits"
)

// TestOnlyWhoLooksLetsTimeDecide: a visit ends by the looks of the process that polls the
// account, and not by the clock of one that does not see whether the platform answers.
func TestOnlyWhoLooksLetsTimeDecide(t *testing.T) {
	a := &app{fleet: &fleet{members: []*member{{cfg: Config{Account: "elsewhere"}}}}}
	if at := a.lookedAt("elsewhere"); at.IsZero() || time.Since(at) < 365*24*time.Hour {
		t.Errorf("an account that another process polls was looked at until %v", at)
	}
	if at := a.lookedAt("gone"); !at.IsZero() {
		t.Errorf("one that has left the file was looked at until %v", at)
	}
}

// TestForeignMessagesEndNoView: what somebody else wrote to a stream is left out and told,
// and what follows is shown.
func TestForeignMessagesEndNoView(t *testing.T) {
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	environment(t, "GUESTFLOW_NATS_URL="+url)
	for _, c := range []struct{ command, stream, subject, event, shown string }{
		{"visits", visits.DefaultStream, "guest.visits.default.pool.started", "../../events/visits/testdata/started.json", "started"},
		{"alerts", alerts.DefaultStream, "guest.alerts.default.pool.raised", "../../events/alerts/testdata/raised.json", "raised"},
	} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: c.stream, Subjects: []string{"guest." + c.command + ".*.*.*"}, AllowDirect: true}); err != nil {
			t.Fatal(err)
		}
		event, err := os.ReadFile(c.event)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range [][]byte{[]byte("{}"), []byte("\x1b[2J"), event} {
			if _, err := js.Publish(t.Context(), c.subject, body); err != nil {
				t.Fatal(err)
			}
		}
		for _, flags := range []string{"--no-follow", "--no-follow --json"} {
			code, out, errs := invoke(append([]string{c.command}, strings.Fields(flags)...)...)
			if code != 0 || !strings.Contains(out, c.shown) || strings.Count(errs, "warning: a message on "+c.subject+" is left out: not a") != 2 || strings.Contains(out+errs, "\x1b") || strings.Count(out, "\n") != 1 {
				t.Errorf("%s %s: exit code %d, %q, %q", c.command, flags, code, out, errs)
			}
		}
	}
}
