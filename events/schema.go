package events

import (
	"bytes"
	"embed"
)

// The schemas are made from event.v1.json.tmpl; a test holds them to it.
//
//go:generate go test -run TestSchemasAreThoseOfTheTemplate . -update

//go:embed schemas/*.v1.json
var schemas embed.FS

//go:embed asyncapi.yaml
var asyncAPI []byte

// Schema returns the JSON Schema (draft 2020-12) of the kind's events: of the
// whole CloudEvents document as Encode writes it, with that of its data under
// the id that is the event's dataschema. Later releases of version 1 may add
// fields, so the schema permits what it does not know. nil for an unknown kind.
func Schema(kind Kind) []byte {
	if !kind.Valid() {
		return nil
	}
	text, err := schemas.ReadFile("schemas/" + string(kind) + ".v1.json")
	if err != nil {
		panic(err) // embedded, and a test reads them all
	}
	return text
}

// AsyncAPI returns the AsyncAPI 3 document of the stream, in YAML. It refers to
// the schemas as ./schemas/<kind>.v1.json.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }
