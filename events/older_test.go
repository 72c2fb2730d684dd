package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// olderVersion is where events and schemas of an earlier version lie, as it published
// and shipped them.
const olderVersion = "testdata/2026-11-28"

// TestEventsOfAnOlderVersionDecode: what lies in streams stays readable.
func TestEventsOfAnOlderVersionDecode(t *testing.T) {
	f, err := os.Open(filepath.Join(olderVersion, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := compiled(t)
	seen := map[Kind]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		e, err := Decode(lines.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, lines.Bytes())
		}
		seen[e.Kind]++
		if err := all["urn:guestflow:event:"+string(e.Kind)+":v1"].Validate(document(t, lines.Bytes())); err != nil {
			t.Errorf("%v\n%s", err, lines.Bytes())
		}
		// Nothing of it is passed over: written again it is the same.
		again, err := Encode(e)
		if err != nil || !bytes.Equal(again, lines.Bytes()) {
			t.Errorf("decoded, it is another (%v):\n%s\n%s", err, lines.Bytes(), again)
		}
	}
	for _, kind := range Kinds() {
		if seen[kind] == 0 {
			t.Errorf("no event of kind %s was read", kind)
		}
	}
}

// TestOlderConsumersReadThisVersion: what is published now is valid by the schemas that
// an earlier version shipped, whose readers pass over the fields that they do not know.
// Since then figures that the platform does not give are left out, which the older
// schemas ask for; CHANGELOG.md says so.
func TestOlderConsumersReadThisVersion(t *testing.T) {
	for kind, e := range examples() {
		text, err := os.ReadFile(filepath.Join(olderVersion, string(kind)+".v1.json"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("older", parsed); err != nil {
			t.Fatal(err)
		}
		older, err := c.Compile("older")
		if err != nil {
			t.Fatal(err)
		}
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		if err := older.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", kind, err, body)
		}
		// What is yet to come would be passed over just so.
		v["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		v["data"].(map[string]any)["session"].(map[string]any)["unheard_of"] = "yes"
		if err := older.Validate(v); err != nil {
			t.Errorf("%s with a field that is not known: %v", kind, err)
		}
	}
}
