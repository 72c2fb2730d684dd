package main

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAVanishedReaderIsNotHeldForLong: its connection has a limit of its own.
func TestAVanishedReaderIsNotHeldForLong(t *testing.T) {
	l, err := listenForReaders("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reader, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	raw, err := served.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	limit := 0
	if err := raw.Control(func(fd uintptr) { limit, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil {
		t.Fatal(err)
	}
	if want := int(readerGone.Milliseconds()); err != nil || limit != want {
		t.Errorf("what was sent may stay unacknowledged for %d ms (%v), want %d", limit, err, want)
	}
}
