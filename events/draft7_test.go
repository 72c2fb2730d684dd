package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// TestDraft7HasTheTypesOfTheSchemas derives the schema for code generators from the
// kinds' schemas: the same fields in draft 7, which all of them read, each object
// under a name of its own, those that the kinds have in common once. Rules that a
// type cannot hold are left out, so what is valid there is valid here.
func TestDraft7HasTheTypesOfTheSchemas(t *testing.T) {
	definitions := object{}
	var events []any
	for _, kind := range Kinds() {
		root := ordered(t, Schema(kind)).(object)
		name := strings.ToUpper(string(kind[:1])) + string(kind[1:])
		events = append(events, object{{"$ref", "#/definitions/" + name + "Event"}})
		hoist(&definitions, name, name+"Event", root)
	}
	slices.SortStableFunc(definitions, func(a, b member) int { return strings.Compare(a.name, b.name) })
	raw, err := json.Marshal(object{
		{"$schema", "http://json-schema.org/draft-07/schema#"},
		{"title", "Event"},
		{"description", "An event of any kind, for code generators. The schema of each kind, in draft 2020-12, has all rules."},
		{"oneOf", events},
		{"definitions", definitions},
	})
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	golden(t, "schemas/draft-07/events.v1.json", pretty.Bytes())
}

func TestDraft7TakesWhatIsPublished(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:draft7", document(t, TypesSchema())); err != nil {
		t.Fatal(err)
	}
	all, err := c.Compile("urn:draft7")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, e := range life(t) {
			body, err := Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if err := all.Validate(document(t, body)); err != nil {
				t.Fatalf("%v\n%s", err, body)
			}
		}
	})
	for kind, e := range examples() {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		v := document(t, body).(map[string]any)
		if err := all.Validate(v); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		v["type"] = "guestflow.session.other.v1"
		if all.Validate(v) == nil {
			t.Errorf("%s is an event of no kind, and valid", kind)
		}
	}
}

// shared are the members of data that bear the same name in every kind.
var shared = map[string]string{
	"session": "Session", "guest": "Guest", "previous": "Previous", "change": "Change",
	"observed": "Observed", "rounding": "Rounding",
}

// hoist adds the schema under name to the definitions, and what it holds under
// names of their own.
func hoist(definitions *object, kind, name string, schema object) {
	d := object{{"title", name}}
	for _, m := range schema {
		switch m.name {
		case "$schema", "$id", "title", "allOf", "dependentSchemas", "minProperties":
		case "properties":
			d = append(d, member{m.name, fields(definitions, kind, m.value.(object))})
		default:
			d = append(d, m)
		}
	}
	if at := slices.IndexFunc(*definitions, func(m member) bool { return m.name == name }); at >= 0 {
		(*definitions)[at].value = common((*definitions)[at].value.(object), d)
		return
	}
	*definitions = append(*definitions, member{name, d})
}

func fields(definitions *object, kind string, properties object) object {
	var all object
	for _, p := range properties {
		schema, ok := p.value.(object)
		switch {
		case !ok: // false: the kind has no such member
			continue
		case schema.get("type") == "object":
			name, ok := shared[p.name]
			if !ok {
				name = kind + strings.ToUpper(p.name[:1]) + p.name[1:]
			}
			hoist(definitions, kind, name, schema)
			p.value = object{{"$ref", "#/definitions/" + name}}
		default:
			p.value = typed(p.name, schema)
		}
		all = append(all, p)
	}
	return all
}

// typed gives the type of a plain member. A constant of a kind stays where it says
// which kind it is, in text; true or 1 are a type of their own only in few languages.
func typed(name string, schema object) object {
	var d object
	for _, m := range schema {
		switch constant := m.value.(type) {
		case bool:
			d = append(d, member{"type", "boolean"})
		case json.Number:
			if m.name == "const" {
				d = append(d, member{"type", "integer"}, member{"format", "int64"})
			} else if m.name != "minimum" {
				d = append(d, m)
			}
		case string:
			if m.name == "const" {
				d = append(d, member{"type", "string"})
			}
			d = append(d, m)
			if constant == "integer" { // else generators for Java and C# take 32 bits, which is 2 GB
				d = append(d, member{"format", "int64"})
			}
		case []any:
			d = append(d, member{"title", map[string]string{"end": "End", "proof": "Proof", "guest": "Sureness"}[name]}, member{"type", "string"}, member{m.name, constant})
		}
	}
	return d
}

// common is what two kinds have in common of an object: every member of either, of
// which only those are required that both require.
func common(a, b object) object {
	all := slices.Clone(a.get("properties").(object))
	for _, p := range b.get("properties").(object) {
		if all.get(p.name) == nil {
			all = append(all, p)
		}
	}
	var required []any
	theirs, _ := b.get("required").([]any)
	ours, _ := a.get("required").([]any)
	for _, name := range ours {
		if slices.Contains(theirs, name) {
			required = append(required, name)
		}
	}
	var d object
	for _, m := range a {
		switch m.name {
		case "properties":
			m.value = all
		case "required":
			if m.value = required; len(required) == 0 {
				continue
			}
		}
		d = append(d, m)
	}
	return d
}

// object is a JSON object that keeps its members' order.
type object []member

type member struct {
	name  string
	value any
}

func (o object) get(name string) any {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", m.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// ordered reads JSON text.
func ordered(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := read(d)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func read(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := read(d)
			if err != nil {
				return nil, err
			}
			o = append(o, member{name.(string), value})
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		all := []any{}
		for d.More() {
			value, err := read(d)
			if err != nil {
				return nil, err
			}
			all = append(all, value)
		}
		_, err = d.Token()
		return all, err
	}
	return token, nil
}
