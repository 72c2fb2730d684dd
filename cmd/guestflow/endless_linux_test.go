package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestEndlessFilesAreRefused: a device, a huge file or a pipe that nobody writes to is read
// neither for ever nor into all of the memory, whichever variable names it.
func TestEndlessFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	huge, pipe := filepath.Join(dir, "huge"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"API_TOKEN_FILE", "ACCOUNTS_FILE", "GROUPS_FILE", "ALERTS_FILE", "WEBHOOKS_FILE", "API_CA", "NATS_CA", "NATS_CREDS", "NATS_NKEY", "OCCUPANCY_TOKEN_FILE",
	} {
		for file, want := range map[string]string{huge: "it is larger than", "/dev/zero": "it is larger than", pipe: ""} {
			variables := []string{"GUESTFLOW_API_URL=http://127.0.0.1:1/v1", "GUESTFLOW_API_TOKEN=token", "GUESTFLOW_NATS_URL=nats://127.0.0.1:1", "GUESTFLOW_" + name + "=" + file}
			switch name {
			case "API_TOKEN_FILE":
				variables[1] = ""
			case "ACCOUNTS_FILE":
				variables = variables[2:]
			}
			environment(t, slices.DeleteFunc(variables, func(v string) bool { return v == "" })...)
			code, out, errs := invoke("check")
			// A pipe is as an empty file, which some may be.
			if told := out + errs; code == 0 || file != pipe && !strings.Contains(told, name) || !strings.Contains(told, want) {
				t.Errorf("%s=%s: exit code %d, %s", name, file, code, told)
			}
		}
	}
}
