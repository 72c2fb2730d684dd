package events

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

// patience is far beyond what any step of a program takes.
const patience = time.Minute

// TestReadmeExamples runs the programs of the README as they stand there, but for
// the server's port. All of them share a stream, so each needs a durable of its own.
// Python's client comes from a registry that CI does not reach, so that program is
// only compiled; that for Node.js is run by TestNodePrograms.
func TestReadmeExamples(t *testing.T) {
	b := natstest.New(t)
	b.CreateStream(DefaultStream, Subjects{}.All())
	t.Run("Go", func(t *testing.T) {
		dir := t.TempDir()
		program := filepath.Join(dir, "greeter")
		command(t, ".", "go", "build", "-o", program, example(t, b, "README.md", "go", filepath.Join(dir, "main.go")))
		greets(t, b, exec.CommandContext(t.Context(), program), "greeter-go")
	})
	t.Run("Python", func(t *testing.T) {
		need(t, "python3", "python3")
		command(t, ".", "python3", "-m", "py_compile", example(t, b, "README.md", "python", filepath.Join(t.TempDir(), "greeter.py")))
	})
}

// example writes the one block of the language in a README into a file, for a server
// at another port, and returns the file's name.
func example(t *testing.T, b *natstest.Server, readme, language, file string) string {
	t.Helper()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(text, -1)
	const standard = "127.0.0.1:4222"
	if len(blocks) != 1 || bytes.Count(blocks[0][1], []byte(standard)) != 1 {
		t.Fatalf("%s has %d blocks of %s, want one that connects to %s", readme, len(blocks), language, standard)
	}
	write(t, file, bytes.ReplaceAll(blocks[0][1], []byte(standard), []byte(strings.TrimPrefix(b.URL(), "nats://"))))
	return file
}

// greets runs a program that greets whoever comes or comes back, and holds it to
// greeting each once, though events come again. It returns what the program says
// from then on.
func greets(t *testing.T, b *natstest.Server, c *exec.Cmd, durable string) <-chan string {
	t.Helper()
	js := b.JetStream()
	created, err := js.Conn().SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.CREATED." + DefaultStream + "." + durable)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	lines := start(t, c)
	if _, err := created.NextMsg(patience); err != nil {
		t.Fatalf("the program makes no durable %s: %v", durable, err)
	}
	visit := func(kind Kind, revision int64, guest string) Event {
		e := examples()[kind]
		e.Data.Revision, e.Data.Session.ID, e.Data.Session.GuestID = revision, durable+"/"+guest, guest
		e.Data.Session.LocationID, e.Data.Session.LocationName = "pool.bar", "the pool bar"
		return e.Sealed()
	}
	for _, e := range []Event{
		visit(Started, 1, "ann"), visit(Started, 1, "bob"), visit(Started, 1, "ann"), // again
		visit(Ended, 2, "ann"), visit(Resumed, 3, "ann"), visit(Started, 1, "eve"),
	} {
		store(t, js, e)
	}
	for _, guest := range []string{"ann", "bob", "ann", "eve"} {
		if got, want := next(t, lines), guest+" came to the pool bar"; got != want {
			t.Fatalf("the program said %q, want %q", got, want)
		}
	}
	return lines
}

func store(t *testing.T, js jetstream.JetStream, e Event) {
	t.Helper()
	body, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), Subjects{}.Of(e), body); err != nil {
		t.Fatal(err)
	}
}

// start starts a program that ends with the test, and returns what it writes, line
// by line.
func start(t *testing.T, c *exec.Cmd) <-chan string {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return said(t, c, out)
}

// startOnTerminal is start for a program that wants one.
func startOnTerminal(t *testing.T, c *exec.Cmd) <-chan string {
	t.Helper()
	terminal, err := pty.StartWithSize(c, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	return said(t, c, terminal)
}

func said(t *testing.T, c *exec.Cmd, out io.ReadCloser) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-t.Context().Done():
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		for range lines { // until it is closed, for Wait closes what the scanner reads
		}
		_ = c.Wait()
		_ = out.Close()
	})
	return lines
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line, ok := <-lines:
		if !ok {
			t.Fatal("the program has ended")
		}
		return line
	case <-time.After(patience):
		t.Fatal("the program says nothing")
	}
	panic("unreachable")
}

// TestReadmeCommands runs every nats command of both READMEs on a terminal, until it
// shows an event that is stored again and again.
func TestReadmeCommands(t *testing.T) {
	var commands []string
	for _, file := range []string{"README.md", "../README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^    (nats .*)$`).FindAllStringSubmatch(string(text), -1) {
			commands = append(commands, match[1])
		}
	}
	if len(commands) < 5 {
		t.Fatalf("only %d nats commands in the READMEs: %q", len(commands), commands)
	}
	if _, err := exec.LookPath("nats"); err != nil {
		t.Skip("needs the nats command: go install github.com/nats-io/natscli/nats@v0.5.0")
	}
	b := natstest.New(t)
	b.CreateStream(DefaultStream, Subjects{}.All())
	js := b.JetStream()
	e := examples()[Ended]
	for _, line := range commands {
		t.Run(line, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			store(t, js, e)
			c := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
			c.Env = append(os.Environ(), "NATS_URL="+b.URL(), "HOME="+t.TempDir())
			lines := startOnTerminal(t, c)
			for tick := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case line, ok := <-lines:
					if !ok {
						t.Fatal("it ended without the event")
					}
					if strings.Contains(line, fmt.Sprintf("%q", e.ID)) {
						return
					}
					t.Log(line)
				case <-tick.C:
					store(t, js, e)
				case <-ctx.Done():
					t.Fatal("it does not show the event")
				}
			}
		})
	}
}
