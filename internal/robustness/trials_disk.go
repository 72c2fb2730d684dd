package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// diskTrials befall the data directory.
var diskTrials = []trial{
	{name: "state file of zero bytes", short: 1, long: 2, harm: damaged(func([]byte) []byte { return nil })},
	{name: "state file truncated", short: 1, long: 4, harm: func(m *machine, r *rand.Rand) error {
		// What a file has beyond its last page in use can go without loss.
		return damaged(func(b []byte) []byte { return b[:1+r.IntN(min(len(b)-1, 4*os.Getpagesize()))] })(m, r)
	}},
	{name: "state file of another program", short: 1, long: 2, harm: damaged(func(b []byte) []byte {
		return append([]byte("SQLite format 3\x00"), bytes.Repeat([]byte{1, 2, 3, 4}, min(len(b), 1<<20)/4)...)
	})},
	{name: "disk full", missing: noDisk, short: 1, long: 8, harm: diskFilled},
	{name: "disk full at a start", missing: noDisk, long: 4, harm: diskFullAtStart},
	{name: "data directory read-only", missing: noDisk, long: 2, harm: readOnly},
	{name: "fsync fails", missing: noTracer, short: 1, long: 10, harm: failing("trace=fsync,fdatasync", "inject=fsync,fdatasync:error=EIO")},
	{name: "writes to the disk fail", missing: noTracer, long: 8, harm: failing("trace=pwrite64", "inject=pwrite64:error=EIO")},
	{name: "slow disk: half a second for each fsync", missing: noTracer, short: 1, long: 8, harm: func(m *machine, r *rand.Rand) error {
		return m.traced("trace=fsync,fdatasync", "inject=fsync,fdatasync:delay_enter=500ms", m.between(r, 3*time.Second, 9*time.Second))
	}},
}

// damaged starts guestflow on a damaged state file: it has to refuse, to say which file
// and what to do, and to leave the file as it is.
func damaged(damage func([]byte) []byte) func(*machine, *rand.Rand) error {
	return func(m *machine, _ *rand.Rand) error {
		if err := m.stop(); err != nil {
			return err
		}
		path := filepath.Join(m.data, "default.db")
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		bad := damage(whole)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			return err
		}
		refusal := m.refuses(path)
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
			refusal = errors.Join(refusal, fmt.Errorf("the damaged file was changed (%w)", err))
		}
		return errors.Join(refusal, os.WriteFile(path, whole, 0o600), m.start())
	}
}

// refuses starts guestflow where it cannot run, and judges what it says.
func (m *machine) refuses(names string) error {
	if err := m.start(); err != nil {
		return err
	}
	var exit *exec.ExitError
	select {
	case <-m.ended:
		text := m.said.String()
		switch {
		case !errors.As(m.exit, &exit):
			return fmt.Errorf("it ended with %w instead of refusing: %s", exitOf(m.exit), text)
		case !strings.Contains(text, names):
			return fmt.Errorf("its refusal does not name %s: %s", names, text)
		case strings.Contains(text, "panic") || strings.Contains(text, "nil pointer") || strings.Contains(text, "goroutine "):
			return fmt.Errorf("its refusal speaks of its inside: %s", text)
		}
		return nil
	case <-time.After(20 * time.Second):
		m.kill()
		return fmt.Errorf("it runs, on what it cannot read: %s", m.said)
	}
}

// fill takes all room on the data directory's disk.
func (m *machine) fill() (free func() error, err error) {
	path := filepath.Join(m.data, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() error { return os.Remove(path) }, nil
}

func diskFilled(m *machine, r *rand.Rand) error {
	free, err := m.fill()
	if err != nil {
		return err
	}
	time.Sleep(m.between(r, time.Second, 5*time.Second))
	return errors.Join(m.lives(), free())
}

func diskFullAtStart(m *machine, _ *rand.Rand) error {
	if err := m.stop(); err != nil {
		return err
	}
	free, err := m.fill()
	if err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return errors.Join(m.lives(), free())
}

func readOnly(m *machine, _ *rand.Rand) error {
	if err := m.stop(); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", m.data, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	refusal := m.refuses(m.data)
	return errors.Join(refusal, syscall.Mount("tmpfs", m.data, "tmpfs", syscall.MS_REMOUNT, ""), m.start())
}

func noDisk(m *machine) string {
	if m.mounted {
		return ""
	}
	return "no small disk can be mounted; run it as root, or in `unshare --map-root-user --mount`"
}

// noTracer asks for strace, which has the kernel's answers to system calls replaced: a
// disk that fails below everything that the product is made of.
func noTracer(*machine) string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "there is no strace; apt-get install strace"
	}
	if m := exec.Command("strace", "-qq", "-o", os.DevNull, "true"); m.Run() != nil {
		return "processes may not be traced; allow ptrace"
	}
	return ""
}

// traced has guestflow's system calls fail, or take longer, for some time.
func (m *machine) traced(calls, inject string, lasts time.Duration) error {
	pid := strconv.Itoa(m.guestflow.Process.Pid)
	tracer := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-p", pid, "-e", calls, "-e", inject)
	said := &tail{}
	tracer.Stderr = said
	if err := tracer.Start(); err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() { over <- tracer.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); !m.isTraced(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-m.ended: // It may have ended of it already.
		case err := <-over:
			return fmt.Errorf("strace ended: %w: %s", exitOf(err), said)
		default:
			if time.Now().Before(deadline) {
				continue
			}
		}
		break
	}
	select {
	case <-m.ended:
	case <-time.After(lasts):
	}
	_ = tracer.Process.Signal(os.Interrupt) // It may have ended beside guestflow.
	<-over
	return nil
}

// isTraced reports whether the tracer has taken hold of every thread.
func (m *machine) isTraced() bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", m.guestflow.Process.Pid)) // The pattern is well-formed.
	for _, t := range tasks {
		if status, err := os.ReadFile(t); err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
			return false
		}
	}
	return len(tasks) > 0
}

// failing has system calls fail. After a failed fsync nobody knows what is on the disk, so
// that guestflow may end, saying which file it was, and begin anew on what is there.
func failing(calls, inject string) func(*machine, *rand.Rand) error {
	return func(m *machine, r *rand.Rand) error {
		if err := m.traced(calls, inject, m.between(r, time.Second, 4*time.Second)); err != nil {
			return err
		}
		return m.again(m.data)
	}
}

// again starts guestflow where it has ended, which has to have been with an error that
// names something.
func (m *machine) again(names string) error {
	// What it met just now it may be ending of.
	select {
	case <-m.ended:
	case <-time.After(2 * time.Second):
		return nil
	}
	text := m.said.String()
	if m.exit == nil || !strings.Contains(text, names) || strings.Contains(text, "goroutine ") {
		return fmt.Errorf("it ended (%w) and does not name %s: %s", exitOf(m.exit), names, text)
	}
	return m.start()
}
