package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/internal/export"
	"github.com/guestflow/guestflow/internal/story"
	"github.com/guestflow/guestflow/internal/subject"
)

// conforms fails unless every JSON document in a text is as the schema of a command says.
func conforms(t *testing.T, command, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, name := range described {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaOf(name)))
		if err != nil {
			t.Fatal(name, err)
		}
		if err := c.AddResource("urn:guestflow:command:"+name+":v1", document); err != nil {
			t.Fatal(name, err)
		}
	}
	schema, err := c.Compile("urn:guestflow:command:" + command + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for documents := json.NewDecoder(strings.NewReader(text)); documents.More(); n++ {
		var raw json.RawMessage
		if err := documents.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v\n%s", command, err, raw)
		}
	}
	if n == 0 {
		t.Errorf("%s: there is no document in %q", command, text)
	}
}

// members are the fields of a struct as JSON has them; required are those that are always
// there.
func members(of reflect.Type) (all, required []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			more, always := members(embedded)
			all, required = append(all, more...), append(required, always...)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		if all = append(all, name); !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}

// TestSchemasHaveEveryField: what the code writes stands in them, and nothing else.
func TestSchemasHaveEveryField(t *testing.T) {
	for _, c := range []struct {
		command string
		path    []string
		of      any
		more    []string // that are written by other means, and always there
	}{
		{"export", nil, export.Report{}, nil},
		{"subject-export", nil, personal{}, nil},
		{"subject-export", []string{"properties", "known"}, subject.Known{}, nil},
		{"subject-export", []string{"properties", "messages", "items"}, subject.Trace{}, nil},
		{"subject-export", []string{"$defs", "ids", "items"}, subject.ID{}, nil},
		{"subject-forget", nil, forgetReport{}, nil},
		{"subject-forget", []string{"$defs", "found"}, subject.Count{}, nil},
		{"explain", nil, story.Story{}, nil},
		{"explain", []string{"properties", "events", "items"}, story.Chapter{}, []string{"event"}},
		{"explain", []string{"properties", "events", "items", "properties", "happened"}, story.Span{}, nil},
		{"explain", []string{"properties", "events", "items", "properties", "webhooks", "items"}, webhook.Trace{}, nil},
	} {
		var node map[string]any
		if err := json.Unmarshal(schemaOf(c.command), &node); err != nil {
			t.Fatal(c.command, err)
		}
		for _, key := range c.path {
			node, _ = node[key].(map[string]any)
		}
		all, required := members(reflect.TypeOf(c.of))
		all, required = append(all, c.more...), append(required, c.more...)
		var has, needs []string
		properties, _ := node["properties"].(map[string]any)
		for name := range properties {
			if name != "webhooks" { // the command adds it to a chapter
				has = append(has, name)
			}
		}
		list, _ := node["required"].([]any)
		for _, name := range list {
			needs = append(needs, name.(string))
		}
		for _, names := range [][]string{all, required, has, needs} {
			slices.Sort(names)
		}
		if !slices.Equal(has, all) || !slices.Equal(needs, required) {
			t.Errorf("%s %v has %v, of these required %v; want %v, %v", c.command, c.path, has, needs, all, required)
		}
	}
}

// TestSchemasAreServed beside those of the events.
func TestSchemasAreServed(t *testing.T) {
	mux := http.NewServeMux()
	serveSchemas(mux)
	for _, command := range described {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/schemas/"+command+".v1.json", nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/schema+json" || !strings.Contains(w.Body.String(), "urn:guestflow:command:"+command+":v1") {
			t.Errorf("%s: %d, %v", command, w.Code, w.Header())
		}
	}
}
