package webhook

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/guestflow/guestflow/internal/handwritten"
)

// entry is an endpoint as the file has it. Text is as it was written: YAML would
// make 83 of 0123 and 1.1 of 1.10.
type entry struct {
	Name         string            `json:"name"`
	URL          string            `json:"url"`
	Secrets      []string          `json:"secrets"`
	Stream       string            `json:"stream,omitempty"`
	Kinds        []string          `json:"kinds"`
	Locations    []string          `json:"locations"`
	Groups       []string          `json:"groups,omitempty"`
	Condition    string            `json:"condition"`
	RateLimit    *float64          `json:"rate_limit"`
	Concurrency  *int              `json:"concurrency"`
	Ordered      bool              `json:"ordered"`
	Format       string            `json:"format"`
	ContentType  string            `json:"content_type,omitempty"`
	Body         string            `json:"body,omitempty"`
	Fields       []string          `json:"fields,omitempty"`
	Timeout      string            `json:"timeout"`
	MaxRetry     string            `json:"max_retry"`
	MaxAge       string            `json:"max_age,omitempty"`
	AllowPrivate bool              `json:"allow_private"`
	Headers      map[string]string `json:"headers"`
	OAuth2       map[string]string `json:"oauth2,omitempty"`
	CA           string            `json:"ca,omitempty"`
	ClientCert   string            `json:"client_cert,omitempty"`
	ClientKey    string            `json:"client_key,omitempty"`
	Proxy        string            `json:"proxy,omitempty"`

	line  int            // where it begins
	lines map[string]int // of its fields
}

var entryFields = []string{
	"name", "url", "secrets", "stream", "kinds", "locations", "groups", "condition", "rate_limit", "concurrency", "ordered", "format",
	"content_type", "body", "fields", "timeout", "max_retry", "max_age", "allow_private", "headers",
	"oauth2", "ca", "client_cert", "client_key", "proxy",
}

// lineOf is where a field stands, or the entry where it lacks the field.
func (e entry) lineOf(field string) int {
	if line := e.lines[field]; line > 0 {
		return line
	}
	return e.line
}

// wrong is the error of one field.
func (e entry) wrong(field string, err error) error {
	return fmt.Errorf("line %d: endpoint %q: %s: %w", e.lineOf(field), e.Name, field, err)
}

// endpointsFile is the tree of an endpoints file.
type endpointsFile struct{ handwritten.Document }

// entries reads the endpoints; the errors are those of form.
func (d endpointsFile) entries() (out []entry, problems []error) {
	if d.Root == nil {
		return nil, nil
	}
	top, ok := d.Members(d.Root, 0)
	if !ok {
		return nil, []error{fmt.Errorf(`line %d: the file must be a mapping; begin it with "endpoints:"`, handwritten.LineOf(d.Root))}
	}
	seen := map[string]int{}
	for _, m := range top {
		if err := m.Once(seen); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", m.Line, err))
		}
		if m.Name != "endpoints" {
			problems = append(problems, fmt.Errorf("line %d: unknown field %q%s", m.Line, m.Name, handwritten.DidYouMean(m.Name, []string{"endpoints"})))
			continue
		}
		items, err := d.List(m.Value)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: endpoints: %w", m.Line, err))
		}
		for _, item := range items {
			e, errs := d.entry(item)
			out, problems = append(out, e), append(problems, errs...)
		}
	}
	return out, problems
}

// entry reads one endpoint. A value that is missing leaves its field unset.
func (d endpointsFile) entry(n ast.Node) (e entry, problems []error) {
	members, ok := d.Members(n, 0)
	if !ok {
		return e, []error{fmt.Errorf(`line %d: an endpoint must be a mapping; begin it with "name:"`, handwritten.LineOf(n))}
	}
	e = entry{line: handwritten.LineOf(n), lines: map[string]int{}}
	if len(members) > 0 {
		e.line = members[0].Line // that of a block mapping is its first colon's
	}
	for _, m := range members {
		if m.Name == "name" && e.Name == "" { // before all others, since errors name it
			e.Name, _ = d.Text(m.Value)
		}
	}
	for _, m := range members {
		if err := m.Once(e.lines); err != nil {
			problems = append(problems, fmt.Errorf("line %d: endpoint %q: %w", m.Line, e.Name, err))
		}
	}
	for _, m := range members {
		var err error
		switch m.Name {
		case "name":
			e.Name, err = d.Text(m.Value)
		case "url":
			e.URL, err = d.Text(m.Value)
		case "secrets":
			e.Secrets, err = d.Texts(m.Value)
		case "stream":
			e.Stream, err = d.Text(m.Value)
		case "kinds":
			e.Kinds, err = d.Texts(m.Value)
		case "locations":
			e.Locations, err = d.Texts(m.Value)
		case "groups":
			e.Groups, err = d.Texts(m.Value)
		case "condition":
			e.Condition, err = d.Text(m.Value)
		case "rate_limit":
			e.RateLimit, err = d.Decimal(m.Value)
		case "concurrency":
			e.Concurrency, err = d.Whole(m.Value)
		case "ordered":
			e.Ordered, err = d.Flag(m.Value)
		case "format":
			e.Format, err = d.Text(m.Value)
		case "content_type":
			e.ContentType, err = d.Text(m.Value)
		case "body":
			e.Body, err = d.Text(m.Value)
		case "fields":
			e.Fields, err = d.Texts(m.Value)
		case "timeout":
			e.Timeout, err = d.Text(m.Value)
		case "max_retry":
			e.MaxRetry, err = d.Text(m.Value)
		case "max_age":
			e.MaxAge, err = d.Text(m.Value)
		case "allow_private":
			e.AllowPrivate, err = d.Flag(m.Value)
		case "headers":
			e.Headers, err = d.Pairs(m.Value)
		case "oauth2":
			e.OAuth2, err = d.Pairs(m.Value)
		case "ca":
			e.CA, err = d.Text(m.Value)
		case "client_cert":
			e.ClientCert, err = d.Text(m.Value)
		case "client_key":
			e.ClientKey, err = d.Text(m.Value)
		case "proxy":
			e.Proxy, err = d.Text(m.Value)
		default:
			problems = append(problems, fmt.Errorf("line %d: endpoint %q: unknown field %q%s", m.Line, e.Name, m.Name, handwritten.DidYouMean(m.Name, entryFields)))
		}
		if err != nil {
			problems = append(problems, e.wrong(m.Name, err))
		}
	}
	return e, problems
}
