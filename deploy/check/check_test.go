// Package check has the tests of what lies in deploy: each file is read by the tool
// that it is for, as far as that goes without a container engine, and compared with
// the program that it deploys. It is a module of its own, so that the product does
// not depend on these tools.
package check

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// deploy is the folder that is checked.
const deploy = ".."

var update = flag.Bool("update", false, "write the golden files, and the chart's copies, anew")

// guestflow is the program, built as the Dockerfile has it built.
var guestflow string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "guestflow-check-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		guestflow = filepath.Join(dir, "guestflow")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.stamped=v0.0.0-check", "-o", guestflow, "./cmd/guestflow")
		build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building guestflow: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got != read(t, file) {
		t.Errorf("%s differs; if the change is meant, run the test with -update", file)
	}
}

// tool runs a program of the machine, and skips the test where there is none.
func tool(t *testing.T, remedy, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing: %s", name, remedy)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// variables are those of the configuration, as `guestflow config` lists them, with
// the _FILE forms.
func variables(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), guestflow, "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(name, "GUESTFLOW_") {
			continue
		}
		known[name] = true
		if strings.Contains(line, "(or "+name+"_FILE)") {
			known[name+"_FILE"] = true
		}
	}
	if len(known) < 40 {
		t.Fatalf("guestflow config lists %d variables:\n%s", len(known), out)
	}
	return known
}
