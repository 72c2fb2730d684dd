package pipeline

import (
	"bytes"
	"fmt"
	"os"
)

// The figures of a file that Into writes stand between these lines.
const (
	figuresBegin = "<!-- figures, written by: guestflow bench pipeline --into FILE -->\n"
	figuresEnd   = "<!-- end of the figures -->\n"
)

// Into replaces the figures that a file holds between its two marks.
func Into(path string, figures []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the file for the figures: %w", err)
	}
	head, rest, begins := bytes.Cut(text, []byte(figuresBegin))
	_, tail, ends := bytes.Cut(rest, []byte(figuresEnd))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the figures: put the lines\n%s%sinto it", path, figuresBegin, figuresEnd)
	}
	written := bytes.Join([][]byte{head, []byte(figuresBegin), figures, []byte(figuresEnd), tail}, nil)
	if err := os.WriteFile(path, written, 0o600); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return nil
}
