package budget

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockAhead is by how much the machine's clock is ahead of the time since its start: it
// changes where the clock is set, and hardly elsewhere. Zero where the system does not tell.
func clockAhead() time.Duration {
	var start unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &start) != nil {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - start.Nano())
}
