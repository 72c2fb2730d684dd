// Package layout holds tests of what packages may link: what a linter of single
// files cannot see.
package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const project = "github.com/guestflow/guestflow/"

// TestPackagesLinkNoMoreThanTheyNeed: who only reads or makes events, or compares
// lists, links no NATS client; who publishes or consumes them, no NATS server.
func TestPackagesLinkNoMoreThanTheyNeed(t *testing.T) {
	for _, c := range []struct {
		folder string
		never  []string // beginnings of import paths
	}{
		{"events", []string{"github.com/nats-io/", project}},
		{"diff", []string{"github.com/nats-io/"}},
		{"events/consume", []string{"github.com/nats-io/nats-server/"}},
		{"publisher", []string{"github.com/nats-io/nats-server/"}},
		{"events/visits", []string{"github.com/nats-io/"}},
		{"events/alerts", []string{"github.com/nats-io/"}},
		{"consumers/alert", []string{"github.com/nats-io/nats-server/"}},
		{"consumers/visit", []string{"github.com/nats-io/nats-server/"}},
		{"consumers/webhook", []string{"github.com/nats-io/nats-server/"}},
		{"consumers/occupancy", []string{"github.com/nats-io/nats-server/"}},
		{"poller/order", []string{project, "context", "net", "github.com/"}},
		{"poller/plan", []string{project, "context", "net", "github.com/"}},
	} {
		for _, linked := range links(t, c.folder) {
			for _, never := range c.never {
				if strings.HasPrefix(linked, never) && linked != project+c.folder {
					t.Errorf("%s links %s", c.folder, linked)
				}
			}
		}
	}
}

// links are the import paths of all packages that a folder's package is linked
// with, its tests aside.
func links(t *testing.T, folder string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}} {{.Dir}}", project+folder).CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", folder, err, out)
	}
	var linked []string
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		linked = append(linked, path)
		// A result is kept until a file changes that the test itself opens: the
		// go command does not know what go list has read.
		if strings.HasPrefix(path, project) {
			if _, err := os.ReadDir(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(linked) < 10 {
		t.Fatalf("%s links %d packages, which cannot be: %s", folder, len(linked), out)
	}
	return linked
}

// TestNamedTestsExist: the tests that CONTRIBUTING.md names, by folder.
func TestNamedTestsExist(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, group := range regexp.MustCompile("`([a-z/]+)`: ((?:Test[A-Za-z0-9]+(?:, )?)+)").FindAllStringSubmatch(string(text), -1) {
		files, err := filepath.Glob(filepath.Join("../..", group[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var there strings.Builder
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			there.Write(source)
		}
		for name := range strings.SplitSeq(strings.TrimSuffix(group[2], ", "), ", ") {
			if named++; !strings.Contains(there.String(), "func "+name+"(t ") {
				t.Errorf("%s has no %s", group[1], name)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d were found to be named", named)
	}
}
