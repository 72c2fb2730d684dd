package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// entry is an endpoint as the file has it. Text is as it was written: YAML would
// make 83 of 0123 and 1.1 of 1.10.
type entry struct {
	Name         string            `json:"name"`
	URL          string            `json:"url"`
	Secrets      []string          `json:"secrets"`
	Kinds        []string          `json:"kinds"`
	Locations    []string          `json:"locations"`
	Condition    string            `json:"condition"`
	RateLimit    *float64          `json:"rate_limit"`
	Concurrency  *int              `json:"concurrency"`
	Ordered      bool              `json:"ordered"`
	Format       string            `json:"format"`
	ContentType  string            `json:"content_type,omitempty"`
	Timeout      string            `json:"timeout"`
	MaxRetry     string            `json:"max_retry"`
	MaxAge       string            `json:"max_age,omitempty"`
	AllowPrivate bool              `json:"allow_private"`
	Headers      map[string]string `json:"headers"`
	CA           string            `json:"ca,omitempty"`
	ClientCert   string            `json:"client_cert,omitempty"`
	ClientKey    string            `json:"client_key,omitempty"`
	Proxy        string            `json:"proxy,omitempty"`

	line  int            // where it begins
	lines map[string]int // of its fields
}

var entryFields = []string{
	"name", "url", "secrets", "kinds", "locations", "condition", "rate_limit", "concurrency", "ordered", "format",
	"content_type", "timeout", "max_retry", "max_age", "allow_private", "headers",
	"ca", "client_cert", "client_key", "proxy",
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

// document is the tree of an endpoints file.
type document struct {
	root    ast.Node // nil when the file is empty
	anchors map[string]ast.Node
}

// tabbed returns the first line that is indented with a tab, from 1; 0 is none.
func tabbed(data []byte) int {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
			return i + 1
		}
	}
	return 0
}

func readDocument(data []byte) (document, error) {
	d := document{anchors: map[string]ast.Node{}}
	if len(bytes.TrimSpace(data)) == 0 {
		return d, nil
	}
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // refused below, by name
	if err != nil {
		if line := tabbed(data); line > 0 {
			return d, fmt.Errorf("line %d: it is indented with a tab, which YAML does not permit; use spaces", line)
		}
		// Without the source excerpt, which may hold a secret.
		return d, errors.New("line and column " + yaml.FormatError(err, false, false))
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if d.root != nil {
			return d, fmt.Errorf("line %d: a second document begins, which would not be read; put all endpoints into the first", lineOf(doc.Body))
		}
		d.root = doc.Body
		for _, n := range ast.Filter(ast.AnchorType, doc.Body) {
			a := n.(*ast.AnchorNode)
			d.anchors[a.Name.GetToken().Value] = a.Value
		}
		for _, n := range ast.Filter(ast.AliasType, doc.Body) {
			name := n.(*ast.AliasNode).Value.GetToken().Value
			if d.anchors[name] == nil {
				return d, fmt.Errorf("line %d: there is no anchor &%s for this alias; write &%s before the value that is meant", lineOf(n), name, name)
			}
		}
	}
	return d, nil
}

// maxNesting of aliases and merges ends those that contain themselves.
const maxNesting = 16

// resolve returns what is meant by n: past anchors, aliases and tags.
func (d document) resolve(n ast.Node) ast.Node {
	for range maxNesting {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			n = d.anchors[v.Value.GetToken().Value]
		default:
			return n
		}
	}
	return nil
}

// member is one "key: value" of a mapping.
type member struct {
	name  string
	line  int
	value ast.Node // resolved; nil where there is none
}

// once notes where a member stands, and returns an error where one of its name did
// before.
func (m member) once(lines map[string]int) error {
	if first := lines[m.name]; first > 0 {
		return fmt.Errorf("%q stands on line %d already; keep one", m.name, first)
	}
	lines[m.name] = m.line
	return nil
}

// members returns a mapping's own members, those that stand there twice too, and then
// those that it merges and does not have itself; false when n is no mapping.
func (d document) members(n ast.Node, depth int) (out []member, ok bool) {
	mapping, ok := d.resolve(n).(ast.MapNode)
	if !ok || depth > maxNesting {
		return nil, false
	}
	have := map[string]bool{}
	var merged []ast.Node
	for each := mapping.MapRange(); each.Next(); {
		key, value := each.Key(), d.resolve(each.Value())
		if key.IsMergeKey() {
			if list, ok := value.(*ast.SequenceNode); ok {
				merged = append(merged, list.Values...)
			} else {
				merged = append(merged, value)
			}
			continue
		}
		name := key.GetToken().Value
		have[name] = true
		out = append(out, member{name, key.GetToken().Position.Line, value})
	}
	for _, m := range merged {
		more, ok := d.members(m, depth+1)
		if !ok {
			return nil, false
		}
		for _, m := range more {
			if !have[m.name] {
				have[m.name] = true
				out = append(out, m)
			}
		}
	}
	return out, true
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// entries reads the endpoints; the errors are those of form.
func (d document) entries() (out []entry, problems []error) {
	if d.root == nil {
		return nil, nil
	}
	top, ok := d.members(d.root, 0)
	if !ok {
		return nil, []error{fmt.Errorf(`line %d: the file must be a mapping; begin it with "endpoints:"`, lineOf(d.root))}
	}
	seen := map[string]int{}
	for _, m := range top {
		if err := m.once(seen); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", m.line, err))
		}
		if m.name != "endpoints" {
			problems = append(problems, fmt.Errorf("line %d: unknown field %q%s", m.line, m.name, didYouMean(m.name, []string{"endpoints"})))
			continue
		}
		items, err := d.list(m.value)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: endpoints: %w", m.line, err))
		}
		for _, item := range items {
			e, errs := d.entry(item)
			out, problems = append(out, e), append(problems, errs...)
		}
	}
	return out, problems
}

// entry reads one endpoint. A value that is missing leaves its field unset.
func (d document) entry(n ast.Node) (e entry, problems []error) {
	members, ok := d.members(n, 0)
	if !ok {
		return e, []error{fmt.Errorf(`line %d: an endpoint must be a mapping; begin it with "name:"`, lineOf(n))}
	}
	e = entry{line: lineOf(n), lines: map[string]int{}}
	if len(members) > 0 {
		e.line = members[0].line // that of a block mapping is its first colon's
	}
	for _, m := range members {
		if m.name == "name" && e.Name == "" { // before all others, since errors name it
			e.Name, _ = d.text(m.value)
		}
	}
	for _, m := range members {
		if err := m.once(e.lines); err != nil {
			problems = append(problems, fmt.Errorf("line %d: endpoint %q: %w", m.line, e.Name, err))
		}
	}
	for _, m := range members {
		var err error
		switch m.name {
		case "name":
			e.Name, err = d.text(m.value)
		case "url":
			e.URL, err = d.text(m.value)
		case "secrets":
			e.Secrets, err = d.texts(m.value)
		case "kinds":
			e.Kinds, err = d.texts(m.value)
		case "locations":
			e.Locations, err = d.texts(m.value)
		case "condition":
			e.Condition, err = d.text(m.value)
		case "rate_limit":
			e.RateLimit, err = d.decimal(m.value)
		case "concurrency":
			e.Concurrency, err = d.whole(m.value)
		case "ordered":
			e.Ordered, err = d.flag(m.value)
		case "format":
			e.Format, err = d.text(m.value)
		case "content_type":
			e.ContentType, err = d.text(m.value)
		case "timeout":
			e.Timeout, err = d.text(m.value)
		case "max_retry":
			e.MaxRetry, err = d.text(m.value)
		case "max_age":
			e.MaxAge, err = d.text(m.value)
		case "allow_private":
			e.AllowPrivate, err = d.flag(m.value)
		case "headers":
			e.Headers, err = d.pairs(m.value)
		case "ca":
			e.CA, err = d.text(m.value)
		case "client_cert":
			e.ClientCert, err = d.text(m.value)
		case "client_key":
			e.ClientKey, err = d.text(m.value)
		case "proxy":
			e.Proxy, err = d.text(m.value)
		default:
			problems = append(problems, fmt.Errorf("line %d: endpoint %q: unknown field %q%s", m.line, e.Name, m.name, didYouMean(m.name, entryFields)))
		}
		if err != nil {
			problems = append(problems, e.wrong(m.name, err))
		}
	}
	return e, problems
}

// absent is a value that is left out, or null.
func absent(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }

// text returns a scalar as it was written.
func (d document) text(n ast.Node) (string, error) {
	switch v := d.resolve(n).(type) {
	case nil, *ast.NullNode:
		return "", nil
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return v.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, nil
	}
	return "", errors.New("must be a single text; put quotation marks round it if it looks like something else")
}

func (d document) list(n ast.Node) ([]ast.Node, error) {
	switch v := d.resolve(n).(type) {
	case nil, *ast.NullNode:
		return nil, nil
	case *ast.SequenceNode:
		return v.Values, nil
	}
	return nil, errors.New("must be a list; put brackets round its items, [a, b], or a dash and a space before each")
}

func (d document) texts(n ast.Node) (out []string, err error) {
	items, err := d.list(n)
	for i, item := range items {
		if absent(d.resolve(item)) {
			return nil, fmt.Errorf("item %d is empty; remove it or write it down", i+1)
		}
		text, err := d.text(item)
		if err != nil {
			return nil, fmt.Errorf("item %d %w", i+1, err)
		}
		out = append(out, text)
	}
	return out, err
}

func (d document) pairs(n ast.Node) (map[string]string, error) {
	if absent(d.resolve(n)) {
		return nil, nil
	}
	members, ok := d.members(n, 0)
	if !ok {
		return nil, errors.New("must be a mapping; write each as Name: value on a line of its own")
	}
	out, seen := map[string]string{}, map[string]int{}
	for _, m := range members {
		if err := m.once(seen); err != nil {
			return nil, err
		}
		if absent(m.value) {
			return nil, fmt.Errorf(`%q has no value; write "" for an empty one`, m.name)
		}
		text, err := d.text(m.value)
		if err != nil {
			return nil, fmt.Errorf("%q %w", m.name, err)
		}
		out[m.name] = text
	}
	return out, nil
}

// plainDecimal leaves out octal, hexadecimal, underscores and exponents, which
// mean one thing to YAML and another to many a reader.
var plainDecimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func (d document) decimal(n ast.Node) (*float64, error) {
	text, err := d.text(n)
	if err != nil || absent(d.resolve(n)) {
		return nil, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !plainDecimal.MatchString(text) {
		return nil, fmt.Errorf("%q is not a plain number; write for instance 50 or 0.5", text)
	}
	return &v, nil
}

func (d document) whole(n ast.Node) (*int, error) {
	text, err := d.text(n)
	if err != nil || absent(d.resolve(n)) {
		return nil, err
	}
	v, err := strconv.Atoi(text)
	if err != nil || !plainDecimal.MatchString(text) {
		return nil, fmt.Errorf("%q is not a whole number; write for instance 8", text)
	}
	return &v, nil
}

func (d document) flag(n ast.Node) (bool, error) {
	text, err := d.text(n)
	if err != nil || absent(d.resolve(n)) {
		return false, err
	}
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false; write one of them", text)
}
