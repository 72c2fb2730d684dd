// Command test runs the project's tests with what the machine has, and says at its
// end what was left out and how to have it:
//
//	go run ./internal/test [-require] [go test's flags and packages]
//
// Go, git and a C compiler are enough. With -require everything runs, and it fails
// where something was left out.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	// The other flags are go test's.
	args := os.Args[1:]
	require := len(args) > 0 && args[0] == "-require"
	if require {
		args = args[1:]
	}
	os.Exit(run(require, args))
}

// browsers are the names that the tests look for.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

func run(require bool, args []string) int {
	if len(args) == 0 {
		args = []string{"./..."}
	}
	// Many tests wait more than they compute, and others make much garbage of little
	// that lives.
	test := exec.Command("go", append([]string{"test", "-json", "-timeout=20m", "-parallel=4"}, args...)...)
	test.Env, test.Stderr = append(os.Environ(), "GOGC=400"), os.Stderr
	switch {
	case require:
		test.Env = append(test.Env, "GUESTFLOW_NODE=1", "GUESTFLOW_NO_BROWSER=")
	case !installed(browsers):
		test.Env = append(test.Env, "GUESTFLOW_NO_BROWSER=1")
	}
	output, err := test.StdoutPipe()
	if err == nil {
		err = test.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go test:", err)
		return 1
	}
	left, failed, err := report(output, os.Stdout)
	if ended := test.Wait(); err == nil {
		err = ended
	}
	tell(os.Stdout, left)
	for _, f := range failed {
		fmt.Fprintf(os.Stderr, "FAIL: %s\n%s", f.test, f.why)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	if require && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "FAIL: nothing may be left out here")
		return 1
	}
	return 0
}

func installed(names []string) bool {
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
	}
	return false
}

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
}

// verdict is on a test that was skipped or failed, with its own words why.
type verdict struct{ test, why string }

// report writes a line for each package, and what failed tests said, and returns
// what was left out and, in short, what failed.
func report(r io.Reader, w io.Writer) (left, failed []verdict, err error) {
	said := make(map[string]*strings.Builder)
	for lines := json.NewDecoder(r); ; {
		var e event
		if err := lines.Decode(&e); err == io.EOF {
			return left, failed, nil
		} else if err != nil {
			_, _ = io.Copy(io.Discard, r) // else go test waits
			return left, failed, fmt.Errorf("go test's output cannot be read: %w", err)
		}
		name := e.Package + "." + e.Test
		if said[name] == nil {
			said[name] = &strings.Builder{}
		}
		switch {
		case e.Action == "build-output":
			fmt.Fprint(w, e.Output)
		case e.Action == "output" && e.Test == "" && strings.Contains(e.Output, "\t"):
			fmt.Fprint(w, e.Output) // ok, FAIL or no test files
		case e.Action == "output":
			said[name].WriteString(e.Output)
		case e.Action == "fail":
			fmt.Fprint(w, said[name])
			if why := complaints(said[name].String()); why != "" {
				failed = append(failed, verdict{name, why})
			}
		case e.Action == "skip" && e.Test != "":
			left = append(left, verdict{name, reason(said[name].String())})
		}
	}
}

// complaints are the lines with which a test failed, without the log around them.
func complaints(output string) string {
	var found strings.Builder
	for line := range strings.Lines(output) {
		at, _, ok := strings.Cut(line, ": ")
		if strings.HasPrefix(line, "panic: ") || strings.Contains(line, "DATA RACE") || ok && strings.HasPrefix(at, " ") && strings.Contains(at, "_test.go:") {
			found.WriteString(line)
		}
	}
	return found.String()
}

// reason is what a test said when it was skipped, without file and line.
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if at, text, ok := strings.Cut(line, ": "); ok && strings.Contains(at, "_test.go:") {
			return text
		}
	}
	return "it did not say why"
}

func tell(w io.Writer, left []verdict) {
	if len(left) == 0 {
		fmt.Fprintln(w, "\nNothing was left out.")
		return
	}
	fmt.Fprintf(w, "\nLeft out, %d of all tests; how to have them:\n", len(left))
	for _, l := range left {
		fmt.Fprintf(w, "  %s\n      %s\n", l.test, l.why)
	}
	fmt.Fprintln(w, "\nAll of them, on Debian: apt-get install chromium nodejs npm default-jdk-headless libjackson2-databind-java mono-mcs libnewtonsoft-json5.0-cil python3-dateutil; go install github.com/nats-io/natscli/nats@v0.5.0; then, as root, go run ./internal/test -require")
}
