package visits

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/guestflow/guestflow/events"
)

var update = flag.Bool("update", false, "write the golden files anew")

// examples has one event of each kind, in the order of Kinds, of one visit to a group.
func examples() []Event {
	at := time.Date(2026, 5, 1, 12, 0, 3, 0, time.UTC)
	visit := Visit{
		ID: "5zq3n3x6ju2rkmkcvvzo7azmpe", Place: "mall", Group: "mall", LocationID: "oWNe6XWDPLM", LocationName: "IPERA", Locations: []string{"oWNe6XWDPLM"},
		Identity: ByGuest, GuestID: "ajKeDq4582W", DeviceMAC: "14:2d:27:e7:40:2b", First: Unknown, Arrival: Seen, StartedAt: at, Devices: 1, Sessions: 1,
	}
	days := int64(12)
	started := Event{Account: "default", Kind: Started, Time: at, Data: Data{Revision: 1, Visit: visit,
		Guest:    &events.Guest{Name: "Ada Example", Email: "ada@example.com"},
		Observed: Observed{At: at.Add(4 * time.Second), NotYetAt: at.Add(-9 * time.Second)},
	}}
	visit.Number, visit.First, visit.DaysSinceLast = 3, No, &days
	counted := Event{Account: "default", Kind: Counted, Time: at, Data: Data{Revision: 2, Visit: visit, Guest: started.Data.Guest, Observed: Observed{At: at.Add(6 * time.Second)}}}
	visit.DurationSeconds, visit.DownloadedBytes, visit.UploadedBytes = 600, 5_000_000, 410_000
	stayed := Event{Account: "default", Kind: Stayed, Time: at.Add(10 * time.Minute), Data: Data{Revision: 3, Visit: visit, ThresholdSeconds: 600, Observed: Observed{At: at.Add(15 * time.Minute)}}}
	left := at.Add(95 * time.Minute)
	visit.LocationID, visit.LocationName, visit.Locations = "pR3zOKmvzqe", "Food court", []string{"oWNe6XWDPLM", "pR3zOKmvzqe"}
	visit.EndedAt, visit.DurationSeconds, visit.Devices, visit.Sessions, visit.DownloadedBytes, visit.UploadedBytes = left, 95*60, 2, 3, 32_340_000, 1_900_580
	ended := Event{Account: "default", Kind: Ended, Time: left, Data: Data{Revision: 4, Visit: visit, Observed: Observed{At: left.Add(35 * time.Minute), NotYetAt: left.Add(-20 * time.Second), End: events.EndInferred}}}
	month := 30 * 24 * time.Hour
	lapsed := Event{Account: "default", Kind: Lapsed, Time: left.Add(month), Data: Data{Revision: 5, Visit: visit, ThresholdSeconds: int64(month / time.Second),
		Observed: Observed{At: left.Add(month + 5*time.Minute), End: events.EndInferred}}}
	return []Event{started.Sealed(), counted.Sealed(), stayed.Sealed(), ended.Sealed(), lapsed.Sealed()}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("visit.v1.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("visit.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEventsLookLikeTheGoldenFilesAndTheSchema(t *testing.T) {
	schema := compiled(t)
	for _, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		pretty.WriteByte('\n')
		file := filepath.Join("testdata", string(e.Kind)+".json")
		if *update {
			if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pretty.Bytes(), want) {
			t.Errorf("%s differs; if the change is meant, run the test with -update:\n%s", file, pretty.Bytes())
		}
		if back, err := Decode(want); err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s decodes as %+v, %v\nwant %+v", file, back, err, e)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", e.Kind, err)
		}
	}
}

// TestSchemaRefusesWhatIsNoVisit: a schema that accepts everything would prove nothing.
func TestSchemaRefusesWhatIsNoVisit(t *testing.T) {
	schema := compiled(t)
	all := map[Kind][]byte{}
	for _, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Kind] = body
	}
	for name, tc := range map[string]struct {
		kind     Kind
		old, new string
	}{
		"a kind":               {Started, "visit.started.v1", "visit.begun.v1"},
		"a first revision":     {Started, `"revision":1`, `"revision":2`},
		"no threshold":         {Stayed, `"threshold_seconds":600,`, ``},
		"no end":               {Ended, `"end":"inferred"`, `"other":1`},
		"an end of one there":  {Ended, "visit.ended.v1", "visit.stayed.v1"},
		"a guest at the end":   {Ended, `"observed":`, `"guest":{"name":"Ada"},"observed":`},
		"a zeroth visit":       {Counted, `"number":3`, `"number":0`},
		"a doubtful first":     {Counted, `"first":"no"`, `"first":"maybe"`},
		"no time of lapsing":   {Lapsed, `"threshold_seconds":2592000,`, ``},
		"a negative figure":    {Ended, `"uploaded_bytes":1900580`, `"uploaded_bytes":-1`},
		"a local time":         {Started, `03Z","arrival`, `03+02:00","arrival`},
		"an identity":          {Started, `"identity":"guest"`, `"identity":"face"`},
		"an empty place":       {Started, `"place":"mall"`, `"place":""`},
		"no locations at all":  {Started, `["oWNe6XWDPLM"]`, `[]`},
		"a source of somebody": {Started, `guestflow/default`, `other/default`},
	} {
		body := strings.Replace(string(all[tc.kind]), tc.old, tc.new, 1)
		if body == string(all[tc.kind]) && name != "a local time" {
			t.Errorf("%s: %q is not in %s", name, tc.old, body)
		}
		if name == "a local time" {
			body = strings.Replace(body, `"started_at":"2026-05-01T12:00:03Z"`, `"started_at":"2026-05-01T14:00:03+02:00"`, 1)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if schema.Validate(v) == nil {
			t.Errorf("%s is accepted: %s", name, body)
		}
	}
}

func TestDecodeRefusesWhatIsNoVisit(t *testing.T) {
	good, err := Encode(examples()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"JSON":        {"{", "[", ""},
		"version":     {`"specversion":"1.0"`, `"specversion":"0.3"`, "specversion"},
		"a session":   {"guestflow.visit.started.v1", "guestflow.session.started.v1", "type"},
		"a kind":      {"visit.started.v1", "visit.begun.v1", "type"},
		"a later one": {"visit.started.v1", "visit.started.v2", "type"},
		"source":      {"guestflow/default", "default", "source"},
		"account":     {"guestflow/default", "guestflow/", "source"},
		"id":          {`"id":"` + examples()[0].ID + `"`, `"id":""`, "id"},
		"subject":     {`"subject":"5`, `"subject":"6`, "subject"},
		"revision":    {`"revision":1`, `"revision":0`, "data.revision"},
		"place":       {`"place":"mall"`, `"place":""`, "data.visit.place"},
		"start":       {`"started_at":"2026-05-01T12:00:03Z",`, ``, "data.visit.started_at"},
		"data":        {`"data":{`, `"data":null,"other":{`, "data"},
	} {
		body := strings.Replace(string(good), tc.old, tc.new, 1)
		if body == string(good) {
			t.Errorf("%s: %q is not in %s", name, tc.old, good)
		}
		if _, err := Decode([]byte(body)); !errors.Is(err, ErrNotVisit) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	more := strings.Replace(string(good), `"revision":1`, `"revision":1,"later":{"field":[1]}`, 1)
	if e, err := Decode([]byte(more)); err != nil || e.ID != examples()[0].ID {
		t.Errorf("a field of a later release: %v", err)
	}
}

func TestIDsTellChangesApart(t *testing.T) {
	ids := map[string]bool{}
	e := examples()[2]
	for _, change := range []func(){
		func() {}, func() { e.Kind = Ended }, func() { e.Data.ThresholdSeconds = 60 }, func() { e.Account = "b" }, func() { e.Data.Visit.ID = "other" },
	} {
		change()
		if ids[e.Sealed().ID] {
			t.Errorf("the id of %+v is that of another change", e)
		}
		ids[e.Sealed().ID] = true
	}
	e.Data.Revision, e.Data.Visit.Sessions = 9, 9
	if !ids[e.Sealed().ID] {
		t.Error("the id depends on figures")
	}
}

func TestSubjects(t *testing.T) {
	e := examples()[0]
	e.Data.Visit.Place = "pool.bar"
	subject := Subjects{}.Of(e)
	if subject != "guest.visits.default.pool%2Ebar.started" {
		t.Errorf("subject %s", subject)
	}
	if account, place, kind, err := (Subjects{}).Parse(subject); err != nil || account != "default" || place != "pool.bar" || kind != Started {
		t.Errorf("parsed as %s, %s, %s, %v", account, place, kind, err)
	}
	for _, bad := range []string{"guest.visits.default.a", "guest.sessions.default.a.started", "guest.visits.default.a.begun", "guest.visits.%zz.a.started", "guest.visits.a.%zz.started"} {
		if _, _, _, err := (Subjects{}).Parse(bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if _, err := NewSubjects("a b"); err == nil {
		t.Error("a prefix with a space is accepted")
	}
	if s, err := NewSubjects("x.y"); err != nil || s.All() != "x.y.*.*.*" {
		t.Errorf("%v, %v", s, err)
	}
}

// TestAsyncAPISaysWhatIsPublished: its address, kinds and schema are the code's.
func TestAsyncAPISaysWhatIsPublished(t *testing.T) {
	var doc struct {
		Asyncapi string
		Channels map[string]struct {
			Address    string
			Parameters map[string]struct {
				Enum []string
			}
		}
	}
	if err := yaml.Unmarshal(AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	c := doc.Channels["visits"]
	if doc.Asyncapi != "3.1.0" || c.Address != DefaultPrefix+".{account}.{place}.{kind}" {
		t.Errorf("%+v", doc)
	}
	var kinds []string
	for _, k := range Kinds() {
		kinds = append(kinds, string(k))
	}
	if !reflect.DeepEqual(c.Parameters["kind"].Enum, kinds) {
		t.Errorf("kinds %v, want %v", c.Parameters["kind"].Enum, kinds)
	}
	if !bytes.Contains(AsyncAPI(), []byte("$ref: ./schemas/visit.v1.json")) {
		t.Error("it does not refer to the schema")
	}
}
