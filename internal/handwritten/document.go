package handwritten

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

// Document is the tree of a YAML or JSON file. Its methods return what is written as it is
// written: YAML would make 83 of 0123 and 1.1 of 1.10.
type Document struct {
	// Root is nil when the file is empty.
	Root    ast.Node
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

// deepest is more than any file of entries is nested. The parser calls itself for each
// level, and a stack that is full ends the process.
const deepest = 1000

// tooDeep returns the line on which brackets are nested too deep, from 1; 0 is none.
func tooDeep(data []byte) int {
	depth := 0
	for i, c := range data {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if depth > deepest {
			return 1 + bytes.Count(data[:i], []byte("\n"))
		}
	}
	return 0
}

// ReadDocument reads a file of entries, which the errors call by that name. The errors name
// the line, and show nothing of the content, which may hold a secret.
func ReadDocument(data []byte, entries string) (Document, error) {
	d := Document{anchors: map[string]ast.Node{}}
	if len(bytes.TrimSpace(data)) == 0 {
		return d, nil
	}
	if line := tooDeep(data); line > 0 {
		return d, fmt.Errorf("line %d: brackets are nested more than %d deep; close them", line, deepest)
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
		if d.Root != nil {
			return d, fmt.Errorf("line %d: a second document begins, which would not be read; put all %s into the first", LineOf(doc.Body), entries)
		}
		d.Root = doc.Body
		for _, n := range ast.Filter(ast.AnchorType, doc.Body) {
			a := n.(*ast.AnchorNode)
			d.anchors[a.Name.GetToken().Value] = a.Value
		}
		for _, n := range ast.Filter(ast.AliasType, doc.Body) {
			name := n.(*ast.AliasNode).Value.GetToken().Value
			if d.anchors[name] == nil {
				return d, fmt.Errorf("line %d: there is no anchor &%s for this alias; write &%s before the value that is meant", LineOf(n), name, name)
			}
		}
	}
	return d, nil
}

// maxNesting of aliases and merges ends those that contain themselves.
const maxNesting = 16

// Resolve returns what is meant by n: past anchors, aliases and tags.
func (d Document) Resolve(n ast.Node) ast.Node {
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

// Member is one "key: value" of a mapping.
type Member struct {
	Name  string
	Line  int
	Value ast.Node // resolved; nil where there is none
}

// Once notes where a member stands, and returns an error where one of its name did
// before.
func (m Member) Once(lines map[string]int) error {
	if first := lines[m.Name]; first > 0 {
		return fmt.Errorf("%q stands on line %d already; keep one", m.Name, first)
	}
	lines[m.Name] = m.Line
	return nil
}

// Members returns a mapping's own members, those that stand there twice too, and then
// those that it merges and does not have itself; false when n is no mapping.
func (d Document) Members(n ast.Node, depth int) (out []Member, ok bool) {
	mapping, ok := d.Resolve(n).(ast.MapNode)
	if !ok || depth > maxNesting {
		return nil, false
	}
	have := map[string]bool{}
	var merged []ast.Node
	for each := mapping.MapRange(); each.Next(); {
		key, value := each.Key(), d.Resolve(each.Value())
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
		out = append(out, Member{name, key.GetToken().Position.Line, value})
	}
	for _, m := range merged {
		more, ok := d.Members(m, depth+1)
		if !ok {
			return nil, false
		}
		for _, m := range more {
			if !have[m.Name] {
				have[m.Name] = true
				out = append(out, m)
			}
		}
	}
	return out, true
}

// LineOf is where n stands, from 1; 1 where that is not known.
func LineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// Absent is a value that is left out, or null.
func Absent(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }

// Text returns a scalar as it was written.
func (d Document) Text(n ast.Node) (string, error) {
	switch v := d.Resolve(n).(type) {
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

// List returns the items of a sequence; none where it is left out.
func (d Document) List(n ast.Node) ([]ast.Node, error) {
	switch v := d.Resolve(n).(type) {
	case nil, *ast.NullNode:
		return nil, nil
	case *ast.SequenceNode:
		return v.Values, nil
	}
	return nil, errors.New("must be a list; put brackets round its items, [a, b], or a dash and a space before each")
}

// Texts returns a list of texts.
func (d Document) Texts(n ast.Node) (out []string, err error) {
	items, err := d.List(n)
	for i, item := range items {
		if Absent(d.Resolve(item)) {
			return nil, fmt.Errorf("item %d is empty; remove it or write it down", i+1)
		}
		text, err := d.Text(item)
		if err != nil {
			return nil, fmt.Errorf("item %d %w", i+1, err)
		}
		out = append(out, text)
	}
	return out, err
}

// Pairs returns a mapping of texts.
func (d Document) Pairs(n ast.Node) (map[string]string, error) {
	if Absent(d.Resolve(n)) {
		return nil, nil
	}
	members, ok := d.Members(n, 0)
	if !ok {
		return nil, errors.New("must be a mapping; write each as Name: value on a line of its own")
	}
	out, seen := map[string]string{}, map[string]int{}
	for _, m := range members {
		if err := m.Once(seen); err != nil {
			return nil, err
		}
		if Absent(m.Value) {
			return nil, fmt.Errorf(`%q has no value; write "" for an empty one`, m.Name)
		}
		text, err := d.Text(m.Value)
		if err != nil {
			return nil, fmt.Errorf("%q %w", m.Name, err)
		}
		out[m.Name] = text
	}
	return out, nil
}

// plainDecimal leaves out octal, hexadecimal, underscores and exponents, which
// mean one thing to YAML and another to many a reader.
var plainDecimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// Decimal returns a plain number; nil where it is left out.
func (d Document) Decimal(n ast.Node) (*float64, error) {
	text, err := d.Text(n)
	if err != nil || Absent(d.Resolve(n)) {
		return nil, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !plainDecimal.MatchString(text) {
		return nil, fmt.Errorf("%q is not a plain number; write for instance 50 or 0.5", text)
	}
	return &v, nil
}

// Whole returns a whole number; nil where it is left out.
func (d Document) Whole(n ast.Node) (*int, error) {
	text, err := d.Text(n)
	if err != nil || Absent(d.Resolve(n)) {
		return nil, err
	}
	v, err := strconv.Atoi(text)
	if err != nil || !plainDecimal.MatchString(text) {
		return nil, fmt.Errorf("%q is not a whole number; write for instance 8", text)
	}
	return &v, nil
}

// Flag returns true or false; false where it is left out.
func (d Document) Flag(n ast.Node) (bool, error) {
	text, err := d.Text(n)
	if err != nil || Absent(d.Resolve(n)) {
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
