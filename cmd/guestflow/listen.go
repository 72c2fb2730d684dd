package main

import (
	"context"
	"net"
	"time"
)

// readerGone is how long what was sent to a reader may stay unacknowledged. A reader
// that has vanished behind a NAT or firewall is held no longer: the heartbeats of an
// event stream are too small to block a write, and the system's own limit is some 16
// minutes.
const readerGone = time.Minute

// listenForReaders listens for readers of the page, the API and the metrics.
func listenForReaders(addr string) (net.Listener, error) {
	config := net.ListenConfig{
		Control:         boundUnacknowledged,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: readerGone / 2, Interval: readerGone / 6, Count: 3},
	}
	return config.Listen(context.Background(), "tcp", addr)
}
