package main

import (
	"embed"
	"net/http"
)

// schemas are those of what commands write as JSON: draft 2020-12, permitting fields that
// they do not know.
//
//go:embed schemas/*.json
var schemas embed.FS

// described are the commands that have one, as files are called.
var described = []string{"explain", "export", "subject-export", "subject-forget"}

// schemaOf returns one of described.
func schemaOf(command string) []byte {
	text, err := schemas.ReadFile("schemas/" + command + ".v1.json")
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}

// serveSchemas serves them beside those of events.
func serveSchemas(mux *http.ServeMux) {
	for _, command := range described {
		body := schemaOf(command)
		mux.HandleFunc("GET /v1/schemas/"+command+".v1.json", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/schema+json")
			_, _ = w.Write(body) // whoever asked has gone
		})
	}
}
