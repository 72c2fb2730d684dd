package events

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/guestflow/guestflow/internal/natstest"
)

// TestTypeScriptClient runs the client's own tests on a real server, and then its
// README's program with the package as npm would publish it, over a restart of the
// server.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	dir := nodeProject(t, "clients/typescript")
	b := natstest.New(t)
	b.CreateStream(DefaultStream, Subjects{}.All())
	c := exec.CommandContext(t.Context(), "npm", "test")
	c.Dir = dir
	c.Env = append(os.Environ(), "NATS_URL="+b.URL(), "GUESTFLOW_EVENTS="+absolute(t, "testdata"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("npm test: %v\n%s", err, out)
	}

	user := t.TempDir() // npm test has built what is packed
	command(t, dir, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", user)
	packed, err := filepath.Glob(filepath.Join(user, "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("packed %q, error %v", packed, err)
	}
	command(t, user, "npm", append(installing, packed[0], "@nats-io/transport-node@3.4.0")...)
	program := example(t, b, "clients/typescript/README.md", "js", filepath.Join(user, "greeter.mjs"))
	lines := greets(t, b, exec.CommandContext(t.Context(), "node", program), "greeter-client")
	b.Stop()
	b.Start()
	e := examples()[Resumed]
	e.Data.Revision, e.Data.Session.ID, e.Data.Session.GuestID, e.Data.Session.LocationName = 3, "greeter-client/bob", "bob", "the pool bar"
	store(t, b.JetStream(), e.Sealed())
	if got, want := next(t, lines), "bob came to the pool bar"; got != want {
		t.Errorf("after a restart of the server the program said %q, want %q", got, want)
	}
}
