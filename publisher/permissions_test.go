package publisher

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

func TestMissingPermissionsAreNamed(t *testing.T) {
	s := natstest.Run(t, &server.Options{
		JetStream: true,
		Users: []*server.User{
			{Username: "all", Password: "p"},
			{Username: "no-events", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"guest.>"}}}},
			{Username: "no-api", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.>"}}}},
		},
	})
	as := func(user string) jetstream.JetStream {
		nc, err := Connect(testContext(t), ConnectSettings{URL: s.ClientURL(), User: user, Password: "p", Log: quiet()})
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
	all := as("all")
	ensure(t, all)
	for _, user := range []string{"no-events", "no-api"} {
		t.Run(user, func(t *testing.T) {
			store := newMemory(user)
			store.add(3)
			p, w := newTestPublisher(as(user), store, Auto)
			run(t, p)
			w.until(t, "the refusal", func() bool {
				return len(w.errs) > 0 && errors.Is(w.errs[len(w.errs)-1], ErrPermission)
			})
			if s := p.State(); !s.Lasting || w.sent != 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}
