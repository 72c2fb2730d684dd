package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const getSystemd = "apt-get install systemd"

// TestUnitIsSoundAndHardened: systemd finds nothing wrong, and an exposure of 2.0 at
// most.
func TestUnitIsSoundAndHardened(t *testing.T) {
	unit := read(t, deploy+"/systemd/guestflow.service")
	if !strings.Contains(unit, "ExecStart=/usr/bin/guestflow run\n") {
		t.Fatal("the unit starts something else")
	}
	// verify wants the program to be there.
	path := filepath.Join(t.TempDir(), "guestflow.service")
	if err := os.WriteFile(path, []byte(strings.Replace(unit, "/usr/bin/guestflow", guestflow, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := tool(t, getSystemd, "systemd-analyze", "verify", path); out != "" {
		t.Errorf("verify: %s", out)
	}
	tool(t, getSystemd, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path)

	known := variables(t)
	for _, file := range []string{"guestflow.service", "guestflow.env"} {
		for word := range strings.FieldsSeq(read(t, deploy+"/systemd/"+file)) {
			word = strings.TrimPrefix(strings.TrimPrefix(word, "#"), "Environment=")
			if name, _, ok := strings.Cut(word, "="); ok && strings.HasPrefix(name, "GUESTFLOW_") && !known[name] {
				t.Errorf("%s: %s is no variable", file, name)
			}
		}
	}
}

// TestUserAndDirectoriesAreMade in a root of their own.
func TestUserAndDirectoriesAreMade(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("users and owners are made by root alone: run it as root")
	}
	root := t.TempDir()
	for _, dir := range []string{"etc/guestflow", "var/lib", "usr/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	token := filepath.Join(root, "etc/guestflow/api-token")
	if err := os.WriteFile(token, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	conf := func(name string) string {
		path, err := filepath.Abs(deploy + "/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	tool(t, getSystemd, "systemd-sysusers", "--root="+root, conf("guestflow.sysusers.conf"))
	if users := read(t, filepath.Join(root, "etc/passwd")); !strings.Contains(users, ":/var/lib/guestflow:/usr/sbin/nologin") {
		t.Errorf("users: %s", users)
	}
	tool(t, getSystemd, "systemd-tmpfiles", "--root="+root, "--create", conf("guestflow.tmpfiles.conf"))
	out, err := exec.Command("stat", "-c", "%a %n", filepath.Join(root, "etc/guestflow"), filepath.Join(root, "var/lib/guestflow"), token).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "750 etc/guestflow\n700 var/lib/guestflow\n600 etc/guestflow/api-token\n"
	if got := strings.ReplaceAll(string(out), root+"/", ""); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
