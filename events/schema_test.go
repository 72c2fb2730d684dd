package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files and the schemas anew")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if the change is meant, run the test with -update:\n%s", file, got)
	}
}

// examples has one event of each kind.
func examples() map[Kind]Event {
	all := map[Kind]Event{Discovered: found()}
	for _, e := range samples() {
		all[e.Kind] = e
	}
	return all
}

func TestEventsLookLikeTheGoldenFiles(t *testing.T) {
	for kind, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := json.Indent(&text, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		text.WriteByte('\n')
		file := filepath.Join("testdata", string(kind)+".json")
		golden(t, file, text.Bytes())
		pretty, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(pretty)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if again, err := Encode(back); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%s decodes to another event (error %v):\n%s", file, err, again)
		}
	}
}

func TestSchemasAreThoseOfTheTemplate(t *testing.T) {
	text, err := template.ParseFiles("schemas/event.v1.json.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		Kind, Means    string
		First, Arrival bool
		Required       []string
	}{
		{"discovered", "a session that was online already when tracking of its location began.", true, true, nil},
		{"started", "a session came online.", true, true, nil},
		{"traffic", "the byte figures of a session moved.", false, false, []string{"previous", "change"}},
		{"updated", "another attribute of a session changed.", false, false, []string{"previous"}},
		{"ended", "a session is proven gone.", false, false, nil},
		{"resumed", "a session is online again after its end.", false, true, nil},
	} {
		var raw, pretty bytes.Buffer
		if err := text.Execute(&raw, c); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&pretty, raw.Bytes(), "", "  "); err != nil {
			t.Fatalf("%s: %v\n%s", c.Kind, err, raw.Bytes())
		}
		golden(t, filepath.Join("schemas", c.Kind+".v1.json"), pretty.Bytes())
	}
}

// compiled returns the schemas by id: those of the kinds' documents and, as
// parts of them, those of their data.
func compiled(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, kind := range Kinds() {
		text := Schema(kind)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		id := "urn:guestflow:event:" + string(kind) + ":v1"
		if err := c.AddResource(id, document); err != nil {
			t.Fatal(err)
		}
		if all[id], err = c.Compile(id); err != nil {
			t.Fatal(err)
		}
		if all[kind.SchemaID()], err = c.Compile(id + "#/properties/data"); err != nil {
			t.Fatal(err)
		}
		if got := all[kind.SchemaID()].ID; got != kind.SchemaID() {
			t.Errorf("the schema of the %s data has id %q, but dataschema is %q", kind, got, kind.SchemaID())
		}
	}
	return all
}

func document(t interface{ Fatal(...any) }, body []byte) any {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsPublishedIsValid(t *testing.T) {
	all := compiled(t)
	check := func(t interface {
		Fatal(...any)
		Fatalf(string, ...any)
	}, body []byte) {
		v := document(t, body).(map[string]any)
		kind := strings.TrimSuffix(strings.TrimPrefix(v["type"].(string), "guestflow.session."), ".v1")
		if err := all["urn:guestflow:event:"+kind+":v1"].Validate(v); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if err := all[v["dataschema"].(string)].Validate(v["data"]); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
	}
	for kind := range examples() {
		body, err := os.ReadFile(filepath.Join("testdata", string(kind)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		check(t, body)
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range life(t) {
			body, err := Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			check(t, body)
		}
	})
}

func TestSchemasRefuseWhatIsNoEvent(t *testing.T) {
	all := compiled(t)
	for _, c := range []struct {
		kind  Kind
		path  string
		value any // nil deletes
	}{
		{Started, "specversion", "0.3"},
		{Started, "id", nil},
		{Started, "source", "elsewhere/a"},
		{Started, "source", "guestflow/"},
		{Started, "type", Ended.Type()},
		{Started, "dataschema", Ended.SchemaID()},
		{Started, "datacontenttype", "text/plain"},
		{Started, "time", "2017-01-05"},
		{Started, "time", "2017-01-05T09:50:55+03:00"},
		{Started, "data", nil},
		{Started, "data.revision", json.Number("2")},
		{Started, "data.session", nil},
		{Started, "data.session.id", ""},
		{Started, "data.session.location_id", nil},
		{Started, "data.session.online", false},
		{Started, "data.session.started_at", "yesterday"},
		{Started, "data.session.downloaded_bytes", json.Number("1.5")},
		{Started, "data.session.uploaded_bytes", json.Number("-1")},
		{Started, "data.session.duration_seconds", "00:09:05"},
		{Started, "data.session.guest_id", ""},
		{Started, "data.observed", nil},
		{Started, "data.observed.at", nil},
		{Started, "data.observed.end", "reported"},
		{Started, "data.guest", map[string]any{}},
		{Started, "data.guest", "Ada Example"},
		{Started, "data.guest.email", ""},
		{Started, "data.observed.guest", nil},
		{Started, "data.observed.guest", "hardly"},
		{Traffic, "data.guest", map[string]any{"name": "Ada Example"}},
		{Ended, "data.observed.guest", "confirmed"},
		{Started, "data.observed.rounding", nil},
		{Started, "data.observed.rounding.uploaded_bytes", nil},
		{Started, "data.previous", map[string]any{"guest_id": "x"}},
		{Discovered, "data.change", map[string]any{}},
		{Traffic, "data.revision", json.Number("1")},
		{Traffic, "data.change", nil},
		{Traffic, "data.change.uploaded_bytes", nil},
		{Traffic, "data.change.reset", "yes"},
		{Traffic, "data.previous", nil},
		{Updated, "data.previous", nil},
		{Updated, "data.previous", map[string]any{}},
		{Ended, "data.session.online", true},
		{Ended, "data.observed.end", nil},
		{Ended, "data.observed.end", "guessed"},
		{Resumed, "data.episode", nil},
		{Resumed, "data.episode", json.Number("0")},
	} {
		e := examples()[c.kind]
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		v := document(t, body).(map[string]any)
		schema := all["urn:guestflow:event:"+string(c.kind)+":v1"]
		if err := schema.Validate(v); err != nil {
			t.Fatalf("%s: %v", c.kind, err)
		}
		at := v
		keys := strings.Split(c.path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		if last := keys[len(keys)-1]; c.value == nil {
			delete(at, last)
		} else {
			at[last] = c.value
		}
		if schema.Validate(v) == nil {
			t.Errorf("%s is valid with %s = %v", c.kind, c.path, c.value)
		}
	}
}

func TestSchemasPermitAdditions(t *testing.T) {
	all := compiled(t)
	for kind, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		v := document(t, body).(map[string]any)
		data := v["data"].(map[string]any)
		for _, at := range []map[string]any{v, data, data["session"].(map[string]any), data["observed"].(map[string]any)} {
			at["later"] = map[string]any{"a": "b"}
		}
		if err := all["urn:guestflow:event:"+string(kind)+":v1"].Validate(v); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if Schema("merged") != nil {
		t.Error("an unknown kind has a schema")
	}
}

// TestAsyncAPINamesEveryKind holds the document to the contract; that it is
// AsyncAPI is checked with the project's own parser, see testdata/generators. Of the
// document's version, 3.0.0 is the newest that AsyncAPI's own generator reads.
func TestAsyncAPINamesEveryKind(t *testing.T) {
	var v struct {
		AsyncAPI           string `yaml:"asyncapi"`
		DefaultContentType string `yaml:"defaultContentType"`
		Channels           map[string]struct {
			Address    string         `yaml:"address"`
			Parameters map[string]any `yaml:"parameters"`
			Messages   map[string]any `yaml:"messages"`
		} `yaml:"channels"`
		Components struct {
			Messages map[string]struct {
				Name    string `yaml:"name"`
				Payload struct {
					Ref string `yaml:"$ref"`
				} `yaml:"payload"`
			} `yaml:"messages"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(AsyncAPI(), &v); err != nil {
		t.Fatal(err)
	}
	var types struct {
		Definitions map[string]struct {
			Properties map[string]struct{ Const any }
		}
	}
	if err := json.Unmarshal(TypesSchema(), &types); err != nil {
		t.Fatal(err)
	}
	if v.AsyncAPI != "3.0.0" || v.DefaultContentType != ContentType {
		t.Errorf("AsyncAPI %q, content type %q", v.AsyncAPI, v.DefaultContentType)
	}
	if len(v.Channels) != len(Kinds()) || len(v.Components.Messages) != len(Kinds()) {
		t.Errorf("%d channels and %d messages, want one for each of the %d kinds", len(v.Channels), len(v.Components.Messages), len(Kinds()))
	}
	for _, kind := range Kinds() {
		channel, message := v.Channels[string(kind)], v.Components.Messages[string(kind)]
		if want := "guest.sessions.{account}.{location}." + string(kind); channel.Address != want || len(channel.Parameters) != 2 || len(channel.Messages) != 1 {
			t.Errorf("channel %s: %+v, want address %s", kind, channel, want)
		}
		file, definition, _ := strings.Cut(message.Payload.Ref, "#/definitions/")
		if message.Name != kind.Type() || file != "./schemas/draft-07/events.v1.json" {
			t.Errorf("message %s: %+v", kind, message)
		}
		if got := types.Definitions[definition].Properties["type"].Const; got != kind.Type() {
			t.Errorf("message %s refers to the type %q", kind, got)
		}
	}
}
