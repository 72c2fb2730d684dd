package webhook

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/group"
)

func groupTree(t *testing.T, text string) *group.Tree {
	t.Helper()
	path := filepath.Join(t.TempDir(), "groups.yaml")
	write(t, path, text)
	tree, err := group.Load(path, "default")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

const twoGroups = "groups: [{id: country, groups: [{id: north, locations: [oslo, acme/bergen]}, {id: south, locations: [rome, far/*]}]}]"

func groupedEndpoint(t *testing.T, tree *group.Tree, fields string) (Endpoint, error) {
	t.Helper()
	l := loader{groups: tree}
	cfg, err := l.parse([]byte("endpoints:\n  - name: a\n    url: https://example.com\n    secrets: [" + testSecret + "]\n    " + strings.ReplaceAll(fields, "\n", "\n    ")))
	if err != nil {
		return Endpoint{}, err
	}
	return cfg.Endpoints[0], nil
}

// TestEndpointGetsEventsOfItsGroups, of whatever stream, by field or by condition.
func TestEndpointGetsEventsOfItsGroups(t *testing.T) {
	tree := groupTree(t, twoGroups)
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	session := func(account, location string) notice {
		e := SampleEvent(events.Started, at)
		e.Account, e.Data.Session.LocationID = account, location
		return sessionTopic.about(&e)
	}
	visit := func(account, place string, locations ...string) notice {
		e := SampleVisit(visits.Ended, at)
		e.Account, e.Data.Visit.Place, e.Data.Visit.Locations = account, place, locations
		return visitTopic.about(&e)
	}
	alert := func(account, location string) notice {
		e := SampleAlert(alerts.Raised, at)
		e.Account, e.Data.Alert.LocationID = account, location
		return alertTopic.about(&e)
	}
	for _, c := range []struct {
		fields   string
		yes, not []notice
	}{
		{"groups: [north]", []notice{session("default", "oslo"), session("acme", "bergen")}, []notice{session("acme", "oslo"), session("default", "bergen"), session("default", "rome"), session("north", "oslo")}},
		{"groups: [north, south]", []notice{session("default", "rome"), session("far", "anything")}, []notice{session("acme", "rome")}},
		{"groups: [country]\nlocations: ['o*']", []notice{session("default", "oslo"), session("far", "o")}, []notice{session("default", "rome"), session("acme", "oslo")}},
		{`condition: '"country" in groups && not ("south" in groups)'`, []notice{session("default", "oslo")}, []notice{session("default", "rome"), session("default", "nowhere")}},
		{"stream: visits\ngroups: [north]", []notice{visit("default", "oslo", "oslo"), visit("default", "mall", "rome", "oslo")}, []notice{visit("default", "mall", "rome"), visit("acme", "mall", "oslo")}},
		{"stream: alerts\ncondition: '\"north\" in groups'", []notice{alert("acme", "bergen")}, []notice{alert("default", "rome")}},
	} {
		e, err := groupedEndpoint(t, tree, c.fields)
		if err != nil {
			t.Errorf("%s: %v", c.fields, err)
			continue
		}
		for want, list := range map[bool][]notice{true: c.yes, false: c.not} {
			for _, n := range list {
				if got, err := e.match(n); got != want || err != nil {
					t.Errorf("%s: %s/%v: %v, %v", c.fields, n.account, n.places, got, err)
				}
			}
		}
		if _, err := sampleFor(e, "", at); err != nil {
			t.Errorf("%s: there is no sample: %v", c.fields, err)
		}
	}
}

func TestGroupsOfAnEntryAreChecked(t *testing.T) {
	tree := groupTree(t, twoGroups)
	for fields, want := range map[string]string{
		"groups: [nroth]":                       `line 5: endpoint "a": groups: there is no group "nroth"; did you mean north?`,
		`condition: '"nroth" in groups'`:        `line 5: endpoint "a": condition: there is no group "nroth"; did you mean north?`,
		"stream: forgotten\ngroups: [north]":    "leave groups out",
		"groups: [north]\ncondition: groups[0]": "condition: column",
	} {
		if _, err := groupedEndpoint(t, tree, fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", fields, err, want)
		}
	}
	for _, fields := range []string{"groups: [north]", `condition: '"north" in groups'`, "body: groups"} {
		if _, err := groupedEndpoint(t, nil, fields); err == nil || !strings.Contains(err.Error(), "set GUESTFLOW_GROUPS_FILE") {
			t.Errorf("%s without a groups file: %v", fields, err)
		}
	}
}

// TestChangedGroupsReachEndpoints: those that ask for groups begin anew, and no other.
func TestChangedGroupsReachEndpoints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "e.yaml")
	one := func(name, fields string) string {
		return "  - {name: " + name + ", url: 'https://example.com', secrets: [" + testSecret + "]" + fields + "}\n"
	}
	write(t, file, "endpoints:\n"+one("field", ", groups: [north]")+one("other", ", groups: [south]")+
		one("condition", `, condition: '"north" in groups'`)+one("body", ", body: groups")+one("none", ""))
	tree := groupTree(t, twoGroups)
	w, err := watch(file, nil, func() *group.Tree { return tree })
	if err != nil {
		t.Fatal(err)
	}
	before := w.config().Endpoints
	tree = groupTree(t, strings.Replace(twoGroups, "[oslo,", "[oslo, hamar,", 1))
	if changed, err := w.reload(); !changed || err != nil {
		t.Fatalf("%v, %v", changed, err)
	}
	for i, e := range w.config().Endpoints {
		if want := map[string]bool{"field": true, "condition": true, "body": true}[e.Name]; (e.digest != before[i].digest) != want {
			t.Errorf("%s is another: %v, want %v", e.Name, !want, want)
		}
	}
	if changed, err := w.reload(); changed || err != nil {
		t.Errorf("unchanged: %v, %v", changed, err)
	}
	tree = groupTree(t, "groups: [{id: south}]")
	if _, err := w.reload(); err == nil || len(w.config().Endpoints) != 5 {
		t.Errorf("a group that an endpoint asks for is gone: %v", err)
	}
}
