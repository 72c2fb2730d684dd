package freshness

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
	write("# Figures\n" + figuresBegin + "old\nfigures\n" + figuresEnd + "the end\n")
	for _, figures := range []string{"| new |\n", "| newer |\n| still |\n"} {
		if err := Into(path, []byte(figures)); err != nil {
			t.Fatal(err)
		}
		if got, want := read(), "# Figures\n"+figuresBegin+figures+figuresEnd+"the end\n"; got != want {
			t.Errorf("the file holds\n%s\nwant\n%s", got, want)
		}
	}
	write("# Figures\n")
	if err := Into(path, []byte("x")); err == nil || !strings.Contains(err.Error(), figuresBegin) || read() != "# Figures\n" {
		t.Errorf("without marks: %v, and the file holds %q", err, read())
	}
}

// TestTheFiguresOfThisFolder can be written again.
func TestTheFiguresOfThisFolder(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := strings.Index(string(text), figuresBegin), strings.Index(string(text), figuresEnd)
	if begin < 0 || end < begin {
		t.Fatal("README.md lacks the marks between which the figures stand")
	}
	var b strings.Builder
	NewTable(&b)
	if !strings.HasPrefix(string(text)[begin+len(figuresBegin):], b.String()) {
		t.Errorf("the table of README.md does not begin as the command's does:\n%s", b.String())
	}
}
