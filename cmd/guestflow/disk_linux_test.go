package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/guestflow/guestflow/internal/long"
	"github.com/guestflow/guestflow/internal/natstest"
	"github.com/guestflow/guestflow/internal/simulator"
)

// smallDisk is a file system of its own with so much room.
func smallDisk(t *testing.T, room string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+room); err != nil {
		t.Skipf("left out: a small file system cannot be mounted (%v); run the tests as root, or in `unshare --map-root-user --mount`", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the room that is left, until the returned function gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := bytes.Repeat([]byte{1}, 64<<10); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk took everything: %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDiskPausesPolling: whatever is written first, the process lives, says
// what is wrong, and goes on by itself once there is room, with nothing lost. NATS
// runs on another disk, or inside of the process on the same one.
func TestFullDiskPausesPolling(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"NATS elsewhere": false, "NATS embedded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, b := simulate(t, simulator.Config{Token: "right", Speed: 20, RateLimit: 1200}), newBroker(t)
			cfg := settings(t, p, "GUESTFLOW_API_RATE_LIMIT=1200", "GUESTFLOW_GUESTS=true")
			cfg.DataDir = smallDisk(t, "48m")
			if !embedded {
				b.start()
				cfg.NATSURL = "nats://" + b.addr
			}
			r := launch(t, cfg)
			r.eventuallyReady(http.StatusOK, "ready")
			for range long.Of(1, 3) {
				free := fill(t, cfg.DataDir)
				r.eventuallyReady(http.StatusServiceUnavailable, "no space left on device; free some disk space")
				r.eventuallySees(`guestflow_poller_state{account="default",state="paused"}`, 1) // the server may find it before the store does
				if status, _ := r.get("/healthz"); status != http.StatusOK {
					t.Errorf("/healthz answers %d", status)
				}
				free()
				r.eventuallyReady(http.StatusOK, "ready")
				r.eventuallyCommitted(60)
			}
			// A start on a full disk goes on with what is there, too.
			free := fill(t, cfg.DataDir)
			r.end()
			r.Close()
			r = launch(t, cfg)
			r.eventuallyReady(http.StatusServiceUnavailable, "no space left on device; free some disk space")
			free()
			r.eventuallyReady(http.StatusOK, "ready")
			r.eventuallyCommitted(60)
			eventually(t, func() string {
				if r.only().Store.Outbox().Depth > 100 {
					return "the outbox is not drained"
				}
				return ""
			})
			conn := natstest.Connect(t, r.nats.URL())
			until := p.sim.Now().Add(-3 * time.Second)
			r.endPublished()
			if left := r.only().Store.Outbox().Depth; left != 0 {
				t.Errorf("%d events were not published before the end", left)
			}
			verify(t, p, simulator.Checker{Until: until}, kept(t, conn))
		})
	}
}

// TestCheckFindsAFullDisk: though the state is sound, and an empty file can still
// be made.
func TestCheckFindsAFullDisk(t *testing.T) {
	p := simulate(t, simulator.Config{Token: "right"})
	exported(t, p)
	dir := smallDisk(t, "4m")
	t.Setenv("GUESTFLOW_DATA_DIR", dir)
	code, out, _ := invoke("check")
	if code != 1 || !strings.Contains(out, "FAIL  data directory: the disk is full") || !strings.Contains(out, "GUESTFLOW_DATA_DIR") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	leftRequests(t, dir)
}
