package alerts

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
)

var update = flag.Bool("update", false, "write the golden files anew")

func examples() []Event {
	at := time.Date(2026, 5, 1, 12, 0, 3, 0, time.UTC)
	usual := 41.5
	raised := Event{Account: "default", Kind: Raised, Time: at, Data: Data{Revision: 1, Alert: Alert{
		Rule: "full", What: Above, Figure: "devices", LocationID: "oWNe6XWDPLM", LocationName: "IPERA",
		Since: at.Add(-2 * time.Minute), RaisedAt: at, Value: 84, Low: 81, High: 87, LookedAt: at.Add(-9 * time.Second),
		Threshold: 80, Usual: &usual, Basis: "observed",
	}}}
	cleared := raised
	cleared.Kind, cleared.Time, cleared.Data.Revision = Cleared, at.Add(time.Hour), 2
	a := &cleared.Data.Alert
	a.ClearedAt, a.Reason, a.Value, a.Low, a.High, a.LookedAt = cleared.Time, Over, 66, 64, 69, cleared.Time.Add(-4*time.Second)
	return []Event{raised.Sealed(), cleared.Sealed()}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("alert.v1.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("alert.v1.json")
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
	if a, b := examples()[0], examples()[1]; a.Data.Alert.ID != b.Data.Alert.ID || a.ID == b.ID {
		t.Errorf("ids: alerts %s and %s, events %s and %s", a.Data.Alert.ID, b.Data.Alert.ID, a.ID, b.ID)
	}
}

// TestNoAlertIsRefused, by schema and decoder alike.
func TestNoAlertIsRefused(t *testing.T) {
	schema := compiled(t)
	all := map[Kind]string{}
	for _, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Kind] = string(body)
	}
	for name, tc := range map[string]struct {
		kind     Kind
		old, new string
		decoded  string // what Decode says; empty where the schema alone refuses
	}{
		"a kind":              {Raised, "alert.raised.v1", "alert.lifted.v1", "type"},
		"a session":           {Raised, "guestflow.alert.", "guestflow.session.", "type"},
		"a revision":          {Raised, `"revision":1`, `"revision":0`, "data.revision"},
		"a wrong revision":    {Cleared, `"revision":2`, `"revision":1`, ""},
		"what":                {Raised, `"what":"above"`, `"what":"odd"`, "data.alert.what"},
		"no location":         {Raised, `"location_id":"oWNe6XWDPLM"`, `"location_id":""`, "data.alert.location_id"},
		"no reason":           {Cleared, `"reason":"over",`, ``, "reason"},
		"a reason of raising": {Raised, `"value":84`, `"reason":"over","value":84`, ""},
		"a source":            {Raised, `guestflow/default`, `other/default`, "source"},
		"a subject":           {Raised, `"subject":"`, `"subject":"x`, "subject"},
	} {
		body := strings.Replace(all[tc.kind], tc.old, tc.new, 1)
		if body == all[tc.kind] {
			t.Errorf("%s: %q is not in %s", name, tc.old, body)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if schema.Validate(v) == nil && name != "a subject" { // which no schema can compare
			t.Errorf("%s is accepted: %s", name, body)
		}
		if _, err := Decode([]byte(body)); tc.decoded != "" && (!errors.Is(err, ErrNotAlert) || !strings.Contains(err.Error(), tc.decoded)) {
			t.Errorf("%s: %v, want %s", name, err, tc.decoded)
		}
	}
}

func TestSubjects(t *testing.T) {
	e := examples()[0]
	e.Data.Alert.LocationID = "pool.bar"
	subject := Subjects{}.Of(e)
	if subject != "guest.alerts.default.pool%2Ebar.raised" {
		t.Errorf("subject %s", subject)
	}
	if account, location, kind, err := (Subjects{}).Parse(subject); err != nil || account != "default" || location != "pool.bar" || kind != Raised {
		t.Errorf("parsed as %s, %s, %s, %v", account, location, kind, err)
	}
	if _, err := NewSubjects("a b"); err == nil {
		t.Error("a prefix with a space is accepted")
	}
}

// TestAsyncAPISaysWhatIsPublished: its address, kinds and schema are the code's.
func TestAsyncAPISaysWhatIsPublished(t *testing.T) {
	var doc struct {
		Channels map[string]struct {
			Address    string
			Parameters map[string]struct{ Enum []string }
		}
	}
	if err := yaml.Unmarshal(AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	c := doc.Channels["alerts"]
	var kinds []string
	for _, k := range Kinds() {
		kinds = append(kinds, string(k))
	}
	if c.Address != DefaultPrefix+".{account}.{location}.{kind}" || !reflect.DeepEqual(c.Parameters["kind"].Enum, kinds) {
		t.Errorf("%+v, want %s and %v", c, DefaultPrefix, kinds)
	}
	if !bytes.Contains(AsyncAPI(), []byte("$ref: ./schemas/alert.v1.json")) {
		t.Error("it does not refer to the schema")
	}
}
