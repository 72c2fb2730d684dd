package events

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/guestflow/guestflow/internal/natstest"
)

// TestNATSTakesTokensLiterally: whatever an account or location is called, the
// server accepts the subject, and only the filter of that name matches it.
func TestNATSTakesTokensLiterally(t *testing.T) {
	nc := natstest.New(t).JetStream().Conn()
	names := []string{
		"oWNe6XWDPLM", "a.b", "a", "b", "*", ">", "a.>", "a*", "%", "%2E", "a%2Eb", ".", "..", " ", "a b", "\t", "\r\n", "\x00", "\x7f",
		"Café", "☃", "\xff", "$SYS", "$JS", "_INBOX", "-", "/", `\`, `"`, "started", "A", "Ａ",
	}
	var subjects Subjects
	subs := map[string]*nats.Subscription{}
	for _, name := range names {
		for filter, key := range map[string]string{
			subjects.Filter("", name, ""):   "location " + name,
			subjects.AccountFilter(name):    "account " + name,
			subjects.Filter(name, name, ""): "both " + name,
		} {
			sub, err := nc.SubscribeSync(filter)
			if err != nil {
				t.Fatalf("filter %q: %v", filter, err)
			}
			subs[key] = sub
		}
	}
	for _, name := range names {
		e := sample()
		e.Account, e.Data.Session.LocationID = name, name
		if err := nc.Publish(subjects.Of(e), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		e := sample()
		e.Account, e.Data.Session.LocationID = name, name
		for _, key := range []string{"location " + name, "account " + name, "both " + name} {
			if n, _, err := subs[key].Pending(); n != 1 || err != nil {
				t.Fatalf("filter by %q received %d messages, want its own (error %v)", key, n, err)
			}
			msg, err := subs[key].NextMsg(time.Second)
			if err != nil || msg.Subject != subjects.Of(e) {
				t.Errorf("filter by %q received %q (error %v), want %q", key, msg.Subject, err, subjects.Of(e))
			}
		}
	}
}
