package occupancy

import (
	"bytes"
	"encoding/json"
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

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/internal/group"
)

const northToken, southToken, everyToken = "north-token-of-a-test", "south-token-of-a-test", "every-token-of-a-test"

// grouped is a groups file of a test, whose tokens are in the environment.
type grouped struct {
	*group.File
	path string
}

func groupsFile(t *testing.T, text string) *grouped {
	t.Helper()
	t.Setenv("NORTH", northToken)
	t.Setenv("SOUTH", southToken)
	t.Setenv("EVERY", everyToken)
	g := &grouped{path: filepath.Join(t.TempDir(), "groups.yaml")}
	g.write(t, text)
	var err error
	if g.File, err = group.Open(g.path, func() group.Only { return events.DefaultAccount }, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *grouped) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(g.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const countryGroups = `
groups:
  - id: country
    name: The whole country
    groups:
      - {id: north, name: North, locations: [loc-00, loc-01, never-seen]}
      - {id: south, locations: [loc-02, default/loc-01]}
`

const countryTokens = countryGroups + `
tokens:
  - {name: anna, token: env:NORTH, groups: [north], personal_data: true}
  - {name: bert, token: env:SOUTH, groups: [south]}
  - {name: carl, token: env:EVERY, groups: [north, country]}
`

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func TestGroupsAreAsDocumented(t *testing.T) {
	list := newVenue(31, 4, 12).messages(120, 11*time.Second)
	h := filled(t, Settings{Groups: groupsFile(t, countryGroups)}, list).Handler()
	for _, c := range []struct{ path, schema, file string }{
		{"/v1/groups", "Groups", "groups.json"},
		{"/v1/locations?group=south&recent=3", "Locations", "locations_of_group.json"},
		{"/v1/locations?group=none", "Problem", "bad_group.json"},
		{"/v1/stream?group=none", "Problem", "bad_group.json"},
	} {
		w := get(t, h, c.path)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if err := schemaOf(t, c.schema).Validate(value); err != nil {
			t.Errorf("%s is not as documented: %v\n%s", c.path, err, w.Body)
		}
		var out bytes.Buffer
		fmt.Fprintf(&out, "%d %s\n", w.Code, w.Header().Get("Content-Type"))
		if err := json.Indent(&out, w.Body.Bytes(), "", " "); err != nil {
			t.Fatal(err)
		}
		golden(t, c.file, append(out.Bytes(), '\n'))
	}
	if w := get(t, filled(t, Settings{}, list).Handler(), "/v1/groups"); w.Body.String() != `{"groups":[]}` {
		t.Errorf("without a file: %s", w.Body)
	}
}

// TestGroupCountsAsOneLocation: the figures of a group are those that its locations would
// have if they were one.
func TestGroupCountsAsOneLocation(t *testing.T) {
	for seed := range uint64(20) {
		list := newVenue(seed, 5, 25).messages(300, 13*time.Second)
		in := []string{"loc-00", "loc-02", "loc-03"}
		apart, whole := NewOccupancy(Limits{}), NewOccupancy(Limits{})
		for _, m := range list {
			apart.Apply(m)
			if slices.Contains(in, m.Event.Data.Session.LocationID) {
				m.Event.Data.Session.LocationID = "one"
			}
			whole.Apply(m)
		}
		if seed%2 == 1 { // after a restart, too
			restored, err := Restore(Limits{}, apart.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			apart = restored
		}
		now := list[len(list)-1].Event.Data.Observed.At.Add(time.Minute)
		var places []group.Place
		for _, id := range in {
			places = append(places, group.Place{Account: events.DefaultAccount, Location: id})
		}
		set := group.NewSet(places...)
		got := apart.rollup(apart.areasIn(set), toMillis(now))
		one, _ := whole.Location(Place{events.DefaultAccount, "one"}, now, 30)
		want := Rollup{Online: one.Online, Devices: one.Devices, Guests: one.Guests, Arrivals: one.Arrivals, Departures: one.Departures, ObservedAt: one.ObservedAt}
		if got != want {
			t.Errorf("seed %d: %+v, want %+v", seed, got, want)
		}
		total := apart.Totals(set, now, 30)[0]
		if !slices.Equal(total.Recent, one.Recent) || total.Since != one.Since || total.Sequence < one.Sequence {
			t.Errorf("seed %d: recent %v since %v, want %v since %v", seed, total.Recent, total.Since, one.Recent, one.Since)
		}
		every := group.NewSet(group.Place{Account: events.DefaultAccount, Location: group.Every})
		if a, b := apart.Totals(every, now, 9), apart.Totals(nil, now, 9); !equalJSON(t, a, b) {
			t.Errorf("seed %d: an account as a whole: %+v, want %+v", seed, a, b)
		}
		if moves := len(apart.accounts[events.DefaultAccount].moves); moves == 0 {
			t.Errorf("seed %d: nobody moved: the test shows nothing of moves", seed)
		}
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(one, other)
}

// TestGuestAtTwoLocationsCountsOnce, and the same guest id in two accounts is two guests.
func TestGuestAtTwoLocationsCountsOnce(t *testing.T) {
	var list []Message
	online := func(account, location, id string) {
		s := events.Session{ID: id, LocationID: location, Online: true, GuestID: "g1", DeviceMAC: "02:00:00:00:00:01", StartedAt: epoch}
		e := events.Event{Account: account, Kind: events.Started, Time: epoch, Data: events.Data{Revision: 1, Session: s, Observed: events.Observed{At: epoch}}}
		list = append(list, Message{Sequence: uint64(len(list) + 1), Stored: epoch, Event: e.Sealed()})
	}
	online("default", "loc-00", "a")
	online("default", "loc-01", "b")
	online("second", "loc-00", "c")
	h := filled(t, Settings{Groups: groupsFile(t, "groups:\n- {id: all, locations: [default/*, second/loc-00], groups: [{id: first, locations: [default/*, loc-00]}]}\n")}, list).Handler()
	all := decode[groupsAnswer](t, get(t, h, "/v1/groups").Body.Bytes()).Groups[0]
	if all.Online != 3 || all.Devices != 1 || all.Guests != 2 || all.Arrivals.M5 != 3 {
		t.Errorf("all: %+v", all)
	}
	if first := all.Groups[0]; first.Online != 2 || first.Devices != 1 || first.Guests != 1 || len(first.Locations) != 2 {
		t.Errorf("first: %+v", first)
	}
}

// TestTokenOfAGroupSeesItsLocationsOnly: whatever is asked, another location is answered
// word for word as one that does not exist, and no answer tells anything of it.
func TestTokenOfAGroupSeesItsLocationsOnly(t *testing.T) {
	list := newVenue(32, 4, 20).messages(200, 11*time.Second)
	other := newVenue(33, 2, 6)
	other.account = "second"
	for _, m := range other.messages(30, 11*time.Second) {
		m.Sequence += uint64(len(list))
		m.Event.Data.Session.LocationID = strings.Replace(m.Event.Data.Session.LocationID, "loc-", "far-", 1)
		list = append(list, m)
	}
	age := func(p Place) (time.Duration, bool) {
		return map[string]time.Duration{"loc-00": 3 * time.Second, "loc-01": 5 * time.Second}[p.Location], true
	}
	s := filled(t, Settings{
		Token: "s3cret", Groups: groupsFile(t, countryTokens), LookAge: age,
		Pipelines: pipelines{{Account: "default", State: "backing off", StalenessSeconds: 99, StalestLocation: "loc-03", LastError: "loc-03 failed", OutboxEvents: 7}, {Account: "second", State: "polling"}},
	}, list)
	h := s.Handler()
	for _, path := range []string{"", "/sessions", "/history", "/week", "/sessions?limit=3", "?account=default", "?account=second"} {
		for _, id := range []string{"loc-02", "loc-03", "far-00", "far-00%2Fx"} {
			hidden := get(t, h, "/v1/locations/"+id+path, bearer(northToken)...)
			absent := get(t, h, "/v1/locations/nowhere"+path, bearer(northToken)...)
			plain := strings.ReplaceAll(hidden.Body.String(), strings.ReplaceAll(id, "%2F", "/"), "nowhere")
			if hidden.Code != http.StatusNotFound || plain != absent.Body.String() || hidden.Header().Get("Age") != absent.Header().Get("Age") {
				t.Errorf("%s%s: %d %s, want 404 as for one that does not exist: %s", id, path, hidden.Code, hidden.Body, absent.Body)
			}
		}
	}
	for _, c := range []struct {
		token string
		ids   []string
		clear bool
	}{
		{northToken, []string{"loc-00", "loc-01"}, true},
		{southToken, []string{"loc-01", "loc-02"}, false},
		{everyToken, []string{"loc-00", "loc-01", "loc-02"}, false},
	} {
		answers := map[string]string{}
		for _, path := range []string{"/v1/locations?recent=9", "/v1/groups", "/v1/health"} {
			answers[path] = get(t, h, path, bearer(c.token)...).Body.String()
		}
		answers["stream"] = firstMessages(t, h, "/v1/stream?replay=20&kind=started,ended", 20, bearer(c.token)...)
		for path, body := range answers {
			for _, id := range []string{"loc-00", "loc-01", "loc-02", "loc-03", "far-", "second", "99"} {
				if !slices.Contains(c.ids, id) && strings.Contains(body, `"`+id) {
					t.Errorf("%s: %s tells of %s: %s", c.token, path, id, body)
				}
			}
		}
		all := decode[locationsAnswer](t, []byte(answers["/v1/locations?recent=9"]))
		var ids []string
		online := 0
		for _, l := range all.Locations {
			ids, online = append(ids, l.ID), online+l.Online
		}
		if !slices.Equal(ids, c.ids) || len(all.Totals) != 1 || all.Totals[0].Online != online {
			t.Errorf("%s: %v with totals %+v, want %v with %d online", c.token, ids, all.Totals, c.ids, online)
		}
		sessions := get(t, h, "/v1/locations/loc-01/sessions", bearer(c.token)...).Body.String()
		if strings.Contains(sessions, hidden) == c.clear {
			t.Errorf("%s: personal data are shown: %v", c.token, !c.clear)
		}
		health := decode[healthAnswer](t, []byte(answers["/v1/health"]))
		if p := health.Pipelines; len(p) != 1 || p[0].LastError != "" || p[0].OutboxEvents != 0 || p[0].StalenessSeconds > 5 {
			t.Errorf("%s: pipelines %+v", c.token, p)
		}
	}
	tree := decode[groupsAnswer](t, get(t, h, "/v1/groups", bearer(everyToken)...).Body.Bytes()).Groups
	if len(tree) != 1 || tree[0].ID != "country" || len(tree[0].Groups) != 2 {
		t.Errorf("a group that is in another stands there once: %+v", tree)
	}
	for id, status := range map[string]int{"north": 200, "south": 404, "country": 404, "": 200} {
		if w := get(t, h, "/v1/locations?group="+id, bearer(northToken)...); w.Code != status {
			t.Errorf("group %q: %d, want %d", id, w.Code, status)
		}
	}
}

// TestTokensOfGroupsAskEverybodyForOne: whoever has none would see more than a bearer.
func TestTokensOfGroupsAskEverybodyForOne(t *testing.T) {
	list := newVenue(34, 3, 5).messages(10, time.Second)
	for _, c := range []struct {
		name, groups, token, given string
		status                     int
		access                     string
	}{
		{"groups alone", countryGroups, "", "", 200, "masked"},
		{"groups and the token", countryGroups, "s3cret", "", 200, "masked"},
		{"tokens", countryTokens, "", "", 401, ""},
		{"tokens and the token", countryTokens, "s3cret", "", 401, ""},
		{"the token", countryTokens, "s3cret", "s3cret", 200, "full"},
		{"one that is none", countryTokens, "", "s3cret", 401, ""},
		{"an empty one is none", countryTokens, "", " ", 401, ""},
		{"with personal data", countryTokens, "", northToken, 200, "full"},
		{"without", countryTokens, "s3cret", southToken, 200, "masked"},
		{"a part of one", countryTokens, "s3cret", southToken[1:], 401, ""},
	} {
		h := filled(t, Settings{Token: c.token, Groups: groupsFile(t, c.groups)}, list).Handler()
		w := get(t, h, "/v1/health", "Guestflow-Token", c.given)
		if w.Code != c.status || c.access != "" && decode[healthAnswer](t, w.Body.Bytes()).Access != c.access {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}

// TestCachesKeepTokensApart: an answer names the headers that it depends on, and the tag of
// one token's answer is not that of another's.
func TestCachesKeepTokensApart(t *testing.T) {
	list := newVenue(35, 4, 20).messages(60, 11*time.Second)
	h := filled(t, Settings{Groups: groupsFile(t, countryTokens)}, list).Handler()
	for _, path := range []string{"/v1/locations", "/v1/groups", "/v1/locations/loc-01/sessions"} {
		north, south := get(t, h, path, bearer(northToken)...), get(t, h, path, bearer(southToken)...)
		if tag := north.Header().Get("ETag"); tag == south.Header().Get("ETag") {
			t.Errorf("%s: both have the tag %s", path, tag)
		} else if w := get(t, h, path, append(bearer(southToken), "If-None-Match", tag)...); w.Code != http.StatusOK {
			t.Errorf("%s: with the tag of another's answer: %d", path, w.Code)
		}
		if v := north.Header().Get("Vary"); !strings.Contains(v, "Authorization") || !strings.Contains(v, tokenHeader) || !strings.Contains(north.Header().Get("Cache-Control"), "private") {
			t.Errorf("%s: %v", path, north.Header())
		}
	}
}

// TestSessionsThatMoveTellNothingOfWhere they come from or go to, where that may not be
// seen.
func TestSessionsThatMoveTellNothingOfWhere(t *testing.T) {
	v := newVenue(36, 1, 1)
	s := events.Session{ID: "m", LocationID: "loc-03", LocationName: "Far Café", Online: true, StartedAt: epoch, GuestID: "guest-x"}
	state := events.Event{Kind: events.Started, Time: epoch, Data: events.Data{Revision: 1, Session: s}}
	v.online = append(v.online, events.State{})
	list := []Message{v.emit(state, 0)}
	for i, to := range [][2]string{{"loc-00", "Near Café"}, {"loc-01", "Next Café"}, {"loc-02", "Hidden Café"}} {
		is := s
		is.LocationID, is.LocationName = to[0], to[1]
		e := events.Event{Kind: events.Updated, Time: epoch, Data: events.Data{Revision: int64(i + 2), Session: is, Previous: is.Replaced(&s)}}
		list, s = append(list, v.emit(e, 0)), is
	}
	service := filled(t, Settings{Groups: groupsFile(t, countryTokens)}, list)
	feed := firstMessages(t, service.Handler(), "/v1/stream?replay=20", 3, bearer(northToken)...)
	for _, hidden := range []string{"loc-03", "Far", "loc-02", "Hidden"} {
		if strings.Contains(feed, hidden) {
			t.Errorf("the feed tells of %s: %s", hidden, feed)
		}
	}
	if !strings.Contains(feed, `"previous":{"location_id":""}`) || !strings.Contains(feed, `"previous":{"location_id":"loc-00","location_name":"Near Café"}`) {
		t.Errorf("how the session came, and its move within: %s", feed)
	}
	for _, body := range strings.Split(strings.TrimSpace(feed), "\n")[1:] {
		_, document, _ := strings.Cut(body, " ")
		if _, err := events.Decode([]byte(document)); err != nil {
			t.Errorf("what is shown is no event: %v in %s", err, document)
		}
	}
	silent := frameOf(t, list[3])
	for _, location := range []string{"", "loc-01", "loc-02"} {
		f := filter{location: location, access: accessOf(t, service, northToken)}
		if b := f.bytes(silent); b != nil {
			t.Errorf("location %q: a session that leaves is told of: %s", location, b)
		}
	}
	came := frameOf(t, list[1])
	f := filter{location: "loc-03", access: accessOf(t, service, northToken)}
	if b := f.bytes(came); b != nil {
		t.Errorf("asking for a hidden location brings what came from it: %s", b)
	}
}

func frameOf(t *testing.T, m Message) *frame {
	t.Helper()
	return eventFrame(m, encoded(t, m.Event), "e1")
}

func accessOf(t *testing.T, s *Service, token string) access {
	t.Helper()
	tree, _ := s.groupTree()
	x, ok := (&api{s: s}).judge(token, tree)
	if !ok {
		t.Fatalf("%s shows nothing", token)
	}
	return x
}

// TestChangedGroupsReachOpenStreams: what a token shows no more ends with the file's change,
// not with the connection.
func TestChangedGroupsReachOpenStreams(t *testing.T) {
	v := newVenue(37, 4, 20)
	g := groupsFile(t, countryTokens)
	s := filled(t, Settings{Token: "s3cret", Groups: g, Heartbeat: time.Hour}, v.messages(60, 11*time.Second))
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	open := func(path, token string) *listener {
		l := listen(t, web.URL, path, bearer(token)...)
		l.until(t, "session") // so it follows
		return l
	}
	north, south := open("/v1/stream?replay=1", northToken), open("/v1/stream?replay=1", southToken)
	every, whole := open("/v1/stream?replay=1&group=north", everyToken), open("/v1/stream?replay=1", "s3cret")
	// Anna's token goes, a location moves from south to another group, and north is as it was.
	g.write(t, strings.NewReplacer("  - {name: anna, token: env:NORTH, groups: [north], personal_data: true}\n", "", "[loc-02, default/loc-01]", "[loc-02]").Replace(countryTokens))
	g.Reload()
	if m := north.until(t, "dropped"); !strings.Contains(m.data, errRevoked.Error()) {
		t.Errorf("a token that was taken out: %s", m.data)
	}
	if _, more := north.next(); more {
		t.Error("the stream of a token that was taken out goes on")
	}
	south.until(t, "reset")
	if m := south.until(t, "dropped"); !strings.Contains(m.data, errRegroup.Error()) {
		t.Errorf("a token that shows something else: %s", m.data)
	}
	for {
		m := v.start()
		s.take(m, encoded(t, m.Event), m.Event.ID, 0, true)
		if id := m.Event.Data.Session.LocationID; id == "loc-00" || id == "loc-01" {
			break
		}
	}
	every.until(t, "session") // they go on
	whole.until(t, "session")
	if w := get(t, s.Handler(), "/v1/locations", bearer(northToken)...); w.Code != http.StatusUnauthorized {
		t.Errorf("the token is refused from now on: %d", w.Code)
	}
}

// TestOccupancyOfAStreamIsThatOfItsLocations: places, and totals, too.
func TestOccupancyOfAStreamIsThatOfItsLocations(t *testing.T) {
	v := newVenue(38, 4, 20)
	s := filled(t, Settings{Groups: groupsFile(t, countryTokens)}, v.messages(60, 11*time.Second))
	if _, ok := s.publish(); !ok {
		t.Fatal("nothing is published")
	}
	position, _ := s.feed.end()
	list, _, _, _ := s.feed.read(position-1, make([]*frame, 0, 1))
	f := filter{access: accessOf(t, s, southToken)}
	_, data, _ := strings.Cut(string(f.bytes(list[0])), "data: ")
	got := decode[locationsAnswer](t, []byte(data))
	want := decode[locationsAnswer](t, get(t, s.Handler(), "/v1/locations", bearer(southToken)...).Body.Bytes())
	for i := range want.Locations {
		want.Locations[i].Interval, want.Locations[i].Usual = nil, nil // over HTTP alone
	}
	slices.SortFunc(got.Locations, func(a, b Location) int { return strings.Compare(a.ID, b.ID) })
	if len(got.Totals) != 1 || !equalJSON(t, got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	f.location = "loc-03"
	if b := f.bytes(list[0]); b != nil {
		t.Errorf("a hidden location: %s", b)
	}
}
