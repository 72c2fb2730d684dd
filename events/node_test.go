package events

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/guestflow/guestflow/internal/natstest"
)

// installing are npm's arguments for packages that are only tried.
var installing = []string{"install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"}

// nodeProject installs a project of a folder, with its packages, into a directory
// of the test. It takes npm and its registry, so it runs where GUESTFLOW_NODE says that
// both are there: in CI.
func nodeProject(t *testing.T, folder string) string {
	t.Helper()
	if os.Getenv("GUESTFLOW_NODE") != "1" {
		t.Skip("needs Node.js and npm's registry; set GUESTFLOW_NODE=1 to run it")
	}
	dir := t.TempDir()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		from, to := filepath.Join(folder, entry.Name()), filepath.Join(dir, entry.Name())
		switch {
		case entry.Name() == "node_modules" || entry.Name() == "dist": // a developer's
		case entry.IsDir():
			err = os.CopyFS(to, os.DirFS(from))
		default:
			var text []byte
			if text, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, text, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	command(t, dir, "npm", installing...)
	return dir
}

func command(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	var out, fault bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &fault
	if err := c.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out.Bytes(), fault.Bytes())
	}
	return out.Bytes()
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNodePrograms: with npm's own NATS packages, programs that know nothing of this
// package read the stream, one of them the README's.
func TestNodePrograms(t *testing.T) {
	t.Parallel()
	dir := nodeProject(t, "testdata/node")
	t.Run("every event is valid", func(t *testing.T) { nodeValidatesEveryEvent(t, dir) })
	t.Run("README", func(t *testing.T) {
		b := natstest.New(t)
		b.CreateStream(DefaultStream, Subjects{}.All())
		c := exec.CommandContext(t.Context(), "node", example(t, b, "README.md", "js", filepath.Join(dir, "greeter.mjs")))
		greets(t, b, c, "greeter-node")
	})
}

func nodeValidatesEveryEvent(t *testing.T, dir string) {
	t.Helper()
	b := natstest.New(t)
	b.CreateStream(DefaultStream, Subjects{}.All())
	js := b.JetStream()
	want := map[string]int{}
	total := 0
	tell := func(e Event) {
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), Subjects{}.Of(e), body, jetstream.WithMsgID(e.ID)); err != nil {
			t.Fatal(err)
		}
		want[string(e.Kind)]++
		total++
	}
	for _, location := range []string{"oWNe6XWDPLM", "a.b *>", "Café"} {
		e := found()
		e.Data.Session.ID, e.Data.Session.LocationID = location+"/found", location
		tell(e.Sealed())
		for _, e := range samples() {
			e.Data.Session.ID, e.Data.Session.LocationID = location+"/0", location
			tell(e.Sealed())
		}
	}
	out := command(t, dir, "node", "consume.mjs", b.URL(), absolute(t, "schemas"), strconv.Itoa(total))
	var got struct {
		Read, Sessions int
		Kinds          map[string]int
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.Read != total || got.Sessions != 6 || !reflect.DeepEqual(got.Kinds, want) {
		t.Errorf("the client read %s, want %d events: %v", out, total, want)
	}
}
