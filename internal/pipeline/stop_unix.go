//go:build unix

package pipeline

import "syscall"

// stop lets no more of it run until goOn.
func (c *process) stop() error { return c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *process) goOn() error { return c.cmd.Process.Signal(syscall.SIGCONT) }
