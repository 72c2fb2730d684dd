package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/simulator"
)

// await waits for the end of a child, and returns its exit code.
func (p *child) await(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(2 * time.Minute):
		p.kill()
		t.Fatalf("it does not end:\n%s", p.output)
		return -1
	}
}

// TestHangupEndsNoService: a supervisor's SIGHUP leaves run at work; what a person
// looks at ends in good order when the terminal is closed. SIGHUP has files read again.
func TestHangupEndsNoService(t *testing.T) {
	// A signal that is handled here is not ignored in children, as it would be if
	// these tests were started to outlive a hang-up.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	p := simulate(t, simulator.Config{Token: "right"})
	addr, temporary := free(t), t.TempDir()
	environ := []string{actAs + "=guestflow", "TMPDIR=" + temporary, "GUESTFLOW_HTTP_ADDR=" + addr, "GUESTFLOW_NATS_LISTEN=127.0.0.1:0"}
	log := filepath.Join(t.TempDir(), "log")
	level := filepath.Join(t.TempDir(), "level")
	if err := os.WriteFile(level, []byte("info\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(groups, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("groups: [{id: north, locations: [oslo]}]\n")
	run := startLogged(t, log, append(environ, "GUESTFLOW_GROUPS_FILE="+groups, "GUESTFLOW_LOG_LEVEL_FILE="+level, "GUESTFLOW_API_URL="+p.url, "GUESTFLOW_API_TOKEN=right", "GUESTFLOW_DATA_DIR="+t.TempDir()), "run")
	logged := func(part string) {
		t.Helper()
		eventually(t, func() string {
			if b, _ := os.ReadFile(log); !strings.Contains(string(b), part) {
				return "no " + part + " in " + string(b)
			}
			return ""
		})
	}
	logged("guestflow runs")
	run.cmd.Process.Signal(syscall.SIGHUP)
	logged("hung up: log level read again")
	logged("groups file read again")
	shown := func(id string) {
		t.Helper()
		eventually(t, func() string {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v1/groups", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err.Error()
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), `"id":"`+id+`"`) {
				return fmt.Sprintf("no group %s: %v in %s", id, err, body)
			}
			return ""
		})
	}
	shown("north")
	write("groups: [{id: south, locations: [oslo]}]\n")
	shown("south") // it is looked at now and then, too
	write("groups: [{id: west, locations: [oslo]}]\n")
	run.cmd.Process.Signal(syscall.SIGHUP)
	shown("west")
	write("groups: [{id: east, locations: [oslo]}, {id: east}]\n")
	run.cmd.Process.Signal(syscall.SIGHUP)
	logged("the changed groups file is not usable")
	shown("west")
	for _, step := range []struct{ text, said string }{
		{"debug\n", "from=info to=debug by=SIGHUP"},
		{"loud\n", "use debug, info, warn, error"},
	} {
		if err := os.WriteFile(level, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		run.cmd.Process.Signal(syscall.SIGHUP)
		logged(step.said)
	}
	environment(t, "GUESTFLOW_HTTP_ADDR="+addr)
	for _, step := range []struct{ args, said string }{
		{"log-level", "debug"}, {"log-level error", "error"}, {"log-level", "error"}, {"log-level info", "info"}, {"health", "ok"},
	} {
		if code, out, errs := invoke(strings.Fields(step.args)...); code != 0 || out != step.said+"\n" {
			t.Errorf("%s: exit code %d, %q, %q", step.args, code, out, errs)
		}
	}
	logged("from=debug to=error by=HTTP")
	run.cmd.Process.Signal(syscall.SIGHUP)
	run.cmd.Process.Signal(syscall.SIGTERM)
	logged("guestflow ended")
	if code := run.await(t); code != 0 {
		t.Errorf("run: exit code %d", code)
	}

	log = filepath.Join(t.TempDir(), "log")
	demo := startLogged(t, log, environ, "demo")
	logged("simulated platform")
	demo.cmd.Process.Signal(syscall.SIGHUP)
	if code := demo.await(t); code != 0 {
		t.Errorf("demo: exit code %d", code)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("demo left %v, %v", left, err)
	}
}

// startLogged starts a child whose output goes to a file, to be read while it runs.
func startLogged(t *testing.T, log string, environ []string, args ...string) *child {
	t.Helper()
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return startWith(t, f, environ, args...)
}
