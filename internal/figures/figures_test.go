package figures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFiguresGoBetweenTheirMarks, and nothing else of the file changes.
func TestFiguresGoBetweenTheirMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	begin, end := Marks("bench freshness")
	write("# Figures\n" + begin + "old\nfigures\n" + end + "the end\n")
	for _, written := range []string{"| new |\n", "| newer |\n| still |\n"} {
		if err := Into(path, "bench freshness", []byte(written)); err != nil {
			t.Fatal(err)
		}
		if got, want := read(), "# Figures\n"+begin+written+end+"the end\n"; got != want {
			t.Errorf("the file holds\n%s\nwant\n%s", got, want)
		}
	}
	write("# Figures\n")
	if err := Into(path, "bench freshness", []byte("x")); err == nil || !strings.Contains(err.Error(), begin) || read() != "# Figures\n" {
		t.Errorf("without marks: %v, and the file holds %q", err, read())
	}
}
