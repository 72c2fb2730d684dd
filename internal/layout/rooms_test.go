package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rooms are all packages of the project, and what of the project each may import:
// data moves one way. The table of CONTRIBUTING.md says the same.
var rooms = map[string][]string{
	"events":               {},
	"events/consume":       {"events"},
	"diff":                 {"events"},
	"store":                {"events"},
	"publisher":            {"events", "store", "internal/handwritten", "internal/outbound"},
	"publisher/embedded":   {},
	"poller/address":       {},
	"poller/order":         {},
	"poller/plan":          {},
	"poller/platform":      {"events", "internal/outbound"},
	"poller/budget":        {"poller/platform"},
	"poller/guest":         {"events", "store", "poller/budget", "poller/platform"},
	"poller":               {"diff", "events", "store", "poller/address", "poller/budget", "poller/order", "poller/plan", "poller/platform"},
	"consumers/webhook":    {"events", "events/alerts", "events/consume", "events/forgotten", "events/visits", "internal/group", "internal/handwritten", "internal/outbound"},
	"events/visits":        {"events"},
	"events/forgotten":     {"events"},
	"consumers/visit":      {"events", "events/consume", "events/forgotten", "events/visits", "internal/chain", "internal/erased", "internal/objects"},
	"consumers/occupancy":  {"events", "events/alerts", "events/consume", "events/forgotten", "events/visits", "internal/erased", "internal/group", "internal/objects"},
	"events/alerts":        {"events"},
	"consumers/alert":      {"events", "events/alerts", "events/consume", "internal/group", "internal/handwritten"},
	"internal/baseline":    {},
	"internal/chain":       {},
	"internal/erased":      {"events/consume", "events/forgotten"},
	"internal/objects":     {},
	"internal/retention":   {"events", "events/consume", "events/forgotten", "events/visits", "internal/chain", "internal/erased"},
	"internal/simulator":   {"events"},
	"internal/outbound":    {"internal/handwritten"},
	"internal/group":       {"internal/handwritten"},
	"internal/handwritten": {},
	"internal/certtest":    {},
	"internal/blackhole":   {},
	"internal/virtual":     {},
	"internal/natstest":    {},
	"internal/long":        {},
	"internal/layout":      {},
	"internal/journey": {
		"diff", "events", "store", "publisher", "publisher/embedded", "poller", "poller/budget", "poller/plan", "poller/platform", "internal/simulator",
	},
	"internal/robustness": {
		"diff", "events", "store", "publisher", "poller", "poller/budget", "poller/plan", "poller/platform", "internal/lease", "internal/long", "internal/simulator",
	},
	"internal/figures": {},
	"internal/test":    {},
	"internal/freshness": {
		"diff", "events", "store", "internal/simulator", "internal/virtual", "poller", "poller/budget", "poller/plan", "poller/platform",
	},
	"internal/pipeline": {
		"events", "store", "publisher", "publisher/embedded", "poller/platform", "internal/simulator",
	},
	"internal/account": {
		"diff", "events", "events/consume", "events/forgotten", "store", "publisher", "poller", "poller/budget", "poller/guest", "poller/plan", "poller/platform",
	},
	"internal/lease":   {},
	"internal/tracing": {},
	"internal/story":   {"events", "events/consume"},
	"internal/export":  {"events", "events/consume", "events/visits"},
	"internal/subject": {"events", "events/consume", "events/forgotten", "events/visits"},
	"cmd/guestflow": {
		"internal/account", "internal/lease", "internal/tracing", "internal/story", "internal/export", "internal/subject",
		"diff", "events", "events/consume", "store", "publisher", "publisher/embedded", "poller", "poller/budget", "poller/guest",
		"poller/order", "poller/plan", "poller/platform", "consumers/webhook", "consumers/occupancy", "consumers/visit", "consumers/alert", "events/alerts", "events/visits", "events/forgotten", "internal/baseline", "internal/figures", "internal/freshness", "internal/group", "internal/handwritten",
		"internal/pipeline", "internal/retention", "internal/simulator",
	},
}

// libraries are the modules of others that each room may import; cmd/guestflow, which
// puts all together, may import any.
var libraries = map[string][]string{
	"events/consume":       {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4"},
	"store":                {"go.etcd.io/bbolt"},
	"publisher":            {"github.com/nats-io/nats.go", "github.com/nats-io/nkeys", "github.com/nats-io/nuid", "github.com/cenkalti/backoff/v4"},
	"publisher/embedded":   {"github.com/nats-io/nats-server/v2", "go.etcd.io/bbolt"},
	"poller/budget":        {"github.com/cenkalti/backoff/v4", "golang.org/x/time", "golang.org/x/sys"},
	"poller/platform":      {"github.com/go-json-experiment/json"},
	"consumers/webhook":    {"github.com/nats-io/nats.go", "github.com/expr-lang/expr", "github.com/goccy/go-yaml", "golang.org/x/time", "golang.org/x/oauth2"},
	"consumers/occupancy":  {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4"},
	"consumers/visit":      {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4"},
	"consumers/alert":      {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4", "github.com/goccy/go-yaml"},
	"internal/baseline":    {"github.com/nats-io/nats.go"},
	"internal/chain":       {"github.com/nats-io/nats.go"},
	"internal/erased":      {"github.com/nats-io/nats.go"},
	"internal/objects":     {"github.com/nats-io/nats.go"},
	"internal/retention":   {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4"},
	"internal/account":     {"github.com/nats-io/nats.go", "github.com/cenkalti/backoff/v4"},
	"internal/lease":       {"github.com/nats-io/nats.go"},
	"internal/tracing":     {"go.opentelemetry.io/otel"},
	"internal/story":       {"github.com/nats-io/nats.go"},
	"internal/export":      {"github.com/nats-io/nats.go", "github.com/parquet-go/parquet-go"},
	"internal/subject":     {"github.com/nats-io/nats.go"},
	"internal/group":       {"github.com/goccy/go-yaml"},
	"internal/handwritten": {"github.com/goccy/go-yaml"},
	"internal/natstest":    {"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go"},
	"internal/journey":     {"github.com/nats-io/nats.go"},
	"internal/pipeline":    {"github.com/nats-io/nats.go", "go.etcd.io/bbolt", "golang.org/x/time", "golang.org/x/sys"},
	"internal/robustness":  {"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "github.com/Shopify/toxiproxy/v2", "github.com/rs/zerolog"},
}

// ofOthers reports whether an import path is that of a library.
func ofOthers(path string) bool {
	host, _, _ := strings.Cut(path, "/")
	return strings.Contains(host, ".") && !strings.HasPrefix(path, project)
}

// pure packages decide on values alone: nothing of theirs waits, asks or keeps.
var pure = []string{"diff", "poller/order", "poller/plan"}

// TestRoomsImportNoMoreThanTheyMay, and every package has its line in the table.
func TestRoomsImportNoMoreThanTheyMay(t *testing.T) {
	found := make(map[string]bool)
	for folder, imports := range importsOf(t) {
		may, known := rooms[folder]
		if !known {
			t.Errorf("%s is no room of the table: say what it may import", folder)
			continue
		}
		found[folder] = true
		for _, path := range imports {
			if of, ours := strings.CutPrefix(path, project); ours && !slices.Contains(may, of) {
				t.Errorf("%s imports %s, and may not", folder, of)
			}
			within := func(module string) bool { return path == module || strings.HasPrefix(path, module+"/") }
			if folder != "cmd/guestflow" && ofOthers(path) && !slices.ContainsFunc(libraries[folder], within) {
				t.Errorf("%s imports %s, a library that it may not: say so in the table, with the reason in CONTRIBUTING.md", folder, path)
			}
			if slices.Contains(pure, folder) && slices.Contains([]string{"context", "net", "net/http", "os", "sync"}, path) {
				t.Errorf("%s imports %s: it is pure", folder, path)
			}
		}
	}
	for folder := range rooms {
		if !found[folder] {
			t.Errorf("%s is in the table, and there is no such package", folder)
		}
	}
}

// TestArrowsPointOneWay: the table has no circle, so the rooms can be sorted such
// that each imports only those before it.
func TestArrowsPointOneWay(t *testing.T) {
	done := make(map[string]bool)
	for len(done) < len(rooms) {
		before := len(done)
		for folder, may := range rooms {
			if !slices.ContainsFunc(may, func(of string) bool { return !done[of] }) {
				done[folder] = true
			}
		}
		if len(done) == before {
			t.Fatalf("a circle: %d of %d rooms can be sorted", before, len(rooms))
		}
	}
}

// TestContributingHasTheTable: what the layout's table there says each folder may
// import is what this one does.
func TestContributingHasTheTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("(?m)^\\| `([a-z/]+)/` \\| [^|]+ \\| ([^|]+) \\|$")
	told := make(map[string]bool)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		folder, cell := m[1], m[2]
		may, known := rooms[folder]
		if !known {
			continue // It holds no package of this module.
		}
		told[folder] = true
		if cell == "all" || cell == "none" && len(may) == 0 {
			continue
		}
		if got := strings.Split(cell, ", "); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(may))) {
			t.Errorf("CONTRIBUTING.md says that %s may import %v, the table says %v", folder, got, may)
		}
	}
	for folder := range rooms {
		if !told[folder] {
			t.Errorf("CONTRIBUTING.md has no line for %s", folder)
		}
	}
}

// TestPollersTypesStaySmall: who opens a type of the poller finds what it has on a
// screen.
func TestPollersTypesStaySmall(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "poller", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	methods, fields := make(map[string]int), make(map[string]int)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					methods[strings.TrimPrefix(types.ExprString(n.Recv.List[0].Type), "*")]++
				}
			case *ast.TypeSpec:
				if of, ok := n.Type.(*ast.StructType); ok {
					for _, f := range of.Fields.List {
						fields[n.Name.Name] += max(1, len(f.Names))
					}
				}
			}
			return true
		})
	}
	if methods["Poller"] == 0 || fields["Poller"] == 0 {
		t.Fatal("no type Poller was found")
	}
	for name, n := range methods {
		if n > 40 {
			t.Errorf("%s has %d methods, at most 40 are for one type", name, n)
		}
	}
	for name, n := range fields {
		// Status and what else only carries figures has no methods.
		if n > 20 && methods[name] > 0 {
			t.Errorf("%s has %d fields, at most 20 are for one type", name, n)
		}
	}
}

// importsOf returns what each package imports, its tests aside, by folder.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{.Dir}} {{range .Imports}}{{.}} {{end}}", project+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	imports := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			t.Fatal(fmt.Errorf("go list says %q", line))
		}
		// See links: the result is kept until a file of the folder changes.
		if _, err := os.ReadDir(fields[1]); err != nil {
			t.Fatal(err)
		}
		imports[strings.TrimPrefix(fields[0], project)] = fields[2:]
	}
	return imports
}
