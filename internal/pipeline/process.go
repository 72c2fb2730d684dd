package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a consumer.
type process struct {
	name   string
	stream string // that it publishes to; empty for none
	state  string // the file or folder of what it keeps; empty for none
	cmd    *exec.Cmd
	said   bytes.Buffer
	ended  chan error
}

// start runs the program with arguments and nothing but these variables.
func (p Plan) start(ctx context.Context, name, stream string, env []string, args ...string) (*process, error) {
	c := &process{name: name, stream: stream, ended: make(chan error, 1)}
	c.cmd = exec.CommandContext(ctx, p.Program, args...)
	c.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GOMAXPROCS=1"}, env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	return c, nil
}

// kill ends it.
func (c *process) kill() {
	_ = c.cmd.Process.Kill() // It may have ended.
	<-c.ended
}

// alive returns why it ended, if it has.
func (c *process) alive() error {
	select {
	case err := <-c.ended:
		c.ended <- err
		text := c.said.String()
		return fmt.Errorf("%s ended: %w: %s", c.name, err, text[max(0, len(text)-2000):])
	default:
		return nil
	}
}

// usage is what a process has used since it began.
type usage struct {
	cpu     time.Duration
	written int64 // bytes handed to write calls
	peak    int64 // bytes
}

func (c *process) usage() (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid))
	if _, err := os.Stat(filepath.Join(dir, "io")); errors.Is(err, os.ErrNotExist) {
		return u, errors.Join(c.alive(), fmt.Errorf("what a process uses is read from /proc, which Linux alone has: %w", err))
	} else if err != nil {
		return u, err
	}
	if u.cpu, err = cpuOf(c.cmd.Process.Pid); err != nil {
		return u, fmt.Errorf("%s: its clock of CPU time: %w", c.name, err)
	}
	if u.written, err = named(filepath.Join(dir, "io"), "wchar:"); err != nil {
		return u, err
	}
	u.peak, err = named(filepath.Join(dir, "status"), "VmHWM:")
	u.peak *= 1024
	return u, err
}

// known adds to what it took until all were known what the process has used by now.
func (c *process) known(is known) (known, error) {
	u, err := c.usage()
	if err != nil || c.state == "" {
		return is, err
	}
	is.cpu, is.peak = u.cpu.Seconds(), float64(u.peak)/1e6
	return is, filepath.WalkDir(c.state, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			is.disk += float64(info.Size()) / 1e6
		}
		return err
	})
}

// named reads the number behind a name in a file of /proc.
func named(path, name string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
