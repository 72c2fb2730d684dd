package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// natsGroups have odd ids, an account called like a location, and a place of visits that is
// partly another group's.
const natsGroups = `
groups:
  - id: north
    locations: [oslo, "dot.ted *", acme/default, default/mall]
  - id: south
    locations: [rome, acme/*]
  - id: mall
    roaming: true
    locations: [oslo, rome]
  - {id: nobody}
`

// TestGroupsReceiveTheirOwnAlone: with the printed permissions, a real server grants what
// happens at the group's locations, live and by its consumer, and refuses the rest.
func TestGroupsReceiveTheirOwnAlone(t *testing.T) {
	dir := t.TempDir()
	groups := filepath.Join(dir, "groups.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(groups, natsGroups)
	environment(t, "GUESTFLOW_GROUPS_FILE="+groups)
	code, printed, errs := invoke("groups", "permissions", "--past")
	if code != 0 {
		t.Fatal(errs)
	}
	_, live, _ := invoke("groups", "permissions", "north")
	write(filepath.Join(dir, "groups.conf"), printed+strings.Replace(live, "GROUP_north", "LIVE_north", 1))
	users := "{user: admin, password: x}, {user: live, password: x, permissions: $LIVE_north}"
	for _, id := range []string{"north", "south", "mall", "nobody"} {
		users += fmt.Sprintf(", {user: %s, password: x, permissions: $GROUP_%s}", id, id)
	}
	conf := filepath.Join(dir, "nats.conf")
	write(conf, "include groups.conf\nport: -1\njetstream { store_dir: '"+filepath.Join(dir, "js")+"' }\nauthorization { users: ["+users+"] }")
	options, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	ns := natstest.Run(t, options)
	url := ns.ClientURL()
	js := jetStreamAs(t, url, "admin")
	for stream, subject := range map[string]string{events.DefaultStream: events.Subjects{}.All(), visits.DefaultStream: visits.Subjects{}.All()} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	admin := strings.Replace(url, "nats://", "nats://admin:x@", 1)
	environment(t, "GUESTFLOW_GROUPS_FILE="+groups, "GUESTFLOW_NATS_URL="+admin)
	if code, out, errs := invoke("groups", "consumers"); code != 0 || !strings.Contains(out, "consumer group-north of stream GUEST_SESSIONS: 4 subjects") || strings.Contains(out, "nobody") {
		t.Fatalf("%d %s %s", code, out, errs)
	}

	session := func(account, location string) string {
		return events.Subjects{}.Filter(account, location, events.Started)
	}
	visit := func(account, place string) string { return visits.Subjects{}.Filter(account, place, visits.Ended) }
	all := []string{
		session("default", "oslo"), session("default", "rome"), session("default", "dot.ted *"), session("acme", "default"), session("acme", "oslo"),
		session("default", "default"), session("default", "acme"), session("oslo", "oslo"), session("default", "mall"), session("default", "dot"),
		visit("default", "oslo"), visit("default", "mall"), visit("acme", "mall"), visit("default", "rome"), visit("acme", "default"),
	}
	for user, want := range map[string][]string{
		// The visits of the mall are partly rome's; the location called mall is north's.
		"north":  {all[0], all[2], all[3], all[8], all[10], all[14]},
		"live":   {all[0], all[2], all[3], all[8], all[10], all[14]},
		"south":  {all[1], all[3], all[4], all[12], all[13], all[14]},
		"mall":   {all[0], all[1], all[10], all[11], all[13]},
		"nobody": nil,
	} {
		nc := jetStreamAs(t, url, user).Conn()
		for _, subject := range append(slices.Clone(all), "guest.sessions.>", "guest.>", ">", "guest.sessions.*.oslo.*", "$JS.>", "_INBOX.>", "_INBOX_other.>", "guest.webhooks.>") {
			if got := subscribes(t, nc, subject); got != slices.Contains(want, subject) {
				t.Errorf("%s may subscribe to %s: %v", user, subject, got)
			}
		}
	}
	for _, subject := range []string{all[0], "$JS.API.CONSUMER.MSG.NEXT.GUEST_SESSIONS.group-north", "_INBOX_north.1"} {
		nc := jetStreamAs(t, url, "live").Conn()
		if err := errors.Join(nc.Publish(subject, nil), nc.Flush()); err != nil || !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
			t.Errorf("who hears what happens may publish to %s: %v, %v", subject, err, nc.LastError())
		}
	}
	for i, subject := range all {
		if _, err := js.Publish(t.Context(), subject, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	north := jetStreamAs(t, url, "north")
	var got []string
	for _, stream := range []string{events.DefaultStream, visits.DefaultStream} {
		c, err := north.Consumer(t.Context(), stream, "group-north")
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.FetchNoWait(100)
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			got = append(got, m.Subject())
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if want := []string{all[0], all[2], all[3], all[8], all[10], all[14]}; !slices.Equal(got, want) {
		t.Errorf("north reads %v, want %v", got, want)
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	quick := func(subject string) error {
		_, err := north.Conn().Request(subject, nil, 200*time.Millisecond) // what is refused is not answered
		return err
	}
	for _, subject := range []string{
		"$JS.API.CONSUMER.MSG.NEXT.GUEST_SESSIONS.group-south", "$JS.API.CONSUMER.INFO.GUEST_SESSIONS.group-south", "$JS.API.STREAM.INFO.GUEST_SESSIONS",
		"$JS.API.CONSUMER.CREATE.GUEST_SESSIONS.group-north", "$JS.API.DIRECT.GET.GUEST_SESSIONS." + all[1], "$JS.API.STREAM.MSG.GET.GUEST_SESSIONS", "$JS.API.STREAM.NAMES",
	} {
		refused(subject, quick(subject))
	}
	// A location that moves to another group moves with its next run.
	write(groups, strings.Replace(natsGroups, `"dot.ted *", acme/default, default/mall`, "paris", 1))
	if code, out, errs := invoke("groups", "consumers", "north"); code != 0 {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	c, err := js.Consumer(t.Context(), events.DefaultStream, "group-north")
	if err != nil {
		t.Fatal(err)
	}
	if filters := c.CachedInfo().Config.FilterSubjects; !slices.Equal(filters, []string{"guest.sessions.default.oslo.*", "guest.sessions.default.paris.*"}) || c.CachedInfo().NumPending != 0 {
		t.Errorf("changed: %v", filters)
	}
	// A server that reads changed permissions takes back what it had granted.
	nc := jetStreamAs(t, url, "live").Conn()
	kept, err := nc.SubscribeSync(all[0])
	if err != nil {
		t.Fatal(err)
	}
	lost, err := nc.SubscribeSync(all[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, live, _ = invoke("groups", "permissions", "north")
	write(filepath.Join(dir, "groups.conf"), printed+strings.Replace(live, "GROUP_north", "LIVE_north", 1))
	if options, err = server.ProcessConfigFile(conf); err != nil {
		t.Fatal(err)
	}
	options.Host, options.NoSigs, options.NoLog = "127.0.0.1", true, true // as natstest has it
	if err := ns.ReloadOptions(options); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{all[3], all[0]} {
		if _, err := js.Publish(t.Context(), subject, []byte("later")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := kept.NextMsg(time.Minute); err != nil {
		t.Errorf("what is still permitted: %v", err)
	}
	if m, err := lost.NextMsg(time.Millisecond); err == nil {
		t.Errorf("what is not permitted any more: %s", m.Subject)
	}
	write(groups, strings.Replace(natsGroups, `[oslo, "dot.ted *", acme/default, default/mall]`, "[]", 1))
	if code, out, errs := invoke("groups", "consumers", "north"); code != 0 {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	if _, err := js.Consumer(t.Context(), events.DefaultStream, "group-north"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("a group without locations has a consumer: %v", err)
	}
}

func jetStreamAs(t *testing.T, url, user string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(user, "x"), nats.CustomInboxPrefix("_INBOX_"+user), nats.PermissionErrOnSubscribe(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
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

// subscribes reports whether the server takes a subscription: it refuses before it answers
// the ping that comes after.
func subscribes(t *testing.T, nc *nats.Conn, subject string) bool {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = sub.NextMsg(time.Millisecond)
	_ = sub.Unsubscribe() // the server dropped it where it refused
	return errors.Is(err, nats.ErrTimeout)
}

// TestGroupsAreShown: what a file holds, as text and as JSON, and what is wrong with it.
func TestGroupsAreShown(t *testing.T) {
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	if err := os.WriteFile(groups, []byte(natsGroups+"tokens: [{name: anna, token: env:ANNA_TOKEN, groups: [north]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, "ANNA_TOKEN=a-token-of-anna-s")
	code, out, errs := invoke("groups", "check", "--file", groups)
	if code != 0 || !strings.HasPrefix(out, "token anna: north, personal data masked\ngroup north: north: default/oslo, default/dot.ted *, acme/default, default/mall\n") ||
		!strings.Contains(out, "group mall: mall, one place to visits: default/oslo") || strings.Contains(out, "a-token") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	_, out, _ = invoke("groups", "permissions", "--file", groups, "--json", "north", "nobody")
	var document struct{ Groups []groupRights }
	if err := json.Unmarshal([]byte(out), &document); err != nil || len(document.Groups) != 2 {
		t.Fatalf("%v in %s", err, out)
	}
	north, nobody := document.Groups[0], document.Groups[1]
	if len(north.Withheld) != 1 || !strings.Contains(north.Withheld[0], "visits to mall of account default: default/rome is a part") || !slices.Equal(north.Permissions.Publish.Deny, []string{">"}) {
		t.Errorf("%+v", north)
	}
	if !slices.Equal(nobody.Permissions.Subscribe.Deny, []string{">"}) || len(nobody.Permissions.Subscribe.Allow) != 0 {
		t.Errorf("a group without locations: %+v", nobody)
	}
	for _, c := range []struct{ variable, args, told string }{
		{"", "groups permissions", "give --file or set GUESTFLOW_GROUPS_FILE"},
		{"", "groups permissions nroth --file " + groups, "did you mean north?"},
		{"GUESTFLOW_VISIT_GROUPS=a=b", "groups check --file " + groups, "group mall is roaming, and GUESTFLOW_VISIT_GROUPS"},
		{"GUESTFLOW_OCCUPANCY_TOKEN=a-token-of-anna-s", "groups check --file " + groups, "token anna: it is GUESTFLOW_OCCUPANCY_TOKEN"},
	} {
		environment(t, "ANNA_TOKEN=a-token-of-anna-s", cmp.Or(c.variable, "GUESTFLOW_LOG_LEVEL=info"))
		if code, out, errs := invoke(strings.Fields(c.args)...); code != 2 || !strings.Contains(errs, c.told) {
			t.Errorf("%s: %d %s%s", c.args, code, out, errs)
		}
	}
}

// TestDemoHasGroups: whatever its locations are called, and however few there are.
func TestDemoHasGroups(t *testing.T) {
	for n := 1; n <= 5; n++ {
		var locations []simulator.Location
		for i := range n {
			locations = append(locations, simulator.Location{ID: fmt.Sprintf("a/b: \"%d\" #", i), City: []string{"", "İzmir", "TR", "New York", "東京"}[i], Country: "TR"})
		}
		cfg := Config{Account: "default"}
		if err := demoGroups(&cfg, t.TempDir(), locations); err != nil {
			t.Fatal(err)
		}
		tree, err := cfg.groupTree()
		if err != nil {
			t.Fatal(err)
		}
		if all := tree.Groups[0]; len(all.Set().Places()) != n || len(all.Groups) != n || !all.Set().Has("default", locations[n-1].ID) {
			t.Errorf("%d locations: %v", n, all.Set().Places())
		}
	}
}

// TestOthersAreToldNothingOfLocations: once the groups file has tokens, what tells of every
// location and account is for operators.
func TestOthersAreToldNothingOfLocations(t *testing.T) {
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	t.Setenv("ANNA_TOKEN", "a-token-of-anna-s")
	write := func(text string) *group.File {
		t.Helper()
		if err := os.WriteFile(groups, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openGroups(Config{GroupsFile: groups, Account: "default"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	plain := "groups: [{id: north, locations: [oslo]}]\n"
	open, closed := write(plain), write(plain+"tokens: [{name: anna, token: env:ANNA_TOKEN, groups: [north]}]")
	for _, c := range []struct {
		groups               *group.File
		from, bearer, master string
		told                 bool
	}{
		{nil, "10.0.0.1:7", "", "", true},
		{open, "10.0.0.1:7", "", "", true},
		{closed, "10.0.0.1:7", "", "", false},
		{closed, "10.0.0.1:7", "a-token-of-anna-s", "", false},
		{closed, "10.0.0.1:7", "a-token-of-anna-s", "s3cret", false},
		{closed, "127.0.0.1:7", "", "s3cret", false},
		{closed, "127.0.0.1:7", "", "", true},
		{closed, "10.0.0.1:7", "s3cret", "s3cret", true},
	} {
		a := &app{cfg: Config{OccupancyToken: c.master}, groups: c.groups}
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil)
		r.RemoteAddr = c.from
		r.Header.Set("Authorization", "Bearer "+c.bearer)
		w := httptest.NewRecorder()
		a.forOperators(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "told") })(w, r)
		if (w.Code == http.StatusOK) != c.told {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}
