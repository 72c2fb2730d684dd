// Command lint holds the project's rules that need types: go vet runs it over every
// package, as go vet -vettool=FILE ./... It is a module of its own, so that what it
// needs is no dependency of the product.
//
// Left out, and why:
//   - nilerr: an answer's error is settled before a look gets to see it, and an ended
//     context is how a reader ends, so that returning nil is right in all its findings.
//   - prealloc: a slice that grows is no fault; what is hot has a benchmark.
//   - checks of staticcheck that need facts of all dependencies: they took longer than
//     all others together.
//   - revive: golint's rules about comments and names are staticcheck's too.
package main

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"

	"github.com/kisielk/errcheck/errcheck"
	"github.com/sonatard/noctx"
	"github.com/uudashr/gocognit"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
	"golang.org/x/tools/go/ast/astutil"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

// most is the cognitive complexity of a function that is still read in one go.
const most = "25"

func main() {
	if err := gocognit.Analyzer.Flags.Set("over", most); err != nil {
		panic(err)
	}
	all := []*analysis.Analyzer{
		outsideTests(gocognit.Analyzer, nil), // a table of cases is long, and not hard
		outsideTests(errcheck.Analyzer, mayFail),
		outsideTests(noctx.Analyzer, endedOtherwise),
	}
	for _, of := range [][]*lint.Analyzer{staticcheck.Analyzers, simple.Analyzers, stylecheck.Analyzers} {
		for _, a := range of {
			if !needsFacts(a.Analyzer) && !slices.Contains(leftOut, a.Analyzer.Name) {
				all = append(all, a.Analyzer)
			}
		}
	}
	unitchecker.Main(all...)
}

// leftOut are checks of staticcheck that it leaves out itself by default.
var leftOut = []string{
	"ST1000",                     // package comments: one file of a package has it, tests have none
	"ST1003",                     // names: acronyms are spelt as the platform and NATS spell them
	"ST1016",                     // receivers are named after what they are where they are used
	"ST1020", "ST1021", "ST1022", // comments begin with the name where that reads well
	"ST1023", // redundant types
}

func needsFacts(a *analysis.Analyzer) bool {
	return len(a.FactTypes) > 0 || slices.ContainsFunc(a.Requires, needsFacts)
}

// outsideTests leaves out tests, and the findings that allowed is true of.
func outsideTests(a *analysis.Analyzer, allowed func(*analysis.Pass, *ast.File, analysis.Diagnostic) bool) *analysis.Analyzer {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		report := pass.Report
		of := *pass
		of.Report = func(d analysis.Diagnostic) {
			for _, file := range pass.Files {
				if file.FileStart <= d.Pos && d.Pos < file.FileEnd {
					if !strings.HasSuffix(pass.Fset.Position(d.Pos).Filename, "_test.go") && (allowed == nil || !allowed(pass, file, d)) {
						report(d)
					}
					return
				}
			}
		}
		return run(&of)
	}
	return a
}

// mayFail are calls whose errors nobody could do anything about: a page or a terminal
// that has gone, and what is closed or ended for good.
func mayFail(pass *analysis.Pass, file *ast.File, d analysis.Diagnostic) bool {
	path, _ := astutil.PathEnclosingInterval(file, d.Pos, d.Pos)
	for _, n := range path {
		if _, ok := n.(*ast.UnaryExpr); ok {
			return true // a wait for the end of what was killed
		}
		if call, ok := n.(*ast.CallExpr); ok {
			f, ok := calleeOf(pass, call)
			return ok && (strings.HasPrefix(f.FullName(), "fmt.Fprint") || slices.Contains(forGood, f.Name()))
		}
	}
	return false
}

// forGood end what they are called on.
var forGood = []string{"Close", "Flush", "Kill", "Stop", "Wait", "Shutdown", "Rollback", "Remove", "RemoveAll", "SetDeadline"}

func calleeOf(pass *analysis.Pass, call *ast.CallExpr) (*types.Func, bool) {
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.SelectorExpr:
		fn, ok := pass.TypesInfo.Uses[f.Sel].(*types.Func)
		return fn, ok
	case *ast.Ident:
		fn, ok := pass.TypesInfo.Uses[f].(*types.Func)
		return fn, ok
	}
	return nil, false
}

// endedOtherwise is what a context would end too early or not at all: a listener is
// closed, a process is ended by who started it, and a dial has its time-out.
func endedOtherwise(_ *analysis.Pass, _ *ast.File, d analysis.Diagnostic) bool {
	return slices.ContainsFunc([]string{"net.Listen", "net.DialTimeout", "os/exec.Command"}, func(call string) bool {
		return strings.HasPrefix(d.Message, call)
	})
}
