package freshness

import (
	"os"
	"strings"
	"testing"

	"github.com/guestflow/guestflow/internal/figures"
)

// TestTheFiguresOfThisFolder can be written again.
func TestTheFiguresOfThisFolder(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	first, last := figures.Marks("bench freshness")
	begin, end := strings.Index(string(text), first), strings.Index(string(text), last)
	if begin < 0 || end < begin {
		t.Fatal("README.md lacks the marks between which the figures stand")
	}
	var b strings.Builder
	NewTable(&b)
	if !strings.HasPrefix(string(text)[begin+len(first):], b.String()) {
		t.Errorf("the table of README.md does not begin as the command's does:\n%s", b.String())
	}
}
