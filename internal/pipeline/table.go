package pipeline

import (
	"fmt"
	"io"
	"strconv"
)

// Table writes rows as a Markdown table.
type Table struct {
	w   io.Writer
	err error
}

// NewTable writes the head.
func NewTable(w io.Writer) *Table {
	t := &Table{w: w}
	t.print("| figure | online | guestflow | naive | bare | ÷ naive | ÷ bare |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	return t
}

// Row writes one row.
func (t *Table) Row(r Row) {
	t.print("| %s | %d | %s | %s | %s | %s | %s |\n", r.Figure, r.Online, number(r.Guestflow), number(r.Naive), number(r.Bare), number(r.RatioNaive), number(r.RatioBare))
}

// Err is the first error of writing.
func (t *Table) Err() error { return t.err }

func (t *Table) print(format string, args ...any) {
	if _, err := fmt.Fprintf(t.w, format, args...); err != nil && t.err == nil {
		t.err = fmt.Errorf("writing: %w", err)
	}
}

// number has three digits that count.
func number(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v >= 100:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	case *v >= 10:
		return strconv.FormatFloat(*v, 'f', 1, 64)
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}
