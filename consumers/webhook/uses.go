package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// Absent says why no event has a field, and what to do about it, by the field's
// path in conditions: "guest", "session.device_mac".
type Absent map[string]string

// refuse returns an error when the condition asks for what no event has: it would
// never be true, or always, and nobody would notice.
func (a Absent) refuse(condition string) error {
	return a.refusePaths(usesOf(condition).paths)
}

func (a Absent) refusePaths(paths []string) error {
	for _, absent := range slices.Sorted(maps.Keys(a)) {
		for _, path := range slices.Backward(paths) { // the longest says most
			if path == absent || strings.HasPrefix(path, absent+".") {
				return fmt.Errorf("%s is in no event: %s", path, a[absent])
			}
		}
	}
	return nil
}

// uses is what a condition mentions.
type uses struct {
	paths   []string // "guest", "guest.email"; without repetition
	texts   []string
	groups  []string // that it looks for among those of an event
	numbers []int64
}

// usesOf reads a condition that compiles.
func usesOf(condition string) uses {
	var u uses
	tree, err := parser.Parse(condition)
	if err != nil {
		return u
	}
	ast.Walk(&tree.Node, &u)
	slices.Sort(u.paths)
	u.paths = slices.Compact(u.paths)
	return u
}

// Visit is part of ast.Visitor.
func (u *uses) Visit(n *ast.Node) {
	switch v := (*n).(type) {
	case *ast.IdentifierNode, *ast.MemberNode:
		if path := pathOf(*n); path != "" {
			u.paths = append(u.paths, path)
		}
	case *ast.BinaryNode:
		id, named := v.Left.(*ast.StringNode)
		if named && v.Operator == "in" && pathOf(v.Right) == "groups" {
			u.groups = append(u.groups, id.Value)
		}
	case *ast.StringNode:
		u.texts = append(u.texts, v.Value)
	case *ast.IntegerNode:
		u.numbers = append(u.numbers, int64(v.Value))
	case *ast.FloatNode:
		u.numbers = append(u.numbers, int64(v.Value))
	}
}

// pathOf is "guest.email" of guest.email, guest?.email and guest["email"]; empty
// where the names are not constant.
func pathOf(n ast.Node) string {
	switch v := n.(type) {
	case *ast.IdentifierNode:
		return v.Value
	case *ast.ChainNode:
		return pathOf(v.Node)
	case *ast.MemberNode:
		name, ok := v.Property.(*ast.StringNode)
		if of := pathOf(v.Node); ok && of != "" {
			return of + "." + name.Value
		}
	}
	return ""
}
