package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/internal/long"
)

// lengthy are the packages whose tests have a long form: see internal/long.
var lengthy = []string{"./poller", "./internal/freshness", "./cmd/guestflow"}

// packages runs their tests in the long form, which the short form of this command
// leaves to CI's.
func packages(_ *testing.T, all *table) {
	if all.options.short {
		return
	}
	for _, name := range lengthy {
		test := exec.Command("go", "test", "-json", "-count=1", "-timeout=1h", name)
		test.Env = append(os.Environ(), long.Variable+"=1")
		out, err := test.Output() // What they say goes there, too.
		r := row{Guarantee: "what its tests hold, at length", Faults: "tests of " + strings.TrimPrefix(name, "./")}
		failed := r.count(bytes.NewReader(out))
		if err != nil && len(failed) == 0 {
			all.fail("tests of "+name, err)
			continue
		}
		if r.Violations = len(failed); len(failed) > 0 {
			all.tell("%s=1 go test -run '^(%s)$' %s", long.Variable, strings.Join(failed, "|"), name)
		}
		all.add(r)
	}
}

// count adds the tests that ran, and returns those that failed.
func (r *row) count(output io.Reader) (failed []string) {
	for lines := json.NewDecoder(output); ; {
		var e struct{ Action, Test string }
		if err := lines.Decode(&e); err != nil {
			if err != io.EOF {
				failed = append(failed, fmt.Sprintf("output that cannot be read: %v", err))
			}
			return failed
		}
		if e.Test == "" || strings.Contains(e.Test, "/") || e.Action != "pass" && e.Action != "fail" {
			continue
		}
		if r.Trials++; e.Action == "fail" {
			failed = append(failed, e.Test)
		}
	}
}
