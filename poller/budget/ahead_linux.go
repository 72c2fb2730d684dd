package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

// began is when this process began, on its clock; sinceStart is the time since the machine's
// start then, zero where the system does not tell.
var (
	began      = time.Now()
	sinceStart = bootTime()
)

func bootTime() time.Duration {
	var start unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &start) != nil {
		return 0
	}
	return time.Duration(start.Nano())
}

// clockAhead is by how much the machine's clock is ahead of the time since its start: it
// changes where the clock is set, and hardly elsewhere. Zero where the system does not tell.
// Time passes as package time has it, which may be simulated, and stands still while the
// machine is suspended: requests count as younger than they are for the rest of the process.
func clockAhead() time.Duration {
	if sinceStart == 0 {
		return 0
	}
	now := time.Now()
	return time.Duration(now.UnixNano()) - sinceStart - now.Sub(began)
}
