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

	"github.com/guestflow/guestflow/internal/natstest"
)

// nodeProject installs a project of testdata, with its packages, into a directory
// of the test. It takes npm and its registry, so it runs where GUESTFLOW_NODE says that
// both are there: in CI.
func nodeProject(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("GUESTFLOW_NODE") != "1" {
		t.Skip("needs Node.js and npm's registry; set GUESTFLOW_NODE=1 to run it")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	command(t, dir, "npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
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

// TestNodeClientValidatesEveryEvent: a program that knows nothing of this package
// reads the stream.
func TestNodeClientValidatesEveryEvent(t *testing.T) {
	dir := nodeProject(t, "node")
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
		if _, err := js.Publish(t.Context(), Subjects{}.Of(e), body); err != nil {
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
