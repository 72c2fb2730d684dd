package check

import (
	"debug/elf"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stages reads the Dockerfile as BuildKit does, with its linter.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open(deploy + "/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Error(w.Short)
	}
	lint := linter.New(&linter.Config{ExperimentalAll: true, Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("%s: %s (%v)", rule, message, at)
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// of returns the commands of one kind.
func of[T instructions.Command](s instructions.Stage) (found []T) {
	for _, c := range s.Commands {
		if c, ok := c.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

// TestImageIsMinimal: nothing but the program, a user who is not root, a data
// directory for group 0, and a health check that needs no shell.
func TestImageIsMinimal(t *testing.T) {
	all := stages(t)
	if len(all) != 2 || all[1].BaseName != "scratch" {
		t.Fatalf("%d stages, the last from %s", len(all), all[len(all)-1].BaseName)
	}
	final := all[1]
	if u := of[*instructions.UserCommand](final); len(u) != 1 || u[0].User != "65532:0" {
		t.Errorf("user %+v", u)
	}
	if h := of[*instructions.HealthCheckCommand](final); len(h) != 1 || !slices.Equal(h[0].Health.Test, []string{"CMD", "/guestflow", "health"}) {
		t.Errorf("health check %+v", h)
	}
	if e := of[*instructions.EntrypointCommand](final); len(e) != 1 || e[0].PrependShell || !slices.Equal(e[0].CmdLine, []string{"/guestflow"}) {
		t.Errorf("entry point %+v", e)
	}
	if v := of[*instructions.VolumeCommand](final); len(v) != 1 || !slices.Equal(v[0].Volumes, []string{"/data"}) {
		t.Errorf("volumes %+v", v)
	}
	known := variables(t)
	for _, e := range of[*instructions.EnvCommand](final) {
		for _, kv := range e.Env {
			if !known[kv.Key] {
				t.Errorf("%s is no variable", kv.Key)
			}
		}
	}
	if len(of[*instructions.RunCommand](final)) > 0 {
		t.Error("the last stage runs something, without a shell")
	}
	built := strings.Join(of[*instructions.RunCommand](all[0])[1].CmdLine, " ")
	for _, part := range []string{"CGO_ENABLED=0", "go build -trimpath", "-X main.stamped=$VERSION", "./cmd/guestflow"} {
		if !strings.Contains(built, part) {
			t.Errorf("%q lacks %q", built, part)
		}
	}
}

// TestProgramRunsInAnEmptyRoot: as any user of group 0, with nothing else in the file
// system, which it cannot write to but for /data, and health asks it.
func TestProgramRunsInAnEmptyRoot(t *testing.T) {
	f, err := elf.Open(guestflow)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Fatal("the program is not linked statically")
		}
	}
	if os.Getuid() != 0 {
		t.Skip("another root directory can be given by root alone: run it as root")
	}
	root := t.TempDir()
	for dir := root; dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(root+"/data", 0o770); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root+"/data", 0o770); err != nil { // whatever the umask
		t.Fatal(err)
	}
	if err := os.Chown(root+"/data", 65532, 0); err != nil {
		t.Fatal(err)
	}
	program := read(t, guestflow)
	if err := os.WriteFile(root+"/guestflow", []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	command := func(args ...string) *exec.Cmd {
		c := exec.Command("/guestflow", args...)
		c.Dir = "/"
		c.Env = []string{"GUESTFLOW_DATA_DIR=/data", "GUESTFLOW_HTTP_ADDR=" + addr, "GUESTFLOW_NATS_LISTEN=127.0.0.1:0",
			"GUESTFLOW_API_URL=http://127.0.0.1:1", "GUESTFLOW_API_TOKEN=none"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 123456, Gid: 0, NoSetGroups: true}}
		return c
	}
	if out, err := command("version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "guestflow v0.0.0-check,") {
		t.Fatalf("version: %v, %s", err, out)
	}
	if out, err := command("health").CombinedOutput(); err == nil {
		t.Errorf("health before it runs: %s", out)
	}
	run := command("run")
	said := t.Output()
	run.Stdout, run.Stderr = said, said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "http://"+addr+"/healthz")
	if out, err := command("health").CombinedOutput(); err != nil || string(out) != "ok\n" {
		t.Errorf("health: %v, %s", err, out)
	}
	if out, err := command("health", "--ready").CombinedOutput(); err == nil || !strings.Contains(string(out), "polling: ") {
		t.Errorf("health --ready without a platform: %v, %s", err, out)
	}
	_ = run.Process.Signal(syscall.SIGTERM)
	if err := run.Wait(); err != nil {
		t.Errorf("run: %v", err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until a URL answers with 200.
func await(t *testing.T, url string) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	said := "nothing"
	for {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: %s", url, said)
		}
		answer, err := http.Get(url)
		if err != nil {
			said = err.Error()
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
		said = fmt.Sprint(answer.Status)
	}
}
