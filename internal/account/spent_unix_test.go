//go:build unix

package account

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/guestflow/guestflow/poller/budget"
	"github.com/guestflow/guestflow/poller/platform"
	"github.com/guestflow/guestflow/store"
)

// TestRootLeavesNothingThatOthersCannotUse: guestflow may run as another user than the
// command that asked the platform.
func TestRootLeavesNothingThatOthersCannotUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act for another user")
	}
	const nobody = 65534
	sent := budget.Exchange{Sent: time.Now(), Answered: time.Now()}
	theirs := t.TempDir()
	if err := os.Chown(theirs, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(theirs, "new", "data")
	if err := errors.Join(MakeDir(dir), Spent(dir, "a", platform.Sessions, 60, false, sent)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Dir(dir), dir, requestsPath(dir, "a", "sessions")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if of := info.Sys().(*syscall.Stat_t); of.Uid != nobody || of.Gid != nobody {
			t.Errorf("%s belongs to %d:%d", path, of.Uid, of.Gid)
		}
	}
	everybodys := filepath.Join(theirs, "tmp")
	if err := errors.Join(os.Mkdir(everybodys, 0o700), os.Chmod(everybodys, 0o777|fs.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir(filepath.Join(everybodys, "data")); err == nil {
		t.Error("a directory of root's is left for whoever comes")
	}
	if left, err := os.ReadDir(everybodys); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestLogInUseIsLeftAlone: two that write it would take each other's requests away.
func TestLogInUseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(StatePath(dir, "a"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	note := func() error {
		return Spent(dir, "a", platform.Sessions, 60, false, budget.Exchange{Sent: time.Now(), Answered: time.Now()})
	}
	if err := note(); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a state file in use: %v", err)
	}
	if Requests(dir, "a") != nil {
		t.Error("requests are written into the log of a process that runs")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := note(); err != nil || Requests(dir, "a") == nil {
		t.Errorf("a state file that nobody has open: %v, %s", err, Requests(dir, "a"))
	}
}
