package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// boundUnacknowledged sets readerGone; accepted connections inherit it.
func boundUnacknowledged(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(readerGone.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}
