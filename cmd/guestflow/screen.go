package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/term"
	"golang.org/x/text/width"

	"github.com/guestflow/guestflow/events"
)

// screen shows events, one a row, and below them a status where it is a terminal.
// Rows fit the terminal's width as it is at the time; elsewhere nothing is cut.
type screen struct {
	columns func() int // 0 where it is no terminal
	colour  bool

	mu    sync.Mutex
	w     io.Writer
	below string
}

// Control sequences of a terminal.
const (
	up         = "\x1b[%dA"
	eraseBelow = "\r\x1b[J"
	dim        = "\x1b[2m"
	plain      = "\x1b[0m"
)

// statusMark begins the status.
const statusMark = "──"

var kindColours = map[events.Kind]string{
	events.Discovered: "\x1b[34m", events.Started: "\x1b[32m", events.Resumed: "\x1b[36m",
	events.Updated: "\x1b[33m", events.Ended: "\x1b[31m", events.Traffic: dim,
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, columns: func() int { return 0 }}
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.colour = os.Getenv("NO_COLOR") == ""
	s.columns = func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// live reports whether it is a terminal.
func (s *screen) live() bool { return s.columns() > 0 }

// event shows one.
func (s *screen) event(e events.Event) error {
	return s.write(func(columns int) string { return s.row(e, columns) })
}

// line shows text as it is, below what was shown.
func (s *screen) line(text string) { _ = s.write(func(int) string { return text }) }

// margin are the columns behind a status that stay free, for the ^C that terminals
// show and the cursor: behind the last column it would be in the next row already.
const margin = 3

// status shows the parts that fit, the most important ones first: in place of the
// last status, or as a line where it is no terminal.
func (s *screen) status(parts ...string) {
	columns := s.columns()
	if columns == 0 {
		s.line(statusMark + " " + strings.Join(parts, " · "))
		return
	}
	text := statusMark + " " + parts[0]
	for _, p := range parts[1:] {
		if longer := text + " · " + p; cells(longer) <= columns-margin {
			text = longer
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.w, s.erased(columns), s.dimmed(fit(text, columns-margin)))
	s.below = text
}

// noStatus takes the status away.
func (s *screen) noStatus() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.w, s.erased(s.columns()))
	s.below = ""
}

// write writes whole lines above the status.
func (s *screen) write(text func(columns int) string) error {
	columns := s.columns()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.erased(columns) + text(columns) + "\n"
	if s.below != "" {
		out += s.dimmed(fit(s.below, columns-margin))
	}
	_, err := io.WriteString(s.w, out)
	return err
}

// erased takes away the status, also where a terminal that was made narrower has
// wrapped it.
func (s *screen) erased(columns int) string {
	if s.below == "" {
		return ""
	}
	if rows := (cells(s.below) - 1) / max(1, columns); rows > 0 {
		s.below = fit(s.below, columns-margin)
		return fmt.Sprintf(up, rows) + eraseBelow
	}
	return eraseBelow
}

func (s *screen) dimmed(text string) string {
	if !s.colour {
		return text
	}
	return dim + text + plain
}

// row is an event for a person. In a narrow terminal the device is left out, in a
// very narrow one what changed too.
func (s *screen) row(e events.Event, columns int) string {
	session := &e.Data.Session
	place, device := session.LocationName, session.DeviceMAC
	if place == "" {
		place = session.LocationID
	}
	if device == "" {
		device = session.ID
	}
	at, kind := e.Data.Observed.At.Local().Format("15:04:05"), padded(string(e.Kind), 10)
	rest := padded(place, 22) + "  " + padded(device, 17) + "  " + describe(e)
	switch {
	case columns > 0 && columns < 60:
		rest = place
	case columns > 0 && columns < 100:
		rest = padded(place, 20) + "  " + describe(e)
	}
	if rest = printable(rest); columns > 0 {
		rest = fit(rest, columns-22)
	}
	if s.colour {
		kind = kindColours[e.Kind] + kind + plain
	}
	return strings.TrimRight(at+"  "+kind+"  "+rest, " ")
}

// printable keeps text from outside to its line: guests choose their names, and
// devices theirs, and a terminal obeys control sequences.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, line)
}

// cells are the columns that a text takes in a terminal.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += cellsOf(r)
	}
	return n
}

func cellsOf(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// fit cuts a text to so many columns.
func fit(text string, columns int) string {
	if cells(text) <= columns {
		return text
	}
	n := 0
	for i, r := range text {
		if n += cellsOf(r); n > columns-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// padded cuts or fills a text to so many columns.
func padded(text string, columns int) string {
	text = fit(text, columns)
	return text + strings.Repeat(" ", max(0, columns-cells(text)))
}

// wrapped breaks words into lines of so many columns, or one where that is 0.
func wrapped(words []string, columns int) string {
	var text strings.Builder
	at := 0
	for i, w := range words {
		switch {
		case i == 0:
		case columns > 0 && at+2+cells(w) > columns:
			text.WriteByte('\n')
			at = 0
		default:
			text.WriteString("  ")
			at += 2
		}
		text.WriteString(w)
		at += cells(w)
	}
	return text.String()
}
