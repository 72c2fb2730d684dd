package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// terminal is a pseudo-terminal with a demo in it.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	read sync.WaitGroup

	mu     sync.Mutex
	output bytes.Buffer
}

func openTerminal(t *testing.T, columns uint16, variables []string, args ...string) *terminal {
	t.Helper()
	s := &terminal{t: t, cmd: exec.Command(os.Args[0], args...)}
	s.cmd.Env = append(append(os.Environ(), actAs+"=guestflow", "TERM=xterm", "TMPDIR="+t.TempDir(), "GUESTFLOW_HTTP_ADDR=127.0.0.1:0", "GUESTFLOW_NATS_LISTEN=127.0.0.1:0"), variables...)
	var err error
	if s.file, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	s.read.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := s.file.Read(b) // fails when the process has ended
			s.mu.Lock()
			s.output.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { s.cmd.Process.Kill(); s.read.Wait(); s.file.Close() })
	return s
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

// end types Ctrl-C, and waits.
func (s *terminal) end() {
	s.t.Helper()
	if _, err := s.file.Write([]byte{3}); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("it ended with %v\n%s", err, s.text())
	}
	s.read.Wait()
}

var (
	colours  = regexp.MustCompile("\x1b\\[[0-9;]*m")
	controls = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
)

// written are the pieces that were written into a row each, without what is told
// before the first event: addresses are not cut.
func written(output string) []string {
	if _, after, ok := strings.Cut(output, "were online already"); ok {
		output = after
	}
	return strings.FieldsFunc(controls.ReplaceAllString(output, ""), func(r rune) bool { return r == '\r' || r == '\n' })
}

// seen is what a terminal shows in the end, row by row, of output that fits it.
func seen(output string) []string {
	rows, row := []string{""}, 0
	for text := colours.ReplaceAllString(output, ""); text != ""; {
		switch {
		case strings.HasPrefix(text, "\r\n"):
			if row++; row == len(rows) {
				rows = append(rows, "")
			}
			text = text[2:]
		case strings.HasPrefix(text, "\r\x1b[J"):
			rows[row], rows = "", rows[:row+1]
			text = text[4:]
		default:
			r := []rune(text)[0]
			rows[row] += string(r)
			text = text[len(string(r)):]
		}
	}
	return rows
}

// TestDemoFitsTheTerminal: at any width no row is longer than that, one status is
// shown, below the events, and none is left after Ctrl-C.
func TestDemoFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{80, 120, 40} {
		s := openTerminal(t, uint16(columns), nil, "demo", "--speed", "60")
		eventually(t, func() string {
			if text := s.text(); strings.Count(text, "started") < 5 || strings.Count(text, "ended") < 2 || strings.Count(text, statusMark) < 4 {
				return "too little happens:\n" + text
			}
			return ""
		})
		s.end()
		output := s.text()
		longest := 0
		for _, piece := range written(output) {
			longest = max(longest, cells(piece))
			if cells(piece) > columns || strings.Contains(piece, statusMark) && cells(piece) == columns {
				t.Errorf("at %d columns a row has %d: %q", columns, cells(piece), piece)
			}
			if strings.Contains(piece, " traffic  ") {
				t.Errorf("traffic was not asked for: %q", piece)
			}
		}
		if longest < columns*2/3 {
			t.Errorf("at %d columns the longest row has %d", columns, longest)
		}
		rows := seen(output)
		for _, row := range rows {
			if strings.Contains(row, statusMark) {
				t.Errorf("at %d columns a status is left: %q", columns, row)
			}
		}
		if tail := strings.Join(rows[max(0, len(rows)-8):], " "); !strings.Contains(tail, "events in") || !strings.Contains(tail, "traffic") {
			t.Errorf("at %d columns the end is not the summary: %q", columns, tail)
		}
		if !colours.MatchString(output) {
			t.Error("there is no colour")
		}
	}
}

// TestDemoFollowsTheTerminal: in a window that was made narrower too.
func TestDemoFollowsTheTerminal(t *testing.T) {
	t.Parallel()
	s := openTerminal(t, 120, []string{"NO_COLOR=1"}, "demo", "--speed", "60", "--traffic")
	fits := func(columns int) func() string {
		return func() string {
			pieces := written(s.text())
			if len(pieces) < 20 {
				return "too little is written"
			}
			longest := 0
			for _, piece := range pieces[len(pieces)-10:] {
				longest = max(longest, cells(piece))
			}
			if longest > columns || longest <= columns/2 {
				return s.text()
			}
			return ""
		}
	}
	eventually(t, fits(120))
	if err := pty.Setsize(s.file, &pty.Winsize{Rows: 24, Cols: 50}); err != nil {
		t.Fatal(err)
	}
	eventually(t, fits(50))
	eventually(t, func() string {
		if !strings.Contains(s.text(), " traffic ") {
			return "no traffic is shown"
		}
		return ""
	})
	s.end()
	if colours.MatchString(s.text()) {
		t.Error("there is colour in spite of NO_COLOR")
	}
}

// TestVersionIsAFlagToo: and names the checkout.
func TestVersionIsAFlagToo(t *testing.T) {
	code, flag, errs := invoke("--version")
	_, command, _ := invoke("version")
	if code != 0 || flag != command || !strings.HasPrefix(flag, "guestflow ") {
		t.Errorf("--version: exit code %d, %q %s; version: %q", code, flag, errs, command)
	}
	program := t.TempDir() + "/guestflow"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil || !regexp.MustCompile(`^guestflow devel, built 20\d\d-.* UTC, go1\.[0-9.]+ `).Match(out) {
		t.Errorf("without a checkout's name: %q, %v", out, err)
	}
}
