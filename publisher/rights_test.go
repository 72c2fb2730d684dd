package publisher

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// TestMissingRightsAreNamed: each with its subject, all at once, and trying them
// leaves nothing in the stream.
func TestMissingRightsAreNamed(t *testing.T) {
	users := map[string]*server.Permissions{
		"all":      nil,
		"few":      {Publish: &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.>", "guest.other.>"}}},
		"no-inbox": {Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}},
		"no-api":   {Publish: &server.SubjectPermission{Deny: []string{"$JS.>"}}},
	}
	o := server.Options{JetStream: true, StoreDir: t.TempDir()}
	for name, permissions := range users {
		o.Users = append(o.Users, &server.User{Username: name, Password: "p", Permissions: permissions})
	}
	url := "nats://" + serve(t, o)
	as := func(user string) jetstream.JetStream {
		nc, err := Reach(testContext(t), ConnectSettings{URL: url, User: user, Password: "p", Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	ensure(t, as("all"))
	rights := []Right{
		{"guest.sessions.default.>", "the events"}, {"$JS.API.STREAM.INFO.TEST", "the stream's state"},
		{"$JS.API.CONSUMER.CREATE.TEST.>", "reading the stream"},
	}
	for user, want := range map[string][]string{
		"all": nil, "few": {"guest.sessions.default.>", "$JS.API.CONSUMER.CREATE.TEST.>"},
		"no-inbox": {"_INBOX.>"}, "no-api": {"$JS.API.STREAM.INFO.TEST", "$JS.API.CONSUMER.CREATE.TEST.>"},
	} {
		err := TryRights(testContext(t), as(user).Conn(), rights)
		var told []string
		for line := range strings.Lines(errorText(err)) {
			subject := line[strings.LastIndex(line, " ")+1:]
			told = append(told, strings.TrimSpace(subject))
			if !strings.Contains(line, "; permit the user to ") {
				t.Errorf("%s: no remedy in %q", user, line)
			}
		}
		if strings.Join(told, " ") != strings.Join(want, " ") || (err != nil) != errors.Is(err, ErrPermission) {
			t.Errorf("%s: %v, want %q", user, err, want)
		}
	}
	info, err := as("all").Stream(testContext(t), testStream)
	if err != nil || info.CachedInfo().State.LastSeq != 0 {
		t.Errorf("trying left something in the stream: %+v, %v", info, err)
	}

	// What is there stays, even where the right is one to remove it.
	if _, err := as("all").Publish(testContext(t), "guest.sessions.default.hotel.started", nil); err != nil {
		t.Fatal(err)
	}
	if err := TryRights(testContext(t), as("all").Conn(), []Right{{"$JS.API.STREAM.PURGE.TEST", ""}, {"$JS.API.STREAM.DELETE.TEST", ""}, {"$JS.API.STREAM.MSG.DELETE.TEST", ""}}); err != nil {
		t.Error(err)
	}
	if left, err := info.Info(testContext(t)); err != nil || left.State.Msgs != 1 {
		t.Errorf("trying to remove removed: %+v, %v", left, err)
	}

	// The stream cannot be looked for: that is no matter of JetStream being off.
	began := time.Now()
	_, err = EnsureStream(testContext(t), as("no-api"), StreamSettings{Name: testStream})
	if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "$JS.API.STREAM.INFO.TEST") || strings.Contains(err.Error(), "enable JetStream") {
		t.Errorf("EnsureStream: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v to say so", took)
	}
}

// TestTrialsLeaveTheServersLogAlone: an operator who reads it finds no warning of a
// request that nobody made.
func TestTrialsLeaveTheServersLogAlone(t *testing.T) {
	var lines bytes.Buffer
	b := &broker{t: t, dir: t.TempDir(), addr: "127.0.0.1:0", sync: time.Minute, log: slog.New(slog.NewTextHandler(&lines, nil))}
	b.start()
	js := connect(t, b.URL())
	ensure(t, js) // tries what it needs
	if err := TryRights(testContext(t), js.Conn(), []Right{
		{"guest.sessions.default.>", "the events"}, {"$JS.API.STREAM.INFO.TEST", ""}, {"$JS.API.STREAM.INFO.OTHER", ""},
		{"$JS.API.CONSUMER.CREATE.OTHER.>", ""}, {"$JS.API.CONSUMER.CREATE.TEST.>", ""}, {"$JS.API.STREAM.PURGE.TEST", ""}, {"$JS.API.INFO", ""},
	}); err != nil {
		t.Error(err)
	}
	if _, err := js.AccountInfo(testContext(t)); err != nil {
		t.Error(err)
	}
	js.Conn().Close()
	b.stop()
	if lines.Len() > 0 {
		t.Errorf("the server's log:\n%s", lines.String())
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
