package occupancy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/events"
)

// TestContractIsServed: the AsyncAPI document with the subjects as configured,
// what it refers to, and every kind's schema, to anybody.
func TestContractIsServed(t *testing.T) {
	h := New(Settings{Prefix: "hotel.guests", Stream: "HOTEL", Token: "s3cret", Private: true}).Handler()
	w := get(t, h, "/v1/asyncapi.yaml")
	text := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("ETag") == "" || !strings.HasPrefix(text, "asyncapi: 3.") {
		t.Fatalf("%d %v %.100s", w.Code, w.Header(), text)
	}
	if strings.Contains(text, events.DefaultPrefix+".") || strings.Contains(text, events.DefaultStream) {
		t.Error("the document names another stream than the one that is read")
	}
	references := regexp.MustCompile(`\$ref: '?(\./[^#'\n]+)`).FindAllStringSubmatch(text, -1)
	if len(references) != len(events.Kinds()) {
		t.Errorf("the document refers to other files %d times, want once for each kind", len(references))
	}
	for _, match := range references {
		at := path.Join("/v1", match[1])
		if w := get(t, h, at); w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %.100s", at, w.Code, w.Body)
		}
	}
	for _, kind := range events.Kinds() {
		at := "/v1/schemas/" + string(kind) + ".v1.json"
		if !bytes.Equal(get(t, h, at).Body.Bytes(), events.Schema(kind)) {
			t.Errorf("%s is not the kind's schema", at)
		}
		if !strings.Contains(text, "address: hotel.guests.{account}.{location}."+string(kind)) {
			t.Errorf("the document has no subject of kind %s", kind)
		}
	}
	if w := get(t, h, "/v1/schemas/gone.v1.json"); w.Code != http.StatusNotFound {
		t.Errorf("a kind that does not exist: %d", w.Code)
	}
}

// TestServedDocumentsAreValid asks the specifications' own tools, over HTTP, and
// compiles a program with the types that openapi-typescript makes. It takes npm and its registry, so it runs where GUESTFLOW_NODE says that both are
// there: in CI.
func TestServedDocumentsAreValid(t *testing.T) {
	t.Parallel()
	if os.Getenv("GUESTFLOW_NODE") != "1" {
		t.Skip("needs Node.js and npm's registry; set GUESTFLOW_NODE=1 to run it")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/openapi")); err != nil {
		t.Fatal(err)
	}
	site := &website{t: t, handler: New(Settings{}).Handler()}
	site.start()
	var out []byte
	for _, command := range [][]string{
		{"npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"},
		{"node_modules/.bin/openapi-typescript", "http://" + site.address + "/openapi.json", "--output", "types.ts"},
		{"node_modules/.bin/tsc", "--noEmit", "--strict", "types.ts", "use.ts"},
		{"node", "check.mjs", "http://" + site.address + "/"},
	} {
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		var fault bytes.Buffer
		c.Dir, c.Stderr = dir, &fault
		var err error
		if out, err = c.Output(); err != nil {
			t.Fatalf("%q: %v\n%s%s", command, err, out, fault.Bytes())
		}
	}
	got := decode[struct {
		OpenAPI             string `json:"openapi"`
		Addresses, Payloads []string
	}](t, out)
	var addresses, payloads []string
	for _, kind := range events.Kinds() {
		addresses = append(addresses, events.DefaultPrefix+".{account}.{location}."+string(kind))
		payloads = append(payloads, kind.Type())
	}
	if got.OpenAPI != "3.1" || !reflect.DeepEqual(got.Addresses, addresses) || !reflect.DeepEqual(got.Payloads, payloads) {
		t.Errorf("found %s, want %q and %q", out, addresses, payloads)
	}
}
