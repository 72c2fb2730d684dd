package occupancy

import (
	"bytes"
	"net/http"

	"github.com/guestflow/guestflow/events"
)

// contract serves the description of the stream for developers in any language:
// the AsyncAPI document with the schema that it refers to, and that of each kind. Neither holds
// data, so nobody needs a token for them.
func (s *Service) contract(mux *http.ServeMux) {
	document := events.AsyncAPI()
	for _, name := range []struct{ standard, configured string }{
		{"address: " + events.DefaultPrefix + ".", "address: " + s.settings.Prefix + "."},
		{"(stream " + events.DefaultStream + ")", "(stream " + s.settings.Stream + ")"},
	} {
		document = bytes.ReplaceAll(document, []byte(name.standard), []byte(name.configured))
	}
	mux.HandleFunc("GET /v1/asyncapi.yaml", static("application/yaml", document))
	mux.HandleFunc("GET /v1/schemas/draft-07/events.v1.json", static("application/schema+json", events.TypesSchema()))
	for _, kind := range events.Kinds() {
		mux.HandleFunc("GET /v1/schemas/"+string(kind)+".v1.json", static("application/schema+json", events.Schema(kind)))
	}
}
