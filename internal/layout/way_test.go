package layout

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The way of a page is what one reads to follow it from its decoding to the commit:
// each function that takes the page, or what was made of it, in the order in which the
// code calls them, once. A stop is to turn to another file for that; a return, to one
// that was left before. What a page does not go into (the learning of rates, for
// instance) is not on its way, nor is what follows the commit.
const (
	mostStops   = 25
	mostReturns = 8
)

// carriers are the types of a page, and of what is made of it on the way.
var carriers = []string{
	"poller/platform.Page", "poller/platform.reading", "poller/platform.Skip", "poller/order.Page", "poller/order.Record", "poller/order.Reading",
	"poller.evidence", "events.Session", "events.State", "events.Event", "diff.Known", "diff.Snapshot", "diff.comparison", "store.Commit",
}

// stages are where the way cannot be followed by calls alone, since functions are
// handed on there: each begins where the one before it ends.
var stages = [][2]string{
	{"poller/platform", "Client.decodePage"},
	{"poller", "Poller.askSessions"},
	{"poller", "Poller.swept"},
}

// TestWayOfAPageIsShort; -v prints it.
func TestWayOfAPageIsShort(t *testing.T) {
	w := load(t, "events", "diff", "store", "poller/platform", "poller/order", "poller")
	for _, stage := range stages {
		f := w.named[stage[0]+"."+stage[1]]
		if f == nil {
			t.Fatalf("%s has no %s", stage[0], stage[1])
		}
		w.walk(f)
	}
	returns, before := 0, make(map[string]bool)
	for _, s := range w.stops {
		mark := ""
		if before[s.file] {
			returns++
			mark = " (again)"
		}
		before[s.file] = true
		t.Logf("%s%s: %s", s.file, mark, strings.Join(s.functions, ", "))
	}
	t.Logf("%d stops in %d files, %d returns", len(w.stops), len(before), returns)
	if !w.committed {
		t.Error("the way does not lead to the store's Commit")
	}
	if len(w.stops) > mostStops || returns > mostReturns {
		t.Errorf("%d stops and %d returns, at most %d and %d", len(w.stops), returns, mostStops, mostReturns)
	}
}

type stop struct {
	file      string
	functions []string
}

type way struct {
	fset      *token.FileSet
	info      types.Info
	bodies    map[types.Object]*ast.FuncDecl
	named     map[string]types.Object // "folder.Type.method" or "folder.function"
	passed    map[types.Object]bool
	stops     []stop
	committed bool
}

// walk enters a function, and those that it hands the page on to.
func (w *way) walk(f types.Object) {
	body := w.bodies[f]
	if body == nil || w.passed[f] || w.committed {
		return
	}
	w.passed[f] = true
	file := w.fset.Position(body.Pos()).Filename
	file = filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
	if n := len(w.stops); n == 0 || w.stops[n-1].file != file {
		w.stops = append(w.stops, stop{file: file})
	}
	last := &w.stops[len(w.stops)-1]
	last.functions = append(last.functions, f.Name())
	var visit func(n ast.Node) bool
	visit = func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		// What is handed over is worked out first.
		ast.Inspect(call.Fun, visit)
		for _, arg := range call.Args {
			ast.Inspect(arg, visit)
		}
		w.call(call)
		return false
	}
	ast.Inspect(body.Body, visit)
}

// call enters the function that is called, if it is handed the page.
func (w *way) call(call *ast.CallExpr) {
	var callee types.Object
	carries := false
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		callee = w.info.Uses[fun]
	case *ast.SelectorExpr:
		callee = w.info.Uses[fun.Sel]
		carries = w.carries(w.info.TypeOf(fun.X))
	}
	for _, arg := range call.Args {
		carries = carries || w.carries(w.info.TypeOf(arg))
	}
	if !carries || callee == nil {
		return
	}
	if callee.Name() == "Commit" && folderOf(callee) == "poller" {
		w.committed = true
	}
	w.walk(callee)
}

// carries reports whether a type is that of a page, or made of it.
func (w *way) carries(of types.Type) bool {
	for of != nil {
		switch of2 := of.(type) {
		case *types.Pointer:
			of = of2.Elem()
		case *types.Slice:
			of = of2.Elem()
		case *types.Named:
			return slices.Contains(carriers, folderOf(of2.Obj())+"."+of2.Obj().Name())
		default:
			return false
		}
	}
	return false
}

func folderOf(of types.Object) string {
	if of.Pkg() == nil {
		return ""
	}
	return strings.TrimPrefix(of.Pkg().Path(), project)
}

// load parses packages and checks their types, in the order of what they import.
func load(t *testing.T, folders ...string) *way {
	t.Helper()
	w := &way{
		fset: token.NewFileSet(), bodies: make(map[types.Object]*ast.FuncDecl), named: make(map[string]types.Object), passed: make(map[types.Object]bool),
		info: types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object), Types: make(map[ast.Expr]types.TypeAndValue)},
	}
	listed := list(t, folders)
	checked := importing{packages: make(map[string]*types.Package)}
	checked.others = importer.ForCompiler(w.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(listed[path].Export) })
	config := types.Config{Importer: checked}
	for _, folder := range folders {
		var files []*ast.File
		for _, name := range listed[project+folder].GoFiles {
			file, err := parser.ParseFile(w.fset, filepath.Join("../..", folder, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		of, err := config.Check(project+folder, w.fset, files, &w.info)
		if err != nil {
			t.Fatal(err)
		}
		checked.packages[project+folder] = of
		for _, file := range files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				object := w.info.Defs[f.Name]
				w.bodies[object] = f
				name := f.Name.Name
				if f.Recv != nil {
					name = strings.TrimPrefix(types.ExprString(f.Recv.List[0].Type), "*") + "." + name
				}
				w.named[folder+"."+name] = object
			}
		}
	}
	return w
}

// importing finds the packages that were checked, and what the compiler says of others.
type importing struct {
	packages map[string]*types.Package
	others   types.Importer
}

func (i importing) Import(path string) (*types.Package, error) {
	if p := i.packages[path]; p != nil {
		return p, nil
	}
	return i.others.Import(path)
}

// compiled is what go list says of a package: the file in which the compiler says what
// it exports, and its sources.
type compiled struct {
	ImportPath, Export string
	GoFiles            []string
}

func list(t *testing.T, folders []string) map[string]compiled {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,GoFiles"}
	for _, folder := range folders {
		args = append(args, project+folder)
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := make(map[string]compiled)
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p compiled
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
	return packages
}
