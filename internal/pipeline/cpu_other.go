//go:build !linux

package pipeline

import (
	"errors"
	"time"
)

func cpuOf(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
