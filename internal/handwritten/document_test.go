package handwritten

import (
	"strings"
	"testing"
)

// TestDeepDocumentsAreRefused before the parser follows them down: it needs a stack for each
// level, and its end is the end of the process.
func TestDeepDocumentsAreRefused(t *testing.T) {
	deep := "# a comment\nendpoints: " + strings.Repeat("[", deepest+1)
	for _, text := range []string{deep, deep + strings.Repeat("]", deepest+1), strings.ReplaceAll(deep, "[", "{a: ")} {
		if _, err := ReadDocument([]byte(text), "endpoints"); err == nil || !strings.Contains(err.Error(), "line 2: brackets are nested") {
			t.Errorf("%.40s…: %v", text, err)
		}
	}
	flat := "endpoints: [" + strings.Repeat("[a, {b: c}], ", deepest) + "]"
	if _, err := ReadDocument([]byte(flat), "endpoints"); err != nil {
		t.Errorf("%.40s…: %v", flat, err)
	}
}
