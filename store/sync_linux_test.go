package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDirectoryThatCannotBeSynced: some network shares refuse it, as /proc does.
// Nothing depends on it but the name of a new file after a power loss.
func TestDirectoryThatCannotBeSynced(t *testing.T) {
	d, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("/proc is synced with %v, so nothing is tried here", err)
	}
	if err := syncDir("/proc"); err != nil {
		t.Errorf("syncing a directory that cannot be: %v", err)
	}
	// Another error says what to do.
	path := filepath.Join(t.TempDir(), "default.db")
	if err := synced(path, "/nowhere"); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "GUESTFLOW_DATA_DIR") {
		t.Errorf("a directory that cannot be opened: %v", err)
	}
}
