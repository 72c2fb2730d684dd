package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Format is how an event is put into a request.
type Format string

const (
	// CloudEvents: the whole CloudEvents document is the body, byte for byte as
	// it is in the stream. The default.
	CloudEvents Format = "cloudevents"
	// CloudEventsBinary: the attributes are ce- headers, the body is the data.
	CloudEventsBinary Format = "cloudevents-binary"
	// PlainData: the body is the data alone; the id is in webhook-id.
	PlainData Format = "data"
)

// jsonType is what a body is called unless its entry says otherwise: the document
// too, since many a framework parses no body of type application/cloudevents+json,
// and answers 200.
const jsonType = "application/json"

func (f Format) valid() bool { return f == CloudEvents || f == CloudEventsBinary || f == PlainData }

// render puts the headers for a document of the stream into h and returns the
// body. Attributes and data that this version does not know are kept.
func (f Format) render(h http.Header, document []byte) ([]byte, error) {
	h["Content-Type"] = []string{jsonType}
	if f == CloudEvents {
		return document, nil
	}
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal(document, &attributes); err != nil {
		return nil, fmt.Errorf("event is not JSON: %w", err)
	}
	for name, raw := range attributes {
		if name == "data" || name == "data_base64" {
			continue
		}
		value, ok := attribute(raw)
		switch {
		case !ok:
		case name == "datacontenttype":
			h["Content-Type"] = []string{value}
		case f == CloudEventsBinary:
			h.Set("ce-"+name, percentEncode(value))
		}
	}
	return attributes["data"], nil
}

// attribute returns the text form of a CloudEvents attribute: of a string,
// number or boolean.
func attribute(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == 'n' {
		return "", false
	}
	if raw[0] != '"' {
		return string(raw), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// percentEncode is the header encoding of the CloudEvents HTTP binding: space,
// double quote, percent and all beyond printable ASCII as UTF-8 in %XX.
func percentEncode(s string) string {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// shown is the URL without what often holds a token.
func shown(u *url.URL) string {
	s := u.Scheme + "://" + u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		s += "?" + hidden
	}
	return s
}
