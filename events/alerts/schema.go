package alerts

import (
	"bytes"
	_ "embed" // the schema and the AsyncAPI document
)

//go:embed schemas/alert.v1.json
var schema []byte

//go:embed asyncapi.yaml
var asyncAPI []byte

// Schema returns the JSON Schema (draft 2020-12) of the CloudEvents document of both
// kinds. It permits fields that it does not know.
func Schema() []byte { return bytes.Clone(schema) }

// AsyncAPI returns the AsyncAPI 3 document of the stream, in YAML. It refers to the
// schema as ./schemas/alert.v1.json.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }
