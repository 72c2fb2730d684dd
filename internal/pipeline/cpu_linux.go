package pipeline

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU time that a process has used. Its clock counts nanoseconds, while
// /proc/PID/stat counts ticks of 10 ms: at 60 requests a minute that is a fifth of what is
// used in half a minute.
func cpuOf(pid int) (time.Duration, error) {
	const sched = 2 // as clock_getcpuclockid(3) makes it
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid)<<3|sched, &ts)
	return time.Duration(ts.Nano()), err
}
