package events

import (
	"bytes"
	"embed"
)

// The schemas are made from event.v1.json.tmpl; a test holds them to it.
//
//go:generate go test -run TestSchemasAreThoseOfTheTemplate . -update
//go:generate go test -run TestDraft7HasTheTypesOfTheSchemas . -update

//go:embed schemas/*.v1.json
var schemas embed.FS

//go:embed schemas/draft-07/events.v1.json
var typesSchema []byte

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

// TypesSchema returns one JSON Schema (draft 7) of the events of all kinds, for
// code generators: the fields of the kinds' schemas, with a definition for each
// object, but without the rules that a type cannot hold.
func TypesSchema() []byte { return bytes.Clone(typesSchema) }

// AsyncAPI returns the AsyncAPI 3.0.0 document of the stream, in YAML. It refers to
// TypesSchema as ./schemas/draft-07/events.v1.json.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }
