// Package figures writes what a benchmark measured into the file that tells of it.
package figures

import (
	"bytes"
	"fmt"
	"os"
)

// Marks are the lines between which the figures of a command, for instance "bench
// freshness", stand in a file.
func Marks(command string) (begin, end string) {
	return "<!-- figures, written by: guestflow " + command + " --into FILE -->\n", "<!-- end of the figures -->\n"
}

// Into replaces the figures that a file holds between the command's marks. A file
// without them is left as it is, with an error that shows them.
func Into(path, command string, figures []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the file for the figures: %w", err)
	}
	begin, end := Marks(command)
	head, rest, begins := bytes.Cut(text, []byte(begin))
	_, tail, ends := bytes.Cut(rest, []byte(end))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the figures: put the lines\n%s%sinto it", path, begin, end)
	}
	written := bytes.Join([][]byte{head, []byte(begin), figures, []byte(end), tail}, nil)
	if err := os.WriteFile(path, written, 0o600); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return nil
}
