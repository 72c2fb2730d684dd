package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTreeHoldsNoBuild: what `go build` leaves in a package's folder is not committed with it.
func TestTreeHoldsNoBuild(t *testing.T) {
	const largest = 1 << 20
	root := filepath.Join("..", "..")
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Skip("not a checkout: ", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		// What is deleted and not committed yet is not there.
		if at, err := os.Stat(filepath.Join(root, name)); err == nil && at.Size() > largest {
			t.Errorf("%s has %d bytes, more than any source", name, at.Size())
		}
	}
}
