package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
)

func TestRetentionIsChecked(t *testing.T) {
	for variables, says := range map[string]string{
		"GUESTFLOW_RETENTION=e-mail=720h":                            "no field",
		"GUESTFLOW_RETENTION=email=1h":                               "24h0m0s or longer",
		"GUESTFLOW_RETENTION=guest=720h GUESTFLOW_VISITS=true":       "GUESTFLOW_VISIT_MEMORY=8760h0m0s",
		"GUESTFLOW_RETENTION=guest=720h":                             "",
		"GUESTFLOW_RETENTION=email,name=720h;mac=2160h;events=9000h": "",
	} {
		_, _, err := loadConfig(strings.Fields(variables))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", variables, err, says)
		}
	}
	cfg, _, err := loadConfig([]string{"GUESTFLOW_RETENTION=email,name=720h; mac=2160h; events=17520h"})
	if err != nil {
		t.Fatal(err)
	}
	told, err := checkRetention(cfg)
	if want := "email,name=720h; mac=2160h; events=17520h; GUEST_SESSIONS keeps everything for 720h; GUEST_SESSIONS_WITHOUT_EMAIL_NAME the rest for 2160h; GUEST_SESSIONS_WITHOUT_EMAIL_MAC_NAME the rest for 17520h"; err != nil || told != want {
		t.Errorf("check tells %q, %v, want %q", told, err, want)
	}
}

// TestFiguresOutliveTheFields: the tables that the archive gives are those of the stream with
// all fields, also once that has nothing any more.
func TestFiguresOutliveTheFields(t *testing.T) {
	url := natsServer(t, server.Options{})
	js := jetStreamAt(t, url)
	main, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DefaultStream, Subjects: []string{events.Subjects{}.All()}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	e := started("Phone")
	e.Data.Guest, e.Data.Observed.Guest = &events.Guest{Name: "Ann", Email: "ann@example.org"}, events.GuestConfirmed
	end := started("Phone")
	end.Data.Revision, end.Kind, end.Data.Session.Online, end.Data.Observed.End, end.Data.Observed.Proof = 2, events.Ended, false, events.EndReported, events.ProofRecord
	for _, e := range []events.Event{e.Sealed(), end.Sealed()} {
		body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), events.Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID)); err != nil {
			t.Fatal(err)
		}
	}
	const line = "email,name=720h; events=17520h"
	environment(t, "GUESTFLOW_NATS_URL="+url, "GUESTFLOW_RETENTION="+line)
	cfg, _, err := loadConfig([]string{"GUESTFLOW_NATS_URL=" + url, "GUESTFLOW_RETENTION=" + line})
	if err != nil {
		t.Fatal(err)
	}
	cautions, err := keptTooLong(t.Context(), js, cfg)
	if err != nil || len(cautions) != 1 || !strings.Contains(cautions[0], "GUEST_SESSIONS keeps messages for ever, and GUESTFLOW_RETENTION lets some of their fields go after 720h") {
		t.Errorf("before it runs check warns %q, %v", cautions, err)
	}
	k := newKeeper(cfg, nil, slog.New(slog.DiscardHandler))
	go func() { _ = k.Run(t.Context(), js) }()
	eventually(t, func() string {
		info, err := main.Info(t.Context())
		if err == nil && !k.Status()[0].Whole.IsZero() && info.Config.MaxAge == 720*time.Hour {
			return ""
		}
		return "the copy is not whole, or the stream with all fields keeps them for longer than 720h"
	})
	if cautions, err = keptTooLong(t.Context(), js, cfg); err != nil || len(cautions) > 0 {
		t.Errorf("then check warns %q, %v", cautions, err)
	}
	export := func(args string) string {
		code, out, errs := invoke(append([]string{"export"}, strings.Fields(args)...)...)
		if code != 0 {
			t.Fatalf("export %s: %d, %s", args, code, errs)
		}
		return out
	}
	var found struct {
		Places []struct {
			Stream   string
			Messages int
		} `json:"found"`
	}
	_, out, _ := invoke("subject", "export", "--email", "ann@example.org")
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err, out)
	}
	inCopy := 0
	for _, p := range found.Places {
		if p.Stream == "GUEST_SESSIONS_WITHOUT_EMAIL_NAME" {
			inCopy = p.Messages
		}
	}
	if inCopy != 2 {
		t.Errorf("a person finds %+v, want both events in the copy, too", found.Places)
	}
	full := map[string]string{"sessions": export("sessions"), "occupancy": export("occupancy")}
	if err := main.Purge(t.Context()); err != nil { // as after 720 hours
		t.Fatal(err)
	}
	for table, want := range full {
		if got := export(table + " --archive"); got != want || table == "sessions" && strings.Count(want, "\n") != 2 {
			t.Errorf("%s of the archive is\n%s, want\n%s", table, got, want)
		}
	}
	stream, err := js.Stream(t.Context(), "GUEST_SESSIONS_WITHOUT_EMAIL_NAME")
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(2) {
		if m, err := stream.GetMsg(t.Context(), n+1); err != nil || strings.Contains(string(m.Data), "ann") || strings.Contains(string(m.Data), "Ann") {
			t.Errorf("message %d of the copy is %s, %v", n+1, m.Data, err)
		}
	}
	if code, _, errs := invoke("export", "visits", "--archive"); code != 2 || !strings.Contains(errs, "GUESTFLOW_VISITS=true") {
		t.Errorf("visits of which there are none: %d, %s", code, errs)
	}
}
